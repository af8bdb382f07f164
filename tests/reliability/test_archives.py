"""Hostile archives, S4 and S8: nothing leaves the folder, nothing explodes, nothing stays behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import time
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from medviewer.core.errors import InputError
from medviewer.io import archive_rules
from medviewer.io.archive import close_all, extract, is_archive
from medviewer.io.dicom_scan import scan
from medviewer.jobs.job import JobCancelled, NullContext
from tests.archive_makers import HOSTILE_TARS, PACKERS, endless, entry, header, tarred
from tests.dicom_mutators import planted

CTX = NullContext()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    close_all()


def is_refused(path: Path, temporary: Path, codes: str) -> None:
    """Check that an archive is refused with one of these codes, and that nothing is left of it."""
    before = {p for p in temporary.parent.rglob("*") if p.parent != temporary}
    assert is_archive(path)
    with pytest.raises(InputError) as refusal:
        extract(CTX, path)
    assert refusal.value.code in codes.split("|"), str(refusal.value)
    assert path.name in refusal.value.text
    assert list(temporary.iterdir()) == []
    assert {p for p in temporary.parent.rglob("*") if p.parent != temporary} == before


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("what", HOSTILE_TARS)
def test_S04_hostile_tar(tmp_path, temporary, what, suffix):
    data, codes = HOSTILE_TARS[what]
    is_refused(planted(tmp_path, f"a{suffix}", PACKERS[suffix](data)), temporary, codes)


@pytest.mark.parametrize("suffix", PACKERS)
def test_S04_a_good_tar_keeps_names_and_bytes(tmp_path, suffix):
    large = np.random.default_rng(4).bytes(3_000_000)
    data = tarred(
        entry("study", b"", type=tarfile.DIRTYPE), entry("study/a.dcm", large), entry("./b?.dcm", b"b"),
        entry("B_.dcm", b"c"), entry("x" * 300, b"long"),
    )  # fmt: skip
    folder = extract(CTX, planted(tmp_path, f"a{suffix}", PACKERS[suffix](data))).folder
    assert (folder / "study" / "a.dcm").read_bytes() == large
    assert sorted(p.read_bytes() for p in folder.iterdir() if p.is_file()) == [b"b", b"c", b"long"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_S04_number_of_files(tmp_path, temporary, monkeypatch, kind):
    monkeypatch.setattr(archive_rules, "MOST_FILES", 50)
    monkeypatch.setattr(archive_rules, "MOST_FOLDERS", 50)
    if kind == "zip":
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as file:
            for n in range(60):
                file.writestr(str(n), b"")
        data = target.getvalue()
    else:
        data = gzip.compress(tarred(*[entry(str(n), b"", type=tarfile.DIRTYPE) for n in range(60)]))
    is_refused(planted(tmp_path, f"many.{kind}", data), temporary, "E_BOMB")


@pytest.mark.parametrize(("name", "packed"), [
    ("zeros.gz", lambda: endless(2**31)),
    ("zeros.dcm.bz2", lambda: bz2.compress(bytes(2**26)) * 10),
    ("zeros.xz", lambda: lzma.compress(bytes(2**26)) * 10),
    ("zeros.tar.gz", lambda: gzip.compress(header(b"a", b"0", 2**31), 9) + endless(2**31)),
    # Folders alone write nothing, and their headers are as good a bomb.
    ("folders.tgz", lambda: gzip.compress(header(b"d", b"5", 0) * 100_000, 9) * 15),
])  # fmt: skip
def test_S08_bombs_are_refused_fast(tmp_path, temporary, name, packed):
    path = planted(tmp_path, name, packed())
    assert path.stat().st_size < 4 * 2**20
    rss, started = psutil.Process().memory_info().rss, time.perf_counter()
    is_refused(path, temporary, "E_BOMB")
    assert psutil.Process().memory_info().rss - rss < 300 * 2**20
    assert time.perf_counter() - started < 60


def test_S08_archives_in_archives_are_not_unpacked(tmp_path, temporary):
    """A quine, or 42.zip, needs somebody who unpacks what was unpacked."""
    data = b"innermost"
    for depth in range(6):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            for n in range(16):
                file.writestr(f"{depth}-{n}.zip", data)
        data = target.getvalue()
    path = planted(tmp_path, "42.zip", data)
    result = scan(CTX, [path])
    assert result.studies == ()
    assert result.skipped == {"archives inside folders": 16}
    assert len([p for p in temporary.rglob("*") if p.is_file()]) == 16


def test_S08_xz_that_asks_for_gigabytes(tmp_path, temporary):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**30}]
    packed = lzma.compress(b"x" * 100, filters=filters)
    is_refused(planted(tmp_path, "a.xz", packed), temporary, "E_ARCHIVE")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".tar.gz"])
def test_S08_cut_and_broken_streams(tmp_path, temporary, suffix):
    data = np.random.default_rng(5).bytes(300_000)
    pack = PACKERS[suffix] if suffix in PACKERS else PACKERS[f".tar{suffix}"]
    packed = pack(tarred(entry("a", data)) if "tar" in suffix else data)
    is_refused(planted(tmp_path, f"cut{suffix}", packed[:-2000]), temporary, "E_ARCHIVE")
    spoiled = packed[:5000] + bytes(200) + packed[5200:]
    is_refused(planted(tmp_path, f"spoiled{suffix}", spoiled), temporary, "E_ARCHIVE")


def test_S04_cancel_stops_a_stream(tmp_path, temporary):
    class Cancelled(NullContext):
        calls = 0

        def progress(self, fraction, text=""):
            assert 0.0 <= fraction <= 1.0
            self.calls += 1
            if self.calls == 4:
                raise JobCancelled

    path = planted(tmp_path, "a.tar.gz", gzip.compress(tarred(entry("a", bytes(64 * 2**20)))))
    with pytest.raises(JobCancelled):
        extract(Cancelled(), path)
    assert list(temporary.iterdir()) == []


def test_one_packed_dicom_file_is_opened(one, outcome, tmp_path):
    path = one()
    twin = outcome(path)
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        assert outcome(planted(tmp_path, f"IM1{suffix}", pack(path.read_bytes()))).digest == twin.digest
    # In two streams one after the other, padded, as tapes and bgzip leave them.
    data = path.read_bytes()
    parts = gzip.compress(data[:700]) + bytes(512) + gzip.compress(data[700:]) + bytes(512)
    assert outcome(planted(tmp_path, "parts.gz", parts)).digest == twin.digest


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_tar_of_a_series_is_opened(good, outcome, tmp_path, suffix):
    paths = good(4)
    twin = outcome(tmp_path / "series")
    data = tarred(*[entry(f"s/{path.name}", path.read_bytes()) for path in paths])
    assert outcome(planted(tmp_path, f"a{suffix}", PACKERS[suffix](data))).digest == twin.digest


def test_packed_nifti_is_niftis_own_and_other_formats_are_unpacked(outcome, tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    nib.save(image, tmp_path / "a.nii.gz")
    found = outcome(tmp_path / "a.nii.gz")
    assert found.series.files == (tmp_path / "a.nii.gz",)
    text = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nendian: little\nencoding: raw\n" + (
        b"space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    )
    data = text + np.arange(24, dtype="<i2").tobytes()
    assert outcome(planted(tmp_path, "b.nrrd.gz", gzip.compress(data))).state == "LOADED"


def test_archives_inside_a_folder_are_counted(good, tmp_path):
    paths = good(3)
    for suffix in (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"):
        planted(tmp_path, f"series/a{suffix}", PACKERS[suffix](tarred(entry("a", paths[0].read_bytes()))))
    assert scan(CTX, [tmp_path / "series"]).skipped == {"archives inside folders": 5}


def test_a_dicom_file_is_no_archive_whatever_its_preamble(one, outcome):
    path = one()
    twin = outcome(path)
    for start in (b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"):
        path.write_bytes(start.ljust(128, b"\1") + path.read_bytes()[128:])
        found = outcome(path)
        assert found.digest == twin.digest
        assert "E_ARCHIVE" not in found.codes


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_unpacked_files_are_private(tmp_path):
    data = tarred(entry("d/a", b"x", mode=0o4777))
    folder = extract(CTX, planted(tmp_path, "a.tar", data)).folder
    assert not (folder / "d" / "a").stat().st_mode & 0o7111
    assert folder.stat().st_mode & 0o077 == 0
