"""The patient without the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from medviewer.api import CodedConcept, Doc, Input, JobContext, Range, Readiness, Result, SubContext, Unit
from medviewer.api.inference import SOFT_HU, CoarseCt, find_body, named_memory_errors
from mv_ct_anatomy.common import MEMORY_HINT, image_of, label_result, segment

#: Hidden at first: it covers every slice, and is there for other steps to build on.
BODY = replace(segment(1, "Body", (244, 214, 180), CodedConcept("38266002", "SCT", "Entire body")), visible=False)


@dataclass(frozen=True, slots=True)
class BodyParams:
    """How fine to look; the surface is always drawn on the voxels of the volume."""

    block_mm: Annotated[float, Range(1.5, 5.0, 0.5), Unit("mm"), Doc("Blocks on which shapes are judged")] = 2.5


class BodyTask:
    """Finds the body: the largest soft thing that is thicker than a table top, with its holes closed."""

    def check(self) -> Readiness:
        """Always ready."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: BodyParams) -> Sequence[Result]:
        """Return one segment, "Body"; none when there is no body."""
        volume = image_of(inputs)
        with named_memory_errors(ctx.device, MEMORY_HINT):
            ctx.progress(0.0, "Reading densities")
            ct = CoarseCt.of(volume, params.block_mm)
            body = find_body(SubContext(ctx, 0.05, 0.6), ct)
            ctx.progress(0.6, "Drawing the surface")
            soft = ct.grid.turn(volume.array) > SOFT_HU
            mask = ct.snapped(ctx, body, soft)
            ctx.progress(0.9, "Drawing the surface")
            result = label_result("Body", volume, ct.grid, [(BODY, mask)])
        ctx.progress(1.0, "Done")
        return [result]
