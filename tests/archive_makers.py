"""Archives written in code: good ones, and hostile ones of every kind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes, ".tar.gz": gzip.compress, ".tgz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress,
}  # fmt: skip


def entry(name: str, data: bytes = b"evil", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tarred(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as file:
        for info, data in entries:
            file.addfile(info, io.BytesIO(data))
    return target.getvalue()


def header(name: bytes, kind: bytes, size: int) -> bytes:
    """Return one raw tar header, its checksum right."""
    octal = b"%011o\0" % size if size >= 0 else b"\xff" * 4 + struct.pack(">q", size)
    block = name.ljust(100, b"\0") + b"0000600\0" * 3 + octal + b"00000000000\0" + b" " * 8 + kind
    block = block.ljust(257, b"\0") + b"ustar\x0000"
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


GOOD = entry("good", b"x")
END = bytes(1024)
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc"}
HOSTILE_TARS: dict[str, tuple[bytes, str]] = {
    "absolute": (tarred(GOOD, entry("/etc/evil")), "E_UNSAFE_ARCHIVE"),
    "up": (tarred(GOOD, entry("../evil")), "E_UNSAFE_ARCHIVE"),
    "down and up": (tarred(GOOD, entry("a/../../evil")), "E_UNSAFE_ARCHIVE"),
    "up in Windows": (tarred(GOOD, entry("a\\..\\..\\evil")), "E_UNSAFE_ARCHIVE"),
    "drive": (tarred(GOOD, entry("C:\\evil")), "E_UNSAFE_ARCHIVE"),
    "share": (tarred(GOOD, entry("\\\\host\\share\\evil")), "E_UNSAFE_ARCHIVE"),
    "folder above": (tarred(GOOD, entry("../evil", b"", type=tarfile.DIRTYPE)), "E_UNSAFE_ARCHIVE"),
    "long name": (tarred(entry("a/" * 80 + "../" * 90 + "evil"), form=tarfile.GNU_FORMAT), "E_UNSAFE_ARCHIVE"),
    "pax name": (tarred(entry("good", pax_headers={"path": "/etc/evil"})), "E_UNSAFE_ARCHIVE"),
    "symbolic link": (tarred(entry("link", b"", **LINK)), "E_UNSAFE_ARCHIVE"),
    "hard link": (tarred(entry("link", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")), "E_UNSAFE_ARCHIVE"),
    "file through a link": (tarred(entry("d", b"", **LINK), entry("d/evil")), "E_UNSAFE_ARCHIVE"),
    "character device": (tarred(entry("null", b"", type=tarfile.CHRTYPE)), "E_UNSAFE_ARCHIVE"),
    "block device": (tarred(entry("disk", b"", type=tarfile.BLKTYPE)), "E_UNSAFE_ARCHIVE"),
    "pipe": (tarred(entry("pipe", b"", type=tarfile.FIFOTYPE)), "E_UNSAFE_ARCHIVE"),
    "huge file": (header(b"huge", b"0", 2**33 - 1), "E_BOMB"),
    "sparse file": (header(b"sparse", b"S", 2**33 - 1) + END, "E_BOMB|E_ARCHIVE"),
    "shorter than declared": (header(b"short", b"0", 5000) + bytes(512), "E_ARCHIVE"),
    "negative size": (header(b"less", b"0", -512) + END, "E_ARCHIVE"),
    "negative pax size": (header(b"p", b"x", 13) + padded(b"13 size=-512\n") + header(b"a", b"0", 0), "E_ARCHIVE"),
    "huge pax records": (header(b"p", b"x", 2**32) + bytes(2048), "E_ARCHIVE"),
    "huge name": (header(b"././@LongLink", b"L", 2**32) + bytes(2048), "E_ARCHIVE"),
    "chain of names": ((header(b"././@LongLink", b"L", 1) + padded(b"a")) * 5000, "E_ARCHIVE"),
    "broken header in the middle": (tarred(GOOD)[:1024] + b"\1" * 512 + tarred(GOOD), "E_ARCHIVE"),
    "cut header": (tarred(GOOD)[:1024] + tarred(GOOD)[:100], "E_ARCHIVE"),
}


def endless(size: int) -> bytes:
    """Return zeros packed over and over until they unpack to `size`."""
    part = gzip.compress(bytes(64 * 2**20), 9)
    return part * (size // (64 * 2**20))
