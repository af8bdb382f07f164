"""The hippocampus in a box around it, or both of them in a whole head.

The network knows the left one in a narrow box of T1-weighted MR. The right one is shown to it in a mirror. In a head,
the model of the brain's anatomy says where they are; it also shows whether the image is T1-weighted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medviewer.ai.card import ModelCard
from medviewer.ai.models import Model
from medviewer.ai.patient_grid import PatientGrid
from medviewer.ai.predictor import Prediction, PredictOptions, predict
from medviewer.core.errors import TaskError
from medviewer.core.finding import QualityFlag
from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, SubContext

Mask = npt.NDArray[np.bool_]

#: A box whose sides are no longer holds one hippocampus; the crops of the training data are up to 59 mm long.
CROP_MM = 75.0
#: A head is at least this long along two sides.
HEAD_MM = 110.0
#: Around what the model of the anatomy found; the crops of the training data leave 3 to 13 mm.
MARGIN_MM = 7.0
#: Thicker slices show too little of a structure of about 15 mm.
THICK_MM = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Hippocampi:
    """What was found on the grid of the image.

    Attributes
    ----------
    labels : uint16, shape (k, j, i)
        The value of a part, plus `RIGHT_HIPPOCAMPUS` for the right side of a head.
    both : bool
        Whether it was a head with both of them; in a crop, no side is told.
    flags : tuple of QualityFlag
    """

    labels: LabelArray
    both: bool
    flags: tuple[QualityFlag, ...]


#: Added to the label values of the right side.
RIGHT_HIPPOCAMPUS = 2


def is_hippocampus_crop(geometry: Geometry) -> bool:
    """Whether the image is a box around one hippocampus."""
    return max(_sides_mm(geometry)) <= CROP_MM


def find_hippocampus_in_crop(ctx: JobContext, model: Model, volume: Volume) -> Hippocampi:
    """Return the parts of the one hippocampus in a crop, whichever side it is from.

    Both ways of looking at it are tried; the one that the network is surer of counts.
    """
    seen = [
        _one_side(SubContext(ctx, part, part + 0.5), model, volume, mirrored=mirrored)
        for part, mirrored in ((0.0, False), (0.5, True))
    ]
    found = max(seen, key=_sureness)
    return Hippocampi(found.labels, False, (*found.flags, *_thick(volume)))


def find_hippocampi_in_head(ctx: JobContext, model: Model, anatomy: Model, volume: Volume) -> Hippocampi:
    """Return the parts of both hippocampi.

    Parameters
    ----------
    model, anatomy : Model
        Of the hippocampus; of the brain's anatomy, with labels of both hippocampi.
    volume : Volume
        T1-weighted MR of a head.

    Raises
    ------
    TaskError
        ``E_MODEL_INPUT``: no brain was found, or it is not T1-weighted.
    """
    ctx.progress(0.0, "Looking for the hippocampi")
    found = predict(SubContext(ctx, 0.0, 0.8), anatomy, volume)
    names = {label.name: label.value for label in anatomy.card.labels}
    _require_t1(model.card, volume, found.labels, names)
    labels: LabelArray = np.zeros(volume.geometry.shape, np.uint16)
    flags = _thick(volume)
    for n, (side, offset) in enumerate((("left", 0), ("right", RIGHT_HIPPOCAMPUS))):
        box = _box(found.labels == names[f"{side}_hippocampus"], volume.geometry)
        if box is None:
            raise _bad_input(f"{model.card.title}: the {side} hippocampus was not found in “{volume.name}”.")
        crop = replace(volume, array=volume.array[box.slices], geometry=volume.geometry.cropped(box), shutter=None)
        part = SubContext(ctx, 0.8 + 0.1 * n, 0.9 + 0.1 * n)
        seen = _one_side(part, model, crop, mirrored=side == "right")
        view = labels[box.slices]
        view[seen.labels > 0] = seen.labels[seen.labels > 0] + offset
        for flag in seen.flags:
            text = f"{side.capitalize()} hippocampus: {flag.text}"
            flags.append(QualityFlag(flag.code, text, flag.segment + offset if flag.segment else 0))
    return Hippocampi(labels, True, tuple(flags))


def refuse_hippocampus_size(card: ModelCard, volume: Volume) -> None:
    """Refuse what is neither a crop nor a head; raises `TaskError` ``E_MODEL_INPUT``."""
    sides = sorted(_sides_mm(volume.geometry))
    if not is_hippocampus_crop(volume.geometry) and sides[1] < HEAD_MM:
        size = " × ".join(f"{mm:.0f}" for mm in _sides_mm(volume.geometry))
        raise _bad_input(f"{card.title} needs a whole head, or a box around one hippocampus; this is {size} mm.")


def _one_side(ctx: JobContext, model: Model, volume: Volume, *, mirrored: bool) -> Prediction:
    """Return what the network finds in a crop, shown to it as it is or in a mirror."""
    options = PredictOptions(probability=True)
    if not mirrored:
        return predict(ctx, model, volume, options)
    grid = PatientGrid.of(volume.geometry)
    turned = replace(
        volume,
        array=np.ascontiguousarray(grid.turn(volume.array)[..., ::-1]),
        geometry=grid.turned(volume.geometry),
    )
    found = predict(ctx, model, turned, options)
    assert found.probability is not None
    return replace(
        found,
        labels=grid.turn_back(found.labels[..., ::-1]),
        probability=grid.turn_back(found.probability[..., ::-1]),
    )


def _sureness(found: Prediction) -> float:
    """Return how sure a network was: the mean distance of its probabilities from a half, where it saw anything."""
    assert found.probability is not None
    seen = found.probability[found.probability > 0.05]
    return float(np.abs(seen - 0.5).mean()) if seen.size else 0.0


def _thick(volume: Volume) -> list[QualityFlag]:
    thickest = max(volume.geometry.spacing)
    if thickest <= THICK_MM:
        return []
    text = f"Slices {thickest:.1f} mm apart show too little of the hippocampus; the model was trained at 1 mm."
    return [QualityFlag("Q_THICK_SLICES", text)]


def _box(mask: Mask, geometry: Geometry) -> Region | None:
    """Return the voxels of the largest part of a mask, and `MARGIN_MM` around them."""
    from medviewer.ai.masks import largest_component

    found = Region.of_mask(largest_component(mask)) if mask.any() else None
    if found is None:
        return None
    margins = [int(np.ceil(MARGIN_MM / mm)) for mm in geometry.spacing[::-1]]
    lower = [max(0, low - margin) for low, margin in zip(found.lower, margins, strict=True)]
    upper = [min(n, up + margin) for n, up, margin in zip(geometry.shape, found.upper, margins, strict=True)]
    return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def _require_t1(card: ModelCard, volume: Volume, labels: LabelArray, names: Mapping[str, int]) -> None:
    """Refuse an image without a brain, or where white matter is not brighter than the cortex and that than fluid."""
    means = []
    for tissue in ("cerebral_white_matter", "cerebral_cortex", "lateral_ventricle"):
        here = np.isin(labels, [names[f"{side}_{tissue}"] for side in ("left", "right")])
        if not here.any():
            raise _bad_input(f"{card.title}: no brain was found in “{volume.name}”.")
        means.append(float(np.median(volume.array[here])))
    white, grey, fluid = means
    if not white > grey > fluid:
        raise _bad_input(f"{card.title} is made for T1-weighted images, and “{volume.name}” does not look like one.")


def _sides_mm(geometry: Geometry) -> list[float]:
    return [n * mm for n, mm in zip(geometry.size, geometry.spacing, strict=True)]


def _bad_input(text: str) -> TaskError:
    return TaskError(text, hint="Choose a T1-weighted image of the head.", code="E_MODEL_INPUT")
