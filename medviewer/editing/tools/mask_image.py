"""Mask image: a copy of the image with nothing outside the segment, or inside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal
from uuid import uuid4

import numpy as np

from medviewer.core.params import Doc, Range
from medviewer.core.volume import VoxelArray
from medviewer.editing.change import Change
from medviewer.editing.editor import EditRefused
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.tool import BaseTool, tool
from medviewer.jobs.job import JobContext

_SLAB = 32


@dataclass(slots=True)
class MaskImageOptions:
    """Options of the tool."""

    keep: Annotated[Literal["inside", "outside"], Doc("Voxels that keep their value")] = "inside"
    fill_with: Annotated[Literal["lowest value", "value"], Doc("What the others become")] = "lowest value"
    value: Annotated[float, Range(-1e6, 1e6, 10.0), Doc("In the unit of the image")] = 0.0


@tool("mask_image", "Mask image", group="shape")
class MaskImage(BaseTool):
    """Adds a copy of the image, beside it, that shows only what the active segment covers, or only the rest."""

    #: A second image is made only when it is asked for.
    live: ClassVar[bool] = False
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = MaskImageOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Make the copy."""
        volume = scene.volume
        if volume.stacking != "place" or volume.colors is not None or not (volume.in_mm and volume.in_patient):
            # A computed image is kept in the workspace file as values on a grid in the patient, and nothing else.
            raise EditRefused(
                "Only an image with a place in the patient can be masked.", hint="Films, pictures and photos have none."
            )
        options = replace(self.options)
        return lambda ctx: _masked(scene, options, ctx)


def _masked(scene: EditScene, options: MaskImageOptions, ctx: JobContext) -> Change:
    volume, segment = scene.volume, scene.segment
    source = volume.array
    fill: float = source.min() if options.fill_with == "lowest value" else options.value
    result = _room_for(source, fill)
    labels, inside = scene.labels, options.keep == "inside"
    for start in range(0, source.shape[0], _SLAB):
        ctx.progress(start / source.shape[0], "Masking the image")
        part = slice(start, start + _SLAB)
        result[part] = np.where((labels[part] == segment.value) == inside, source[part], result.dtype.type(fill))
    name = f"{volume.name}, {'only' if inside else 'without'} {segment.name}".removeprefix(", ")
    image = replace(volume, array=result, name=name, series=None, time=None, suv=None, warnings=(), id=uuid4().hex)
    return Change("Mask image", note=f"“{name}” is beside “{volume.name}” in the list of images.", image=image)


def _room_for(source: VoxelArray, fill: float) -> VoxelArray:
    """Return an empty array of a type that holds the image and the value."""
    if source.dtype.kind in "iu":
        info = np.iinfo(source.dtype)
        if fill != int(fill) or not info.min <= fill <= info.max:
            return np.empty(source.shape, np.float32)
    return np.empty(source.shape, source.dtype.newbyteorder("="))
