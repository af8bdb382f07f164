"""A demo study on disk: the DICOM series with its truth beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medviewer.core.geometry import Geometry, Ijk, Points
from medviewer.phantoms.brain import make_brain
from medviewer.phantoms.dicom_writer import demo_uid, write_series
from medviewer.phantoms.model import DemoStudy, Phantom, Progress
from medviewer.phantoms.thorax import make_thorax

Kind = Literal["thorax", "brain"]
_MAKERS: dict[str, tuple[Callable[[Ijk, int, Progress | None], Phantom], Ijk]] = {
    "thorax": (make_thorax, (256, 256, 128)),
    "brain": (make_brain, (192, 224, 176)),
}


def write_demo_study(
    folder: Path,
    kind: Kind = "thorax",
    size: Ijk | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> DemoStudy:
    """Make a phantom and write it with its truth.

    Parameters
    ----------
    folder : Path
        Made if missing. Gets ``DICOM/*.dcm``, ``truth/labels.nii.gz`` (RAS affine), ``truth/nodules.csv`` (LPS mm)
        and ``truth/truth.json``. Slices of an earlier, larger study there are removed.
    kind : "thorax" or "brain"
        What to make.
    size : (int, int, int), optional
        Voxels along (i, j, k); the kind's own by default.

    Raises
    ------
    ValueError
        If the kind is unknown or a size is below 16.
    """
    if kind not in _MAKERS:
        raise ValueError(f"kind must be one of {sorted(_MAKERS)}, got {kind!r}")
    maker, default = _MAKERS[kind]
    phantom = maker(size or default, seed, _part(progress, 0.0, 0.8))
    dicom, truth = folder / "DICOM", folder / "truth"
    for path in (dicom, truth):
        path.mkdir(parents=True, exist_ok=True)
    for old in dicom.glob("IM*.dcm"):
        old.unlink()
    files = write_series(phantom, dicom, seed, progress=_part(progress, 0.8, 0.97))
    study = DemoStudy(
        folder=folder,
        dicom_folder=dicom,
        files=tuple(files),
        labels_nifti=truth / "labels.nii.gz",
        nodules_csv=truth / "nodules.csv",
        truth_json=truth / "truth.json",
        series_instance_uid=demo_uid(
            seed, phantom.volume.patient_id, phantom.volume.modality, phantom.volume.geometry, "series"
        ),
        phantom=phantom,
    )
    _write_labels(study.labels_nifti, phantom)
    _write_nodules(study.nodules_csv, phantom)
    study.truth_json.write_text(json.dumps(_summary(study, kind, seed), indent=2) + "\n", encoding="utf-8")
    if progress is not None:
        progress(1.0, "Done")
    return study


def _part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    if progress is None:
        return None
    return lambda fraction, text: progress(start + (stop - start) * fraction, text)


def ras_affine(geometry: Geometry) -> Points:
    """Return the NIfTI affine: (i, j, k) to RAS mm."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.index_to_lps_matrix, dtype=np.float64)


def _write_labels(path: Path, phantom: Phantom) -> None:
    import nibabel

    affine = ras_affine(phantom.volume.geometry)
    image = nibabel.Nifti1Image(np.ascontiguousarray(phantom.labels.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nibabel.save(image, path)


def _write_nodules(path: Path, phantom: Phantom) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "x_lps_mm", "y_lps_mm", "z_lps_mm", "diameter_mm", "kind"])
        for nodule in phantom.nodules:
            x, y, z = (f"{v:.3f}" for v in nodule.lps)
            writer.writerow([nodule.label, x, y, z, f"{nodule.diameter_mm:.2f}", nodule.kind])


def _summary(study: DemoStudy, kind: str, seed: int) -> dict[str, Any]:
    phantom = study.phantom
    geometry = phantom.volume.geometry
    counts = np.bincount(phantom.labels.ravel(), minlength=max(phantom.names) + 1)
    return {
        "kind": kind,
        "seed": seed,
        "series_instance_uid": study.series_instance_uid,
        "size": geometry.size,
        "spacing_mm": geometry.spacing,
        "origin_lps_mm": geometry.origin,
        "direction": geometry.direction,
        "labels": {
            name: {"value": value, "volume_ml": round(float(counts[value]) * geometry.voxel_volume_mm3 / 1000, 3)}
            for value, name in phantom.names.items()
        },
        "nodules": [
            {"label": n.label, "lps_mm": n.lps, "diameter_mm": n.diameter_mm, "kind": n.kind} for n in phantom.nodules
        ],
    }
