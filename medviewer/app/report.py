"""What ``analyze -o DIR`` writes. The names of files, columns and keys are a contract: others build on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from medviewer.app.documents import save_workspace
from medviewer.app.headless import Analysis, write_masks
from medviewer.app.mask_size import mask_unit
from medviewer.core.finding import QualityFlag
from medviewer.core.segmentation import Segment
from medviewer.core.version import __version__
from medviewer.jobs.job import JobContext
from medviewer.jobs.memory import peak_rss

LESION_COLUMNS = ("rank", "label", "score", "x_lps_mm", "y_lps_mm", "z_lps_mm", "diameter_mm", "task")


def write_report(ctx: JobContext, analysis: Analysis, folder: Path, sources: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Write report.json, lesions.csv, masks/ and workspace.mvw into `folder`; return what report.json holds."""
    folder.mkdir(parents=True, exist_ok=True)
    files = write_masks(analysis, folder)
    ctx.check_cancelled()
    _write_lesions(analysis, folder / "lesions.csv")
    save_workspace(folder / "workspace.mvw", analysis.workspace, {analysis.volume.id: sources})
    report = _report(analysis, {value: path.relative_to(folder).as_posix() for value, path in files.items()})
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return report


def clear_report(folder: Path) -> None:
    """Take away what an earlier run reported in a folder: should the next one fail, nothing must pass for its result.

    Only the report, its table and the masks that it names go; a saved workspace is a document of the user's.
    """
    path = folder / "report.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    tasks = told.get("tasks", ()) if isinstance(told, dict) else ()
    segments = [s for task in tasks if isinstance(task, dict) for s in task.get("segments", ())]
    for name in (segment.get("file") for segment in segments if isinstance(segment, dict)):
        if isinstance(name, str) and (folder / name).resolve().is_relative_to((folder / "masks").resolve()):
            (folder / name).unlink(missing_ok=True)
    for name in ("report.json", "lesions.csv"):
        (folder / name).unlink(missing_ok=True)


def _write_lesions(analysis: Analysis, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(LESION_COLUMNS)
        for rank, box in enumerate(analysis.workspace.boxes(analysis.volume.id), start=1):
            x, y, z = (f"{v:.3f}" for v in box.center_lps)
            score = "" if box.score is None else f"{box.score:.4f}"
            diameter = "" if box.diameter_mm is None else f"{box.diameter_mm:.2f}"
            out.writerow([rank, spreadsheet_text(box.label), score, x, y, z, diameter, box.provenance.task])


def spreadsheet_text(text: str) -> str:
    """Keep a spreadsheet from reading a label as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _report(analysis: Analysis, files: dict[int, str]) -> dict[str, Any]:
    volume = analysis.volume
    geometry = volume.geometry
    return {
        "medviewer": __version__,
        "series": {
            "series_instance_uid": volume.series_instance_uid,
            "study_instance_uid": volume.series.study_instance_uid if volume.series else "",
            "modality": volume.modality,
            "description": volume.series.description if volume.series else volume.name,
            "size": list(geometry.size),
            "spacing": list(geometry.spacing),
            "origin": list(geometry.origin),
            "direction": list(geometry.direction),
            "unit": volume.unit,
            "time_point": volume.time.text if volume.time is not None else "",
            "decoder": volume.decoder,
            "warnings": [{"code": w.code, "text": w.text} for w in volume.warnings],
        },
        "tasks": [_task(analysis, landed_index, files) for landed_index in range(len(analysis.runs))],
        "seconds": round(analysis.seconds, 3),
        "peak_memory_bytes": {"main": peak_rss(), **analysis.peak_rss},
        "files": {"lesions": "lesions.csv", "workspace": "workspace.mvw"},
    }


def _task(analysis: Analysis, index: int, files: dict[int, str]) -> dict[str, Any]:
    landed = analysis.runs[index]
    if landed.run is None:
        error = landed.error
        assert error is not None
        failed = {"code": error.code, "text": error.text, "hint": error.hint}
        return {"task": landed.task_id, "title": landed.title, "state": "error", "error": failed}
    assessment = next(
        (a for a in analysis.workspace.assessments(analysis.volume.id) if a.provenance is landed.run.provenance), None
    )
    findings = [
        {
            "concept": f.concept.code_meaning,
            "code": f.concept.code_value,
            "scheme": f.concept.coding_scheme_designator,
            "probability": f.probability,
        }
        for f in (assessment.findings if assessment is not None else ())
    ]
    return {
        "task": landed.task_id,
        "title": landed.title,
        "state": "success",
        "seconds": round(landed.run.seconds, 3),
        "segments": [_segment(analysis, segment, files[segment.value]) for segment in landed.segments],
        "candidates": landed.boxes,
        "findings": findings,
        "flags": [_flag(flag) for flag in (assessment.flags if assessment is not None else ())],
        "run": landed.run.provenance.to_json(),
    }


def _segment(analysis: Analysis, segment: Segment, file: str) -> dict[str, Any]:
    segmentation = analysis.workspace.segmentation(analysis.volume.id)
    voxels = int((segmentation.labels_of(segment.value) == segment.value).sum())
    unit = mask_unit(analysis.volume)
    return {
        "name": segment.name,
        "value": segment.value,
        "file": file,
        "voxels": voxels,
        "volume_ml": round(voxels * unit.per_voxel, 3) if unit.name == "ml" else None,
        "size": round(voxels * unit.per_voxel, 3),
        "size_unit": unit.name,
        "flags": [_flag(flag) for flag in segment.flags],
    }


def _flag(flag: QualityFlag) -> dict[str, str]:
    return {"code": flag.code, "text": flag.text}
