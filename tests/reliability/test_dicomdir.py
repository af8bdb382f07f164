"""DICOMDIR, G27 and S05: a help that never leads elsewhere and never hides a file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from medviewer.io.dicom_scan import ScanResult, scan
from medviewer.io.dicomdir import in_order_of_media
from medviewer.jobs.job import NullContext
from tests.dicom_mutators import mutants, planted

CTX = NullContext()
TREES = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"
VARIANTS = ["DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-nooffset", "DICOMDIR-nopatient",
            "DICOMDIR-reordered", "DICOMDIR-empty.dcm"]  # fmt: skip


def write_dicomdir(path: Path, names: Sequence[Sequence[str] | str]) -> Path:
    """Write a DICOMDIR with one IMAGE record for each file."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    records = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.add_new("ReferencedFileID", "CS", list(name) if not isinstance(name, str) else name)
        records.append(record)
    directory.DirectoryRecordSequence = records
    path.parent.mkdir(parents=True, exist_ok=True)
    directory.save_as(path, enforce_file_format=True)
    return path


def series_of(result: ScanResult) -> dict[str, tuple[str, ...]]:
    """Return which files make each series, whatever the order of studies."""
    return {s.key: tuple(f.name for f in s.files) for study in result.studies for s in study.series}


def warnings_of(result: ScanResult) -> set[str]:
    return {w.code for study in result.studies for w in study.warnings}


@pytest.fixture
def medium(tmp_path):
    """Copy pydicom's medium without its directories."""
    folder = tmp_path / "medium"
    shutil.copytree(TREES, folder, ignore=shutil.ignore_patterns("DICOMDIR*", "README*"))
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_G27_result_is_that_of_the_folder(medium, variant):
    plain = scan(CTX, [medium])
    assert len(plain.studies) > 2
    shutil.copy(TREES / variant, medium / "DICOMDIR")
    for path in (medium, medium / "DICOMDIR"):
        result = scan(CTX, [path])
        assert series_of(result) == series_of(plain)
        assert warnings_of(result) <= warnings_of(plain)


@pytest.mark.parametrize("variant", VARIANTS[:-1])
def test_G27_named_files_are_read_first(medium, variant):
    directory = Path(shutil.copy(TREES / variant, medium / "DICOMDIR"))
    files = sorted(path for path in medium.rglob("*") if path.is_file())
    ordered, media = in_order_of_media([planted(medium, "AUTORUN.EXE", b"MZ"), *files])
    assert sorted(ordered) == sorted([*files, medium / "AUTORUN.EXE"])
    assert len(media[directory].files) > 20
    assert media[directory].missing == media[directory].outside == 0
    assert ordered.index(medium / "AUTORUN.EXE") >= len(media[directory].files)


def test_G27_dangling_references_are_told(medium):
    shutil.copy(TREES / "DICOMDIR", medium / "DICOMDIR")
    shutil.rmtree(medium / "98892001")
    result = scan(CTX, [medium])
    assert "W_DICOMDIR" in warnings_of(result)
    assert any("names" in w.text and "not there" in w.text for study in result.studies for w in study.warnings)


def test_G27_names_as_media_have_them(good, tmp_path):
    paths = good(3, folder="cd/images")
    write_dicomdir(tmp_path / "cd" / "DICOMDIR", [["IMAGES", "000.DCM;1"], ["IMAGES", "001.DCM"], "002.DCM"])
    ordered, media = in_order_of_media([*paths, tmp_path / "cd" / "DICOMDIR"])
    assert media[tmp_path / "cd" / "DICOMDIR"].files == (paths[0], paths[1])
    assert media[tmp_path / "cd" / "DICOMDIR"].missing == 1
    assert ordered[:2] == paths[:2]


HOSTILE = [
    ["..", "secret", "000.dcm"], ["series", "..", "..", "secret", "000.dcm"], ["/etc", "passwd"], ["", "etc", "passwd"],
    ["C:", "secret", "000.dcm"], ["../secret/000.dcm"], ["..\\secret\\000.dcm"], "/etc/passwd", [".", "series", "0"],
    "\\\\host\\share\\a",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=str)
def test_S05_G27_dicomdir_never_leads_outside(good, outcome, tmp_path, name):
    good(5, folder="study/series")
    good(1, folder="secret", SeriesInstanceUID="1.99")
    plain = outcome(tmp_path / "study")
    write_dicomdir(tmp_path / "study" / "DICOMDIR", [name, ["series", "000.dcm"]])
    found = outcome(tmp_path / "study")
    assert found.digest == plain.digest
    assert {path.parent for path in found.series.files} == {tmp_path / "study" / "series"}
    assert scan(CTX, [tmp_path / "study"]).skipped["names in a DICOMDIR that lead elsewhere"] == 1


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_S05_S06_a_dicomdir_that_names_a_link_out(good, outcome, tmp_path):
    good(5, folder="study/series")
    secret = good(1, folder="secret", SeriesInstanceUID="1.99")[0]
    os.symlink(secret, tmp_path / "study" / "LINK")
    write_dicomdir(tmp_path / "study" / "DICOMDIR", ["LINK", ["series", "000.dcm"]])
    found = outcome(tmp_path / "study")
    assert len(found.series.files) == 5
    skipped = scan(CTX, [tmp_path / "study"]).skipped
    assert skipped["links that leave the folder"] == 1


def test_G27_a_directory_of_another_medium_is_no_complaint(good, outcome, tmp_path):
    good(5)
    twin = outcome(tmp_path)
    write_dicomdir(tmp_path / "DICOMDIR", [["A", str(n)] for n in range(50)])
    found = outcome(tmp_path)
    assert (found.digest, found.codes) == (twin.digest, twin.codes)
    # Renamed, it is a DICOM file without an image.
    shutil.move(tmp_path / "DICOMDIR", tmp_path / "series" / "renamed.dcm")
    assert outcome(tmp_path).digest == twin.digest


def test_G27_mutated_directories_change_nothing(good, outcome, tmp_path):
    good(3, folder="study/series")
    twin = outcome(tmp_path / "study")
    directory = write_dicomdir(tmp_path / "study" / "DICOMDIR", [["series", f"{n:03d}.dcm"] for n in range(3)])
    for spoiled in mutants(directory.read_bytes(), 60, seed=27):
        directory.write_bytes(spoiled)
        assert outcome(tmp_path / "study").digest == twin.digest
