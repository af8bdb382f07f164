"""Imported copies: whole or not there, without a word about the patient in their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.core.dicom_ref import Study
from medviewer.core.errors import InputError, LibraryError
from medviewer.io import study_import
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.study_import import copy_studies, is_copy, remove_copy, study_folder_name
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()


def contents(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []


def test_a_copy_is_the_same_study(make_series, tmp_path: Path) -> None:
    source = make_series(4, name="in/Doe^Jane")[0].parent
    (original,) = scan_paths(CTX, [source])
    (copy,) = copy_studies(CTX, [source], tmp_path / "studies")
    assert [s.key for s in copy.series] == [s.key for s in original.series]
    for old, new in zip(original.series[0].files, copy.series[0].files, strict=True):
        assert new.read_bytes() == old.read_bytes()
        assert is_copy(new, tmp_path / "studies")
        assert not is_copy(old, tmp_path / "studies")
    names = "".join(str(path.relative_to(tmp_path / "studies")) for path in contents(tmp_path / "studies"))
    assert not any(word in names for word in ("Doe", "Jane", "0815", "1.2.3.4"))
    assert not any(path.name.startswith(".import") for path in contents(tmp_path / "studies"))


class CancelledAt(NullContext):
    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction

    def progress(self, fraction: float | None, text: str = "") -> None:
        if fraction is not None and fraction >= self.fraction:
            raise JobCancelled


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 0.89, 0.95])
def test_cancel_leaves_nothing(make_series, tmp_path: Path, fraction: float) -> None:
    source = make_series(8)[0].parent
    with pytest.raises(JobCancelled):
        copy_studies(CancelledAt(fraction), [source], tmp_path / "studies")
    assert contents(tmp_path / "studies") == []


def test_too_little_space_is_said_before_anything_is_copied(make_series, tmp_path: Path) -> None:
    with pytest.raises(LibraryError) as refused:
        copy_studies(CTX, [make_series(4)[0].parent], tmp_path / "studies", lambda _: 1000)
    assert refused.value.code == "E_DISK_FULL"
    assert contents(tmp_path / "studies") == []


def test_a_failing_disk_leaves_nothing(make_series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_series(4)[0].parent

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study_import.os, "replace", fail)
    with pytest.raises(LibraryError) as refused:
        copy_studies(CTX, [source], tmp_path / "studies")
    assert refused.value.code == "E_DISK_FULL"
    assert contents(tmp_path / "studies") == []


def test_no_images_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").write_text("nothing")
    with pytest.raises(InputError):
        copy_studies(CTX, [tmp_path / "in"], tmp_path / "studies")


def test_importing_twice_keeps_both_and_removing_takes_one(make_series, tmp_path: Path) -> None:
    source = make_series(4)[0].parent
    folder = tmp_path / "studies"
    (first,) = copy_studies(CTX, [source], folder)
    (second,) = copy_studies(CTX, [source], folder)
    assert remove_copy(first.series[0].files, folder)
    assert not first.series[0].files[0].exists()
    assert second.series[0].files[0].exists()
    assert not remove_copy([source / "000.dcm", folder / "..", folder / "a" / ".." / ".." / "x"], folder)
    assert source.exists()


@pytest.mark.parametrize("value", ["../../x", "CON", "a/b", "\0", "x" * 500, "山"])
def test_names_are_safe(value: str) -> None:
    from medviewer.core.dicom_ref import SeriesRef

    series = SeriesRef(key=value, series_instance_uid=value, modality=value)
    name = study_folder_name(
        Study(study_instance_uid=value, patient_id=value, patient_name=value, study_date=value, series=(series,))
    )
    assert name.isascii()
    assert name.replace("_", "").isalnum()
    assert len(name) < 60
