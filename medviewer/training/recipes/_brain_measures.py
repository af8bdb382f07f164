"""Measure brain models on real images, where they are at hand, through the code that users run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.predictor import Model, predict
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import JobContext
from medviewer.training.recipes._brain import OUTPUTS, PAIRS

Labels = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]

_WHITE = (2, 41, 7, 46, 16, 28, 60)
_GREY = (3, 42, 8, 47, 10, 49, 11, 50, 12, 51, 13, 52, 17, 53, 18, 54, 26, 58)
#: Structures of a few millilitres and more: those whose agreement between two images means something.
_LARGE = (2, 41, 3, 42, 4, 43, 7, 46, 8, 47, 10, 49, 11, 50, 12, 51, 16)


def open_volume(ctx: JobContext, path: Path, title: str = "") -> Volume:
    """Return the volume of a file, or of the series of a study whose description holds `title`."""
    found = [series for study in scan_paths(ctx, [path]) for series in study.series]
    return open_series(ctx, next(series for series in found if title in series.description))


def dice_of(a: Mask, b: Mask) -> float:
    """Return the Dice of two masks; nan when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else float("nan")


def tissues(labels: Labels) -> tuple[Mask, Mask]:
    """Return grey and white matter of an answer."""
    grey, white = (np.isin(labels, [OUTPUTS[label] for label in group]) for group in (_GREY, _WHITE))
    return grey, white


def agreement(a: Labels, b: Labels) -> float:
    """Return the mean Dice of the large structures of two answers on one grid."""
    return float(np.nanmean([dice_of(a == OUTPUTS[label], b == OUTPUTS[label]) for label in _LARGE]))


def asymmetry(labels: Labels) -> float:
    """Return the largest difference of left and right over their mean, of the large structures."""
    worst = 0.0
    for left, right in PAIRS.items():
        if left in _LARGE:
            a, b = (int((labels == OUTPUTS[label]).sum()) for label in (left, right))
            worst = max(worst, 2 * abs(a - b) / max(a + b, 1))
    return worst


def anatomy_of_real(ctx: JobContext, model: Model, images: Path, icbm: Path) -> list[dict[str, Any]]:
    """Return rows: against the tissue maps of the ICBM template, and how far contrasts of one head agree.

    Parameters
    ----------
    images : Path
        Folder of open images: ``nifti/mni152_t1_1mm.nii.gz``, ``nifti/ms_patient07``, a zipped study of a tumour.
    icbm : Path
        ``gm.nii.gz`` and ``wm.nii.gz``, ICBM 2009a probabilities, 0..255; may be missing.
    """
    rows: list[dict[str, Any]] = []
    template = open_volume(ctx, images / "nifti" / "mni152_t1_1mm.nii.gz")
    labels = predict(ctx, model, template).labels
    worst = round(asymmetry(labels), 3)
    rows.append({"what": "largest left-right difference", "on": "ICBM template", "cases": 1, "figure": worst})
    for name, found in zip(("gm", "wm"), tissues(labels), strict=True):
        if (icbm / f"{name}.nii.gz").exists():
            truth = np.asarray(open_volume(ctx, icbm / f"{name}.nii.gz").array) > 127
            figure = round(dice_of(found, truth), 3)
            rows.append(
                {"what": f"Dice of {name}", "on": "ICBM tissue maps", "cases": 1, "figure": figure, "bar": 0.85}
            )
    study = images / "dicom" / "brain_mr_4series_PGBM-003.zip"
    patient = images / "nifti" / "ms_patient07"
    heads: dict[str, list[tuple[str, Path, str]]] = {
        "multiple sclerosis, 1 mm": [(name, patient / f"{name}.nii.gz", "") for name in ("T1", "FLAIR", "T2")],
        "glioblastoma, 6.5 mm slices": [("T1", study, "T1pre"), ("FLAIR", study, "FLAIR"), ("T2", study, "T2_reg")],
    }
    for on, series in heads.items():
        answers = {name: predict(ctx, model, open_volume(ctx, path, title)).labels for name, path, title in series}
        for name in ("FLAIR", "T2"):
            figure = round(agreement(answers["T1"], answers[name]), 3)
            what = f"agreement of T1 and {name}, mean Dice"
            rows.append({"what": what, "on": on, "cases": 1, "figure": figure, "bar": 0.8})
    return rows


def lesion_scores(found: Mask, truth: Mask, least: int = 3) -> tuple[float, float]:
    """Return Dice, and the F1 of whole lesions: pieces of at least some voxels; touching counts as found."""
    from scipy import ndimage

    def touched(ours: Mask, theirs: Mask) -> tuple[int, int]:
        pieces, n = ndimage.label(ours, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel(), minlength=n + 1)[1:]
        hit = np.bincount(pieces[theirs], minlength=n + 1)[1:] > 0
        return int((hit & (sizes >= least)).sum()), int((sizes >= least).sum())

    (hit, all_true), (right, all_found) = touched(truth, found), touched(found, truth)
    recall, precision = hit / max(all_true, 1), right / max(all_found, 1)
    return dice_of(found, truth), 2 * recall * precision / max(recall + precision, 1e-6)
