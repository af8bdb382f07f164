"""What every export format keeps to, the day it appears."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.errors import ExportError, MedViewerError
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.export.case import Case, cases_of
from medviewer.export.exporter import ExportFormat, all_exporters, call, run_export
from medviewer.jobs.job import JobCancelled, NullContext
from medviewer.jobs.worker import WorkerProcess
from tests.f_phantom import grid, letter_f, make_series

FORMATS = {info.id: info for info in all_exporters()}


class Recorder(NullContext):
    """Keeps the progress and cancels after a number of reports."""

    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__()
        self.fractions: list[float] = []
        self.stop_after = stop_after

    def progress(self, fraction: float | None, text: str = "") -> None:
        if fraction is not None:
            self.fractions.append(fraction)
        self.check_cancelled()

    def check_cancelled(self) -> None:
        if len(self.fractions) >= self.stop_after:
            raise JobCancelled


@pytest.fixture
def case(tmp_path: Path) -> Case:
    workspace = Workspace()
    volume = make_series(tmp_path / "series", grid("oblique"))
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    group = segmentation.new_group("masks")
    group.labels[letter_f()] = 1
    group.labels[6, 0, 0] = 2
    segmentation.put_group(group)
    run = Provenance(task="a.b", version="1", weights_sha256="cd" * 32, input_uids=("1.2",))
    segmentation.put_segment(Segment(1, "../F", provenance=run))
    segmentation.put_segment(Segment(2, "CON"))
    workspace.add_run(run)
    return cases_of(workspace)[0]


@pytest.fixture(params=sorted(FORMATS))
def info(request: pytest.FixtureRequest) -> ExportFormat:
    return FORMATS[request.param]


def test_the_formats_of_the_main_job_are_there() -> None:
    assert {"nifti", "nnunet", "dicom-seg"} <= set(FORMATS)


def test_options_have_defaults(info: ExportFormat) -> None:
    assert is_dataclass(info.options)
    assert info.options() == info.options()
    assert all(field.name for field in fields(info.options))
    assert info.title
    assert info.accepts


def test_a_phantom_is_exported_and_read_back(info: ExportFormat, case: Case, tmp_path: Path) -> None:
    recorder = Recorder()
    report = run_export(recorder, info.id, [case], tmp_path / "out")
    assert report.files
    assert all(path.is_file() and path.is_relative_to(tmp_path / "out") for path in report.files)
    assert report.checks
    assert all(check.passed for check in report.checks)
    assert recorder.fractions == sorted(recorder.fractions)
    assert 0 <= min(recorder.fractions) <= max(recorder.fractions) <= 1
    on_disk = {Path(root) / name for root, _, names in os.walk(tmp_path / "out") for name in names}
    assert on_disk == set(report.files)
    content = b"".join(path.read_bytes() for path in report.files if path.suffix in (".json", ".dcm"))
    assert b"cd" * 32 in content, "who made it is in the export"


def test_inputs_stay_as_they_were(info: ExportFormat, case: Case, tmp_path: Path) -> None:
    before = {n: labels.copy() for n, labels in case.groups.items()}
    image = np.array(case.volume.array)
    run_export(NullContext(), info.id, [case], tmp_path / "out")
    for n, labels in before.items():
        np.testing.assert_array_equal(case.groups[n], labels)
    np.testing.assert_array_equal(case.volume.array, image)


def test_nothing_is_overwritten(info: ExportFormat, case: Case, tmp_path: Path) -> None:
    report = run_export(NullContext(), info.id, [case], tmp_path / "out")
    before = {path: path.read_bytes() for path in report.files}
    with pytest.raises(ExportError) as caught:
        run_export(NullContext(), info.id, [case], tmp_path / "out")
    assert caught.value.code == "E_EXISTS"
    assert {path: path.read_bytes() for path in report.files} == before
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_cancel_leaves_nothing(info: ExportFormat, case: Case, tmp_path: Path, stop_after: int) -> None:
    try:
        run_export(Recorder(stop_after), info.id, [case], tmp_path / "out")
    except JobCancelled:
        assert not (tmp_path / "out").exists()


def test_cases_of_one_name_do_not_collide(info: ExportFormat, case: Case, tmp_path: Path) -> None:
    report = run_export(NullContext(), info.id, [case, case], tmp_path / "out")
    assert len({str(path).lower() for path in report.files}) == len(report.files)


def test_refusals_have_code_text_and_hint(info: ExportFormat, case: Case, tmp_path: Path) -> None:
    volume = case.volume
    foreign = Volume(volume.array.astype(np.float32) * np.nan, volume.geometry, modality="")
    for n, odd in enumerate((replace(case, segments=()), replace(case, volume=foreign))):
        folder = tmp_path / f"out{n}"
        refusal: MedViewerError | None = None
        try:
            run_export(NullContext(), info.id, [odd], folder)
        except MedViewerError as error:
            refusal = error
        assert folder.exists() == (refusal is None)
        assert refusal is None or (refusal.code.startswith("E_") and refusal.text and refusal.hint)


def test_formats_can_run_in_a_worker_process(case: Case, tmp_path: Path) -> None:
    worker = WorkerProcess("export test")
    try:
        payload = ("nifti", [case], tmp_path / "out", None)
        report = worker.call(f"{call.__module__}:{call.__name__}", payload, NullContext())
    finally:
        worker.close()
    assert all(path.is_file() for path in report.files)  # type: ignore[attr-defined]  # an ExportReport


def test_listing_the_formats_imports_nothing_heavy() -> None:
    code = (
        "import sys; from medviewer.export.exporter import all_exporters; all_exporters();"
        "heavy = {'torch', 'highdicom', 'nibabel', 'SimpleITK', 'pydicom', 'scipy'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
