"""Combine: the active segment and another one, or the whole image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.params import Doc, SegmentChoice
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.editor import EditRefused
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.tool import BaseTool, tool


@dataclass(slots=True)
class LogicOptions:
    """Options of the tool."""

    operation: Annotated[
        Literal["copy", "add", "subtract", "intersect", "invert", "clear", "fill"],
        Doc("Copy, add, subtract, intersect: with the other segment. Invert, clear, fill: in the whole image"),
    ] = "add"
    other: Annotated[int, SegmentChoice(), Doc("The other segment")] = 0


@tool("logic", "Combine", shortcut="Shift+L", group="shape")
class Logic(BaseTool):
    """Makes the active segment of itself and another one; segments of one group take voxels from each other."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = LogicOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Combine."""
        options = replace(self.options)
        if options.operation in ("copy", "add", "subtract", "intersect"):
            other = scene.segmentation.find(options.other)
            if other is None or other.value == scene.segment.value:
                raise EditRefused("Choose the other segment.", hint="It is in the options of the tool.")
        return lambda _ctx: _combined(scene, options)


def _combined(scene: EditScene, options: LogicOptions) -> Change:
    own = scene.box()
    label = options.operation.capitalize()
    if options.operation in ("invert", "fill"):
        region = scene.geometry.region
        mask = ~scene.mask() if options.operation == "invert" else np.ones(region.shape, np.bool_)
        return _becomes(scene, label, region, mask)
    if options.operation == "clear":
        return Change(label) if own is None else _becomes(scene, label, own, np.zeros(own.shape, np.bool_))
    label = f"{label} {scene.segmentation.segment(options.other).name}"
    theirs = scene.box(options.other)
    if options.operation in ("copy", "add"):
        boxes = [box for box in (own if options.operation == "copy" else None, theirs) if box is not None]
        if not boxes:
            return Change(label)
        region = boxes[0].union(boxes[-1])
        other = scene.mask(options.other, region)
        return _becomes(
            scene, label, region, other if options.operation == "copy" else scene.mask(region=region) | other
        )
    if own is None:
        return Change(label)
    other = scene.mask(options.other, own)
    return _becomes(scene, label, own, scene.mask(region=own) & (other if options.operation == "intersect" else ~other))


def _becomes(scene: EditScene, label: str, region: Region, mask: Mask) -> Change:
    return Change(label, (SegmentMask(scene.segment.value, region, mask),))
