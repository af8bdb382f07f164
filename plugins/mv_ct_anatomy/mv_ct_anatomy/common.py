"""What the tasks of this plugin share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.api import (
    ANATOMICAL_STRUCTURE,
    CodedConcept,
    Input,
    InputError,
    LabelArray,
    LabelResult,
    Mask,
    Segment,
    Volume,
)
from medviewer.api.inference import PatientGrid

#: SNOMED CT category of organs (DICOM CID 7150).
CATEGORY = CodedConcept("123037004", "SCT", "Anatomical Structure")
#: Hint when the memory runs out.
MEMORY_HINT = "Close other studies or programs, or crop the volume."


def image_of(inputs: object) -> Volume:
    """Return the input named ``image``.

    Raises
    ------
    InputError
        It is missing or no volume.
    """
    image: Input | None = inputs.get("image") if isinstance(inputs, dict) else None
    if not isinstance(image, Volume):
        raise InputError("This task needs a CT volume.", hint="Choose a volume as its input.")
    return image


def segment(value: int, name: str, color: tuple[int, int, int], concept: CodedConcept) -> Segment:
    """Return a segment of an anatomical structure."""
    return Segment(value, name, color, category=CATEGORY, type=concept)


def label_result(
    name: str, volume: Volume, grid: PatientGrid, masks: list[tuple[Segment, Mask | npt.NDArray[np.bool_]]]
) -> LabelResult:
    """Return masks in (head, back, left) as segments on the grid of the volume; empty ones are left out."""
    labels: LabelArray = np.zeros(grid.shape, np.uint16)
    found = []
    for item, mask in masks:
        if mask.any():
            labels[mask] = item.value
            found.append(item)
    return LabelResult(name, grid.turn_back(labels), volume.geometry, tuple(found))


__all__ = ["ANATOMICAL_STRUCTURE", "CATEGORY", "MEMORY_HINT", "image_of", "label_result", "segment"]
