"""Small files that promise or unpack to too much."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests import archive_makers, dicom_makers, dicom_mutators
from tools.bar.bar import MB, Bench, Figure, row


@row("R-21", "bombs are refused")
def bombs_are_refused(bench: Bench) -> Figure:
    """Small files that promise or unpack to too much are refused fast and cheaply."""
    bombs = dict(_bombs(bench))
    before = psutil.Process().memory_info().rss
    refused, slowest, loaded = 0, 0.0, []
    for name, path in bombs.items():
        started = time.perf_counter()
        found = bench.ask(path)
        slowest = max(slowest, time.perf_counter() - started)
        if all(outcome.state == "REFUSED" for outcome in found):
            refused += 1
        else:
            loaded.append(name)
    growth = (psutil.Process().memory_info().rss - before) / MB
    figure = f"{refused}/{len(bombs)} refused, slowest {slowest:.2f} s, RSS +{growth:.0f} MB {loaded or ''}".strip()
    return Figure(figure, refused == len(bombs), slowest <= 2 and growth <= 300)


def _bombs(bench: Bench) -> Iterator[tuple[str, Path]]:
    """Write every bomb: (name, path)."""
    folder = bench.folder / "bombs"
    plain = dicom_makers.write_slice(folder / "plain.dcm", dicom_makers.pixels()).read_bytes()
    zeros = b"\0" * (256 * MB)
    huge = struct.pack("<I", len(zeros))
    at = dicom_mutators.place_of(plain, 0x7FE00010)

    def plant(name: str, data: bytes) -> tuple[str, Path]:
        return name, dicom_mutators.planted(folder, name, data)

    head = dicom_mutators.element(0x00091010, b"OB", b"")[:-4] + huge
    group = dicom_mutators.place_of(plain, 0x00100010)
    tail = dicom_mutators.element(0xFFFCFFFC, b"OB", b"")[:-4] + huge
    yield plant("deflate pixels.dcm", dicom_mutators.deflated(plain[:at] + plain[at : at + 8] + huge, zeros))
    yield plant("deflate header.dcm", dicom_mutators.deflated(plain[:group] + head, zeros))
    yield plant("deflate tail.dcm", dicom_mutators.deflated(plain + tail, zeros))
    for rows, columns in ((65535, 65535), (65535, 40), (40, 65535)):
        data = dicom_mutators.with_us(dicom_mutators.with_us(plain, 0x00280010, rows), 0x00280011, columns)
        yield plant(f"{rows} x {columns}.dcm", data)
    for frames in ("999999", "2147483647"):
        element = dicom_mutators.element(0x00280008, b"IS", frames.encode().ljust(10))
        yield plant(f"{frames} frames.dcm", dicom_mutators.with_element(plain, 0x00280010, element))
    rle = (bench.folder / "good" / "rle.dcm").read_bytes()
    wide = dicom_mutators.with_us(dicom_mutators.with_us(rle, 0x00280010, 65535), 0x00280011, 65535)
    yield plant("rle 65535 x 65535.dcm", wide)
    for length in (0xFFFFFFF0, 0x7FFFFFFF):
        element = dicom_mutators.element(0x00091010, b"UN", b"")[:-4] + struct.pack("<I", length)
        yield plant(f"element of {length}.dcm", dicom_mutators.with_element(plain, 0x00100010, element))
    yield plant("zeros.zip", _zip_of(zeros))
    yield plant("gz.nii.gz", gzip.compress(_nifti((30000, 30000, 200)) + zeros, 9))
    for size in ((30000, 30000, 200), (32767, 32767, 32767), (-5, 10, 10), (0, 10, 10)):
        yield plant(f"nifti {size[0]}.nii", _nifti(size))
    packed = gzip.compress(zeros, 9)
    yield plant("zeros.gz", packed * 5)
    yield plant("zeros.tar.gz", gzip.compress(archive_makers.header(b"a", b"0", 2**31), 9) + packed * 5)
    yield plant("zeros.dcm.bz2", bz2.compress(zeros) * 5)
    yield plant("folders.tgz", gzip.compress(archive_makers.header(b"d", b"5", 0) * 100_000, 9) * 15)
    yield plant("header.mha", b"NDims = 3\nDimSize = 3000 3000 5000\nElementType = MET_UCHAR\nCompressedData = True\n"
                b"ElementDataFile = LOCAL\n" + packed)  # fmt: skip
    yield plant("header.nrrd", b"NRRD0004\ntype: double\ndimension: 3\nsizes: 9999999 9999999 9999999\n"
                b"encoding: gzip\nendian: little\n\n" + packed)  # fmt: skip
    yield plant("header.mgz", gzip.compress(struct.pack(">7ih", 1, 9999, 9999, 9999, 1, 4, 0, 0) + bytes(254)))


def _zip_of(zeros: bytes) -> bytes:
    """Return an archive that unpacks to 1 GB."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for n in range(4):
            archive.writestr(f"{n}.dcm", zeros)
    return target.getvalue()


def _nifti(size: tuple[int, int, int]) -> bytes:
    """Return the header of a NIfTI-1 image of 16-bit voxels that are not there."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, *([1.0] * 8))
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return bytes(header)
