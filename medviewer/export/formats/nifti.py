"""NIfTI: one mask per segment beside its image, on the image's grid. Overlap is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from medviewer.core.errors import ExportError
from medviewer.core.geometry import Geometry
from medviewer.core.params import Doc
from medviewer.core.segmentation import Mask
from medviewer.core.serial import geometry_to_json
from medviewer.core.version import __version__
from medviewer.export.case import Case
from medviewer.export.exporter import Check, Written, exporter
from medviewer.export.names import safe_name, unique_names
from medviewer.export.nifti_file import check_nifti, image_voxels, write_nifti
from medviewer.jobs.job import JobContext

_LABELS = "labels.json"
_IMAGE = "image"


@dataclass(frozen=True, slots=True)
class NiftiOptions:
    """Options of the NIfTI export."""

    images: Annotated[bool, Doc("Write the image beside its masks")] = True


def _layout(cases: Sequence[Case]) -> list[tuple[Case, str, list[str]]]:
    """Return each case with its folder and the file names of its segments, all different."""
    folders = unique_names(case.id for case in cases)
    layout = []
    for case, folder in zip(cases, folders, strict=True):
        names = unique_names([_IMAGE, *(segment.name for segment in case.segments)])[1:]
        layout.append((case, folder, names))
    return layout


def _describe(case: Case, names: Sequence[str], options: NiftiOptions) -> dict[str, Any]:
    data = case.provenance()
    for segment, name in zip(data["segments"], names, strict=True):
        segment["file"] = f"{name}.nii.gz"
    return data | {
        "program": "MedViewer",
        "medviewer": __version__,
        "image": f"{_IMAGE}.nii.gz" if options.images else None,
        "geometry_lps": geometry_to_json(case.geometry),
    }


def _verify(ctx: JobContext, cases: Sequence[Case], folder: Path, options: NiftiOptions) -> list[Check]:
    checks: list[Check] = []
    for n, (case, name, names) in enumerate(_layout(cases)):
        ctx.progress(n / len(cases), f"Checking {case.id}")
        target = folder / name
        read = json.loads((target / _LABELS).read_text(encoding="utf-8"))
        found = {entry["name"]: entry["file"] for entry in read["segments"]}
        listed = len(read["segments"]) == len(case.segments) and set(found) == {s.name for s in case.segments}
        checks.append(Check(f"{case.id}: names", listed, f"{len(read['segments'])} segments"))
        if options.images:
            path = target / f"{_IMAGE}.nii.gz"
            checks.append(check_nifti(image_voxels(case.volume), case.geometry, path, f"{case.id}: image"))
        for segment, file in zip(case.segments, names, strict=True):
            ctx.check_cancelled()
            path = target / f"{file}.nii.gz"
            checks.append(check_nifti(case.mask(segment), case.geometry, path, f"{case.id}: {segment.name}"))
    return checks


@exporter("nifti", "NIfTI masks", accepts=["volume", "segments"], verify=_verify)
def write(ctx: JobContext, cases: Sequence[Case], folder: Path, options: NiftiOptions) -> Written:
    """Write ``<case>/<segment>.nii.gz``, ``<case>/image.nii.gz`` and ``<case>/labels.json``."""
    files: list[Path] = []
    notes: list[str] = []
    for n, (case, name, names) in enumerate(_layout(cases)):
        target = folder / name
        target.mkdir()
        how = {"in_patient": case.volume.in_patient, "in_mm": case.volume.in_mm}
        if options.images:
            ctx.progress(n / len(cases), f"{case.id}: image")
            files.append(target / f"{_IMAGE}.nii.gz")
            write_nifti(image_voxels(case.volume), case.geometry, files[-1], **how)
        for m, (segment, file) in enumerate(zip(case.segments, names, strict=True)):
            ctx.progress((n + (m + 1) / (len(names) + 1)) / len(cases), f"{case.id}: {segment.name}")
            mask = case.mask(segment)
            if not mask.any():
                notes.append(f"{case.id}: “{segment.name}” is empty.")
            files.append(target / f"{file}.nii.gz")
            write_nifti(mask, case.geometry, files[-1], **how)
        files.append(target / _LABELS)
        text = json.dumps(_describe(case, names, options), indent=1, ensure_ascii=False)
        # Half a character, out of a file's name, becomes the escape that JSON has for it.
        files[-1].write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        notes += [f"{case.id}: {warning.text}" for warning in case.volume.warnings]
    return Written(tuple(files), tuple(notes))


def write_mask_nifti(mask: Mask, geometry: Geometry, path: Path) -> Check:
    """Write one mask as uint8 on its grid, read it back and compare.

    Parameters
    ----------
    mask : bool array
        Of shape (k, j, i).
    geometry : Geometry
        Its grid, LPS mm.
    path : Path
        Ends in ``.nii.gz``; an older file is replaced.

    Raises
    ------
    ExportError
        ``E_READBACK`` when it does not read back the same (the file is removed), ``E_DISK_FULL``, ``E_READ_ONLY``.
    """
    write_nifti(mask, geometry, path)
    check = check_nifti(mask, geometry, path, path.name)
    if not check.passed:
        path.unlink(missing_ok=True)
        raise ExportError(
            f"{path.name} does not read back as it was written ({check.detail}).",
            hint="The disk may be failing. Choose another disk.",
            code="E_READBACK",
        )
    return check


__all__ = ["NiftiOptions", "safe_name", "write", "write_mask_nifti"]
