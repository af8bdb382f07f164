from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from medviewer.core.errors import ExportError
from medviewer.export import exporter as module
from medviewer.export.case import Case
from medviewer.export.exporter import Check, ExportFormat, Written, run_export
from medviewer.export.formats.nifti import NiftiOptions
from medviewer.jobs.job import JobCancelled, JobContext, NullContext


class CancelAfter(NullContext):
    """A context that is cancelled at the n-th check."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.check_cancelled()

    def check_cancelled(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise JobCancelled


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the only format one that writes two files: ``fake(passed=False)`` does not read back."""

    def install(*, passed: bool = True, file: str = "a.txt", error: OSError | None = None) -> None:
        def write(ctx: JobContext, cases: Sequence[Case], folder: Path, options: NiftiOptions) -> Written:
            (folder / "b").mkdir()
            (folder / "b" / "b.txt").write_text("b")
            if error is not None:
                raise error
            path = folder / file
            path.write_text("a")
            return Written((path, folder / "b" / "b.txt"), ("a note",))

        def verify(ctx: JobContext, cases: Sequence[Case], folder: Path, options: NiftiOptions) -> list[Check]:
            return [Check("first", True), Check("second", passed, "1 of 10 voxels differ")]

        info = ExportFormat("fake", "Fake", ("segments",), NiftiOptions, write, verify)
        monkeypatch.setattr(module, "all_exporters", lambda: (info,))

    return install


def test_success_tells_where_everything_is(
    fake: Callable[..., None], make_case: Callable[..., Case], tmp_path: Path
) -> None:
    fake()
    report = run_export(NullContext(), "fake", [make_case()], tmp_path / "new" / "out")
    assert report.files == (tmp_path / "new" / "out" / "a.txt", tmp_path / "new" / "out" / "b" / "b.txt")
    assert all(path.is_file() for path in report.files)
    assert sorted(os.listdir(tmp_path / "new" / "out")) == ["a.txt", "b"]
    assert report.notes == ("a note",)
    assert report.to_json()["checks"][1]["detail"] == "1 of 10 voxels differ"


def test_a_mismatch_leaves_nothing(fake: Callable[..., None], make_case: Callable[..., Case], tmp_path: Path) -> None:
    fake(passed=False)
    with pytest.raises(ExportError, match="1 of 10 voxels") as caught:
        run_export(NullContext(), "fake", [make_case()], tmp_path / "new" / "out")
    assert caught.value.code == "E_READBACK"
    assert not (tmp_path / "new").exists()


def test_nothing_that_is_there_is_overwritten(
    fake: Callable[..., None], make_case: Callable[..., Case], tmp_path: Path
) -> None:
    fake()
    out = tmp_path / "out"
    out.mkdir()
    (out / "B").write_text("old")
    with pytest.raises(ExportError) as caught:
        run_export(NullContext(), "fake", [make_case()], out)
    assert caught.value.code == "E_EXISTS"
    assert os.listdir(out) == ["B"]
    assert (out / "B").read_text() == "old"


def test_files_beside_what_is_there_are_welcome(
    fake: Callable[..., None], make_case: Callable[..., Case], tmp_path: Path
) -> None:
    fake()
    (tmp_path / "other").touch()
    run_export(NullContext(), "fake", [make_case()], tmp_path)
    assert {"a.txt", "b", "other"} <= set(os.listdir(tmp_path))


@pytest.mark.parametrize(("number", "code"), [(28, "E_DISK_FULL"), (30, "E_READ_ONLY"), (13, "E_READ_ONLY")])
def test_disk_errors_are_named_and_leave_nothing(
    fake: Callable[..., None], make_case: Callable[..., Case], tmp_path: Path, number: int, code: str
) -> None:
    fake(error=OSError(number, os.strerror(number)))
    with pytest.raises(ExportError) as caught:
        run_export(NullContext(), "fake", [make_case()], tmp_path / "out")
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_a_move_that_fails_half_way_is_taken_back(
    fake: Callable[..., None], make_case: Callable[..., Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake()
    out = tmp_path / "out"
    out.mkdir()
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if Path(target) == out / "b":
            raise OSError(28, "full")
        rename(source, target)

    monkeypatch.setattr(module.os, "rename", fail)
    with pytest.raises(ExportError):
        run_export(NullContext(), "fake", [make_case()], out)
    assert os.listdir(out) == []


def test_a_file_outside_the_folder_is_refused(
    fake: Callable[..., None], make_case: Callable[..., Case], tmp_path: Path
) -> None:
    fake(file="../../escaped.txt")
    with pytest.raises(ExportError) as caught:
        run_export(NullContext(), "fake", [make_case()], tmp_path / "out")
    assert caught.value.code == "E_NAME"


def test_unknown_formats_and_empty_exports_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nifti") as caught:
        run_export(NullContext(), "docx", [make_case()], tmp_path)
    assert caught.value.code == "E_FORMAT"
    with pytest.raises(ExportError) as caught:
        run_export(NullContext(), "nifti", [], tmp_path)
    assert caught.value.code == "E_EMPTY"


def test_cancel_at_any_moment_leaves_nothing(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    count = 0
    while True:
        try:
            run_export(CancelAfter(count), "nifti", [case], tmp_path / "out" / "deep")
        except JobCancelled:
            assert not (tmp_path / "out").exists()
            count += 1
            continue
        break
    assert count > 8
