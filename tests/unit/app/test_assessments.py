"""What a model says of a whole image: it lands as a step, is undone, saved, recovered and exported with its maker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest

from medviewer.api.plugin import BoxResult, FindingResult, LabelResult, Result, TaskInfo, VolumeResult
from medviewer.app.apply_results import ResultApplier
from medviewer.app.context import AppContext
from medviewer.app.documents import load_workspace, save_workspace
from medviewer.app.headless import Analysis, LandedRun
from medviewer.app.report import write_report
from medviewer.app.run_tasks import TaskRun
from medviewer.core.finding import Finding, QualityFlag
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import Segment
from medviewer.core.terminology import CodedConcept
from medviewer.core.volume import Volume
from medviewer.core.workspace import Overlay, Workspace
from medviewer.editing.history import UndoStack
from medviewer.editing.steps import step_from_record
from medviewer.export.exporter import cases_of, run_export
from medviewer.jobs.job import NullContext

MODEL = TaskInfo(id="chest_xray", title="Chest X-ray", kind="classification", entry="m:C", inputs={"image": "volume"})
RUN = Provenance(task="chest_xray", version="1.3.0", weights_sha256="cd" * 32, device="cpu", seconds=0.4)
PNEUMONIA = CodedConcept("233604007", "SCT", "Pneumonia")
NORMAL = CodedConcept("17621005", "SCT", "Normal")
DOUBT = QualityFlag("Q_UNLIKE", "Unlike the images that the model has learnt from.")


def results_on(volume: Volume, heat: float = 0.9) -> list[Result]:
    heatmap = np.zeros(volume.array.shape, np.float32)
    heatmap[1:3, 2:6, 2:6] = heat
    labels = np.zeros(volume.array.shape, np.uint16)
    labels[2:4, 3:6, 3:6], labels[5, 5, 5] = 1, 2
    border = QualityFlag("Q_BORDER", "Touches the edge of the image.", segment=2)
    findings = (Finding(NORMAL, 0.125), Finding(PNEUMONIA, 0.875))
    return [
        FindingResult("Chest X-ray", findings, Volume(heatmap, volume.geometry, "Heat map"), (DOUBT,)),
        LabelResult("Parts", labels, volume.geometry, (Segment(1, "Opacity"), Segment(2, "Device")), (border,)),
        VolumeResult("Uncertainty", Volume(heatmap / 2, volume.geometry, "x")),
    ]


def landed(volume: Volume) -> tuple[Workspace, UndoStack]:
    workspace, history = Workspace(), UndoStack()
    workspace.add_volume(volume)
    workspace.activate(volume.id)
    ResultApplier(workspace, history).apply(volume.id, MODEL, results_on(volume), RUN)
    return workspace, history


def test_findings_and_maps_land_as_one_step_and_go_with_it(opened: Volume) -> None:
    workspace, history = landed(opened)
    (said,) = workspace.assessments(opened.id)
    assert [(f.concept.code_meaning, f.probability) for f in said.findings] == [("Pneumonia", 0.875), ("Normal", 0.125)]
    assert [m.name for m in said.maps] == ["Heat map", "Uncertainty"]
    heat, uncertainty = (m.window for m in said.maps)
    assert heat == pytest.approx((0.7, 0.6)), "little evidence is everywhere"
    assert uncertainty == (0.5, 1.0), "a probability has the same colours in every image"
    assert said.flags == (DOUBT,)
    assert said.provenance == RUN
    assert workspace.volumes == (opened,), "a map is no image of its own"
    assert [f.code for f in workspace.segmentation(opened.id).segment(1).flags] == []
    assert [f.code for f in workspace.segmentation(opened.id).segment(2).flags] == ["Q_BORDER"]
    workspace.overlay = Overlay(said.maps[0])
    history.undo()
    assert workspace.assessments(opened.id) == ()
    assert workspace.overlay is None, "what is gone is not shown"
    history.redo()
    assert workspace.assessments(opened.id) == (said,)


def test_a_second_run_takes_the_place_of_the_first(opened: Volume) -> None:
    workspace, history = landed(opened)
    other = TaskInfo(id="other", title="Other", kind="detection", entry="m:C", inputs={"image": "volume"})
    applier = ResultApplier(workspace, history)
    applier.apply(opened.id, other, [BoxResult("Boxes", (), (DOUBT,))], Provenance(task="other"))
    applier.apply(opened.id, MODEL, [FindingResult("Chest X-ray", (Finding(NORMAL, 1.0),))], RUN)
    assert [(a.name, len(a.findings)) for a in workspace.assessments(opened.id)] == [("Other", 0), ("Chest X-ray", 1)]
    applier.apply(opened.id, other, [BoxResult("Boxes", ())], Provenance(task="other"))
    assert [a.name for a in workspace.assessments(opened.id)] == ["Chest X-ray"]


def test_an_enhanced_image_is_an_image(opened: Volume) -> None:
    workspace = Workspace()
    workspace.add_volume(opened)
    task = TaskInfo(id="denoise", title="Denoise", kind="enhancement", entry="m:C", inputs={"image": "volume"})
    quiet = Volume(opened.array * 1.0, opened.geometry, "Quiet")
    ResultApplier(workspace, UndoStack()).apply(opened.id, task, [VolumeResult("Quiet", quiet)], RUN)
    assert [v.name for v in workspace.volumes] == [opened.name, "Quiet"]
    assert workspace.assessments(opened.id) == ()


def test_the_journal_brings_them_back(opened: Volume) -> None:
    workspace, history = landed(opened)
    again = Workspace()
    again.add_volume(opened)
    step_from_record(again, history.done[-1].record()).redo()
    check_same(workspace, again, opened.id)


def test_a_saved_workspace_has_them(opened: Volume, tmp_path: Path) -> None:
    workspace, _ = landed(opened)
    assert opened.series is not None
    save_workspace(tmp_path / "w.mvw", workspace, {opened.id: opened.series.files})
    check_same(workspace, load_workspace(NullContext(), tmp_path / "w.mvw"), opened.id)


def check_same(one: Workspace, other: Workspace, volume_id: str) -> None:
    (left,), (right,) = one.assessments(volume_id), other.assessments(volume_id)
    for name in ("id", "name", "findings", "flags", "provenance"):
        assert getattr(left, name) == getattr(right, name), name
    for a, b in zip(left.maps, right.maps, strict=True):
        assert (a.id, a.name, a.window, a.geometry) == (b.id, b.name, b.window, b.geometry)
        np.testing.assert_array_equal(a.array, b.array)
    assert one.segmentation(volume_id).segments == other.segmentation(volume_id).segments


def test_the_report_says_concept_probability_and_doubt(opened: Volume, tmp_path: Path) -> None:
    workspace, _ = landed(opened)
    run = TaskRun(MODEL, tuple(results_on(opened)), RUN, 0.4, 0)
    segments = workspace.segmentation(opened.id).segments
    analysis = Analysis(workspace, opened, [LandedRun(MODEL.id, MODEL.title, run, segments)])
    write_report(NullContext(), analysis, tmp_path / "out")
    (task,) = json.loads((tmp_path / "out" / "report.json").read_text())["tasks"]
    assert task["findings"][0] == {"concept": "Pneumonia", "code": "233604007", "scheme": "SCT", "probability": 0.875}
    assert task["flags"] == [{"code": "Q_UNLIKE", "text": DOUBT.text}]
    assert [segment["flags"] for segment in task["segments"]] == [
        [], [{"code": "Q_BORDER", "text": "Touches the edge of the image."}],
    ]  # fmt: skip
    assert (task["run"]["task"], task["run"]["version"]) == ("chest_xray", "1.3.0")
    assert task["run"]["weights_sha256"] == RUN.weights_sha256


@pytest.mark.parametrize(("format_id", "sidecar"), [("nifti", "labels.json"), ("nnunet", "medviewer_export.json")])
def test_the_sidecars_of_an_export_name_the_model(opened: Volume, tmp_path: Path, format_id: str, sidecar: str) -> None:
    workspace, _ = landed(opened)
    run_export(NullContext(), format_id, cases_of(workspace), tmp_path / "out")
    (path,) = (tmp_path / "out").rglob(sidecar)
    data = json.loads(path.read_text())
    case = data["cases"][0] if "cases" in data else data
    (said,) = case["assessments"]
    assert [(f["code_meaning"], f["probability"]) for f in said["findings"]] == [
        ("Pneumonia", 0.875),
        ("Normal", 0.125),
    ]
    assert said["flags"][0]["code"] == "Q_UNLIKE"
    for made in (said, *case["segments"]):
        assert made["provenance"]["task"] == "chest_xray"
        assert made["provenance"]["version"] == "1.3.0"
        assert made["provenance"]["weights_sha256"] == RUN.weights_sha256
    assert case["segments"][1]["flags"][0]["code"] == "Q_BORDER"


def test_a_dicom_seg_names_the_model_and_what_is_doubtful(opened: Volume, tmp_path: Path) -> None:
    workspace, _ = landed(opened)
    run_export(NullContext(), "dicom-seg", cases_of(workspace), tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("*.dcm")
    device = highdicom.seg.segread(path).SegmentSequence[1]
    (algorithm,) = device.SegmentationAlgorithmIdentificationSequence
    assert (device.SegmentAlgorithmType, device.SegmentAlgorithmName) == ("AUTOMATIC", "chest_xray")
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("chest_xray", "1.3.0")
    assert RUN.weights_sha256 in str(algorithm.AlgorithmParameters)
    assert device.SegmentDescription == "Touches the edge of the image."


def test_a_run_in_the_program_says_what_was_found(
    app: AppContext, opened: Volume, pump: object, tmp_plugin: Callable[..., Path]
) -> None:
    folder = tmp_plugin(
        "tmp_said",
        ('kind = "segmentation"', 'kind = "classification"'),
        ("LabelResult, Range", "CodedConcept, Finding, FindingResult, Range"),
        (
            '[LabelResult("Air", labels, image.geometry, (Segment(1, "Air"),))]',
            '[FindingResult("Air", (Finding(CodedConcept("1", "99X", "Air"), 0.75),))]',
        ),
        ("Readiness, Result, Segment, Unit", "Readiness, Result, Unit"),
    ).parent
    app.plugins.discover([folder])
    (job,) = app.analyze.start(opened.id, ["tmp_said.air"])
    pump.finish(job)  # type: ignore[attr-defined]
    assert job.error is None
    assert app.history.undo_label == "Air"
    assert app.workspace.assessments(opened.id)[0].findings[0].probability == 0.75
    assert "Air 75 %" in app.messages.messages[-1].text
