"""Left and right lung, trachea and main bronchi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from medviewer.api import (
    CodedConcept,
    Doc,
    Input,
    JobContext,
    LabelResult,
    Mask,
    Range,
    Readiness,
    Result,
    SubContext,
    Unit,
    Volume,
)
from medviewer.api.inference import AIR_HU, CoarseCt, Lungs, dilated, find_lungs, named_memory_errors
from mv_ct_anatomy.common import MEMORY_HINT, image_of, label_result, segment

LEFT = segment(1, "Left lung", (126, 197, 255), CodedConcept("44029006", "SCT", "Left lung"))
RIGHT = segment(2, "Right lung", (145, 209, 120), CodedConcept("3341006", "SCT", "Right lung"))
TRACHEA = segment(3, "Trachea", (255, 195, 77), CodedConcept("44567001", "SCT", "Trachea"))


@dataclass(frozen=True, slots=True)
class LungParams:
    """What is closed in."""

    closing_mm: Annotated[
        float, Range(2.0, 15.0, 0.5), Unit("mm"), Doc("Radius of the ball that closes vessels and small nodules in")
    ] = 8.0
    nodule_mm: Annotated[
        float, Range(0.0, 60.0, 1.0), Unit("mm"), Doc("Widest nodule at the chest wall that is closed in")
    ] = 32.0


class LungsTask:
    """Finds the lungs; reports none where there are none."""

    def check(self) -> Readiness:
        """Always ready."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: LungParams) -> Sequence[Result]:
        """Return the segments "Left lung", "Right lung" and "Trachea", those that were found."""
        volume = image_of(inputs)
        with named_memory_errors(ctx.device, MEMORY_HINT):
            ctx.progress(0.0, "Reading densities")
            ct = CoarseCt.of(volume, 1.5)
            lungs = find_lungs(SubContext(ctx, 0.02, 0.7), ct, params.closing_mm, params.nodule_mm)
            result = self._on_voxels(SubContext(ctx, 0.7, 0.98), volume, ct, lungs)
        ctx.progress(1.0, "Done")
        return [result]

    def _on_voxels(self, ctx: JobContext, volume: Volume, ct: CoarseCt, lungs: Lungs) -> LabelResult:
        """Return the coarse masks with their surfaces at half-way between air and tissue."""
        none = np.zeros(ct.grid.shape, bool)
        if not lungs.found:
            return label_result("Lungs", volume, ct.grid, [])
        ctx.progress(0.0, "Drawing the surfaces")
        air = ct.grid.turn(volume.array) < AIR_HU
        trachea = ct.fine_smooth(ctx, lungs.trachea) & air if lungs.trachea.any() else none
        wall = ct.fine_smooth(ctx, dilated(ctx, lungs.trachea, 1.5, ct.spacing)) if lungs.trachea.any() else none
        sides: list[Mask] = []
        for n, (own, other) in enumerate(((lungs.left, lungs.right), (lungs.right, lungs.left))):
            ctx.progress(0.25 + 0.35 * n, "Drawing the surfaces")
            if own.any():
                sides.append(ct.snapped(ctx, own, air & ~ct.fine(other)) & ~wall)
            else:
                sides.append(none)
        ctx.progress(0.95, "Drawing the surfaces")
        left, right = sides
        return label_result("Lungs", volume, ct.grid, [(LEFT, left), (RIGHT, right & ~left), (TRACHEA, trachea)])
