"""Mirror: flip a segment across a plane of the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.geometry import Vec3, vec3
from medviewer.core.params import Doc
from medviewer.core.region import Region
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.tool import BaseTool, tool

#: LPS.
_NORMALS: dict[str, Vec3] = {"left, right": (1, 0, 0), "front, back": (0, 1, 0), "head, feet": (0, 0, 1)}


@dataclass(slots=True)
class MirrorOptions:
    """Options of the tool."""

    swaps: Annotated[
        Literal["left, right", "front, back", "head, feet"], Doc("Sides of the patient that change places")
    ] = "left, right"
    through: Annotated[Literal["image", "segment"], Doc("The middle of which the plane goes through")] = "image"
    result: Annotated[Literal["replace", "add"], Doc("Add makes it the same on both sides")] = "replace"


@tool("mirror", "Mirror", group="shape")
class Mirror(BaseTool):
    """Flips the active segment in the patient, also where the image lies askew."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = MirrorOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Flip it."""
        options = replace(self.options)
        return lambda _ctx: _flipped(scene, options)


def _flipped(scene: EditScene, options: MirrorOptions) -> Change:
    from medviewer.imaging.mirror import mirrored

    box = scene.box()
    if box is None:
        return Change("Mirror")
    mask = scene.mask(region=box)
    middle = scene.geometry.center_lps if options.through == "image" else _middle(scene, box)
    place, image = mirrored(mask, box, scene.geometry, middle, _NORMALS[options.swaps])
    region = box.union(place)
    result = np.zeros(region.shape, np.bool_)
    if options.result == "add":
        result[box.inside(region).slices] = mask
    if not place.is_empty:
        result[place.inside(region).slices] |= image
    return Change("Mirror", (SegmentMask(scene.segment.value, region, result),))


def _middle(scene: EditScene, box: Region) -> Vec3:
    """Return the middle of a box in LPS mm."""
    k, j, i = ((low + up - 1) / 2 for low, up in zip(box.lower, box.upper, strict=True))
    return vec3(scene.geometry.index_to_lps((i, j, k)))
