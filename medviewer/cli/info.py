"""``medviewer info``: what is in a folder, a file or a zip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medviewer.cli.console import Output
from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Study
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.shown_text import counted, person_name


def grid_of(series: SeriesRef) -> Geometry | None:
    """Return the grid of a DICOM volume, from the headers of its files; None where there is none to tell."""
    from medviewer.io.dicom_frames import slice_headers
    from medviewer.io.dicom_geometry import stack_geometry
    from medviewer.io.dicom_resample import grid_through

    if not series.volume or series.kind != "dicom" or not series.files:
        return None
    try:
        headers = slice_headers(series.at_time(0))
        return grid_through(headers).geometry if series.interpolation else stack_geometry(headers)
    except InputError:
        return None


def study_facts(study: Study) -> dict[str, Any]:
    """Return a study as JSON-ready values."""
    return {
        "study_instance_uid": study.study_instance_uid,
        "patient_name": study.patient_name,
        "patient_id": study.patient_id,
        "patient_birth_date": study.patient_birth_date,
        "patient_sex": study.patient_sex,
        "study_date": study.study_date,
        "description": study.description,
        "accession_number": study.accession_number,
        "warnings": _warnings(study.warnings),
        "series": [_series_facts(series) for series in study.series],
    }


def _series_facts(series: SeriesRef) -> dict[str, Any]:
    grid = grid_of(series)
    return {
        "key": series.key,
        "series_instance_uid": series.series_instance_uid,
        "frame_of_reference_uid": series.frame_of_reference_uid,
        "modality": series.modality,
        "description": series.description,
        "series_number": series.series_number,
        "body_part_examined": series.body_part_examined,
        "kind": series.kind,
        "stacking": series.stacking,
        "volume": series.volume,
        "size": _list(series.size),
        "spacing": _list(series.spacing),
        "origin": _list(grid.origin) if grid else None,
        "direction": _list(grid.direction) if grid else None,
        "files": len(set(series.files)),
        "time_name": series.time_name,
        "time_labels": list(series.time_labels),
        "transfer_syntax_uid": series.transfer_syntax_uid,
        "warnings": _warnings(series.warnings),
    }


def _list(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values)


def _warnings(warnings: Sequence[SeriesWarning]) -> list[dict[str, str]]:
    return [{"code": warning.code, "text": warning.text} for warning in warnings]


def show_studies(output: Output, studies: Sequence[Study], skipped: Mapping[str, int]) -> None:
    """Write studies and series, with their warnings."""
    for study in studies:
        name = person_name(study.patient_name)
        person = ", ".join(part for part in (name, study.patient_id, study.patient_sex) if part)
        about = ", ".join(part for part in (study.study_date, study.description) if part)
        output.show(f"{person or 'Unnamed patient'} · {about or 'study without description'}")
        for warning in study.warnings:
            output.show(f"  {warning.code}: {warning.text}")
        for series in study.series:
            output.show(f"  {_line(series)}")
            output.show(f"      {series.key}")
            if series.time_labels:
                points = "; ".join(f"{n}: {label}" for n, label in enumerate(series.time_labels))
                output.show(f"      {len(series.time_labels)} points by {series.time_name}: {points}")
            for warning in series.warnings:
                output.show(f"      {warning.code}: {warning.text}")
    if not studies:
        output.show("No images found. Name a folder, file or archive that holds DICOM, NIfTI, NRRD or photographs.")
    for reason, count in skipped.items():
        output.note(f"{counted(count, 'file')} left out: {reason}")


def _line(series: SeriesRef) -> str:
    grid = grid_of(series)
    # Pictures have no depth.
    axes = 3 if series.stacking == "place" else 2
    number = "" if series.series_number is None else f"Series {series.series_number}"
    name = series.description or number or series.title
    parts = [
        f"{series.modality or series.kind:3} {name}",
        "×".join(str(n) for n in (series.size or ())[:axes]),
        f"{'×'.join(f'{s:.4g}' for s in series.spacing[:axes])} mm" if series.spacing else "",
        _stack(series),
        f"{_orientation(grid)} from ({', '.join(f'{v:.1f}' for v in grid.origin)}) mm" if grid else "",
        counted(len(set(series.files)), "file"),
        _obstacle(series),
    ]
    return "  ".join(part for part in parts if part)


def _obstacle(series: SeriesRef) -> str:
    """Return why a series is no image to open; empty for one that is."""
    if series.volume:
        return ""
    if series.kind in ("seg", "rtstruct"):
        return "loads onto its image"
    # A report or the like has a reader of its own; an object that nobody reads is left with the kind of an image.
    return "not an image" if series.refusal == "E_NOT_IMAGE" and series.kind != "dicom" else "cannot be opened"


def _stack(series: SeriesRef) -> str:
    """Return what a stack of pictures is; empty for a volume."""
    if series.stacking == "place" or not series.size:
        return ""
    count = series.size[2]
    if series.stacking == "time":
        return f"film of {count} frames"
    return f"{count} pictures" if count > 1 else "picture"


def _orientation(grid: Geometry) -> str:
    """Return the letters towards which i, j and k grow, nearest axis of the patient: ``LPS`` for a plain axial CT."""
    matrix = grid.direction_matrix
    letters = ""
    for axis in range(3):
        column = matrix[:, axis]
        n = int(abs(column).argmax())
        letters += ("LPS" if column[n] > 0 else "RAI")[n]
    return letters
