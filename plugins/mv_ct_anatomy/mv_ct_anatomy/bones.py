"""The skeleton with its marrow, without vessels and organs full of contrast agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy import ndimage

from medviewer.api import CodedConcept, Doc, Input, JobContext, Mask, Range, Readiness, Result, SubContext, Unit
from medviewer.api.inference import (
    CoarseCt,
    closed,
    components,
    convex_hull,
    dilated,
    eroded,
    find_body,
    named_memory_errors,
    opened,
    refine,
    slice_holes,
)
from mv_ct_anatomy.common import MEMORY_HINT, image_of, label_result, segment
from mv_ct_anatomy.contrast import find_contrast
from mv_ct_anatomy.spine import Line, find_canal, near_spine

BONES = segment(1, "Bones", (241, 214, 145), CodedConcept("272673000", "SCT", "Bone"))
#: Somewhere in a bone there is cortex.
CORTEX_HU = 300.0
#: Share of a piece that is as dense as that.
CORTEX_SHARE = 0.08
#: A slice at the height of the lungs has at least this share of its body below this density.
LUNG_HU = -600.0
LUNG_SHARE = 0.08
#: A deep piece larger than this is a hip, not a vessel.
HIP_ML = 60.0
#: A hole of this size in a slice is marrow, whatever its density.
SMALL_HOLE_MM2 = 120.0
#: A larger one is marrow unless it is as dense as the spinal cord, and no larger than a femoral shaft or a vertebra.
LARGE_HOLE_MM2 = 2000.0
CORD_HU = (-20.0, 90.0)


@dataclass(frozen=True, slots=True)
class BoneParams:
    """What counts as bone."""

    threshold_hu: Annotated[float, Range(100, 500, 10), Unit("HU"), Doc("Least density of bone")] = 180.0
    smallest_ml: Annotated[float, Range(0.0, 10.0, 0.1), Unit("ml"), Doc("Smaller pieces are left out")] = 0.3
    fill_marrow: Annotated[bool, Doc("Fill the marrow, so that bones are solid")] = True
    exclude_contrast: Annotated[bool, Doc("Leave out even, bright organs: heart, vessels, kidneys")] = True


class BonesTask:
    """Finds bones by density and connection."""

    def check(self) -> Readiness:
        """Always ready."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: BoneParams) -> Sequence[Result]:
        """Return one segment, "Bones"; none when there is no bone."""
        volume = image_of(inputs)
        with named_memory_errors(ctx.device, MEMORY_HINT):
            ctx.progress(0.0, "Reading densities")
            ct = CoarseCt.of(volume, 1.5)
            body = _body(SubContext(ctx, 0.05, 0.3), ct)
            dense = body & (ct.hu > params.threshold_hu)
            ctx.progress(0.3, "Looking for the spine")
            canal = find_canal(ctx, ct, dense, body)
            contrast = np.zeros(dense.shape, bool)
            if params.exclude_contrast and dense.any():
                contrast = find_contrast(SubContext(ctx, 0.4, 0.55), ct, dense, body, canal)
            ctx.progress(0.55, "Sorting pieces")
            bone = _bony(ctx, ct, dense & ~contrast, body, canal, params)
            ctx.progress(0.65, "Drawing the surface")
            near = dilated(ctx, bone, max(ct.spacing[1:]) + 1e-3, ct.spacing) & ~contrast
            mask = (ct.grid.turn(volume.array) > params.threshold_hu) & ct.fine(near)
            ctx.progress(0.75, "Filling the marrow")
            if params.fill_marrow and bone.any():
                mask |= ct.fine_smooth(ctx, _solid(ctx, ct, bone) & ~contrast)
            ctx.progress(0.95, "Filling the marrow")
            result = label_result("Bones", volume, ct.grid, [(BONES, mask)])
        ctx.progress(1.0, "Done")
        return [result]


def _body(ctx: JobContext, ct: CoarseCt) -> Mask:
    """Return the body on the blocks of `ct`."""
    rough = ct.coarser(2.5)
    body = find_body(ctx, rough)
    steps = [b // a for a, b in zip(ct.factors, rough.factors, strict=True)]
    return refine(body, (steps[0], steps[1], steps[2]), ct.hu.shape)


def _bony(ctx: JobContext, ct: CoarseCt, dense: Mask, body: Mask, canal: Line | None, params: BoneParams) -> Mask:
    """Return the pieces of bone: large enough, with cortex, and where bones are.

    Vessels that are left after the even ones have gone are thin or full of streaks; but they lie deep, and away from
    the spine. So does the hip, which is larger; at the height of the lungs there is no bone in such a place at all.
    """
    place = np.ones(dense.shape, bool)
    if params.exclude_contrast:
        chest, inner = _between_lungs(ctx, ct, body)
        place = ~np.where(chest[:, None, None], inner, _deep(ctx, ct, body))
        if canal is not None:
            place |= near_spine(ct, canal)
        dense = dense & (place | ~chest[:, None, None])
    labels, sizes = components(dense)
    volume_ml = sizes * float(np.prod(ct.spacing)) / 1000
    cortex = np.bincount(labels[dense & (ct.hu > CORTEX_HU)], minlength=sizes.size)
    in_place = np.bincount(labels[place & dense], minlength=sizes.size)
    keep = (volume_ml >= params.smallest_ml) & (cortex > CORTEX_SHARE * sizes)
    keep &= (in_place > 0.4 * sizes) | (volume_ml > HIP_ML)
    keep[0] = False
    result: Mask = keep[labels]
    return result


def _between_lungs(ctx: JobContext, ct: CoarseCt, body: Mask) -> tuple[Mask, Mask]:
    """Return which slices are at the height of the lungs, and what lies in them or between them: never a bone.

    Ribs and sternum are outside the convex hull of the lungs of a slice.
    """
    # Opened, because the skin is a thin layer of that density too.
    air = opened(ctx, body & (ct.hu < LUNG_HU), 4.0, ct.spacing)
    chest = air.sum(axis=(1, 2)) > LUNG_SHARE * np.maximum(body.sum(axis=(1, 2)), 1)
    inner = np.zeros(body.shape, bool)
    for k in np.flatnonzero(chest):
        ctx.check_cancelled()
        # Away from the hull itself: lungs bulge between ribs.
        inner[k] = ndimage.binary_erosion(convex_hull(air[k]), iterations=max(1, round(4.0 / ct.spacing[1])))
    return chest, inner


def _deep(ctx: JobContext, ct: CoarseCt, body: Mask) -> Mask:
    """Return what lies deeper under the skin than a fifth of the body's thickness; the cut ends are no skin."""
    step = (1, *(max(1, round(5.0 / mm)) for mm in ct.spacing[1:]))
    small = np.ascontiguousarray(body[:, :: step[1], :: step[2]])
    columns = small.sum(axis=1)
    thickness = float(np.median(columns[columns > 0])) * ct.spacing[1] * step[1] if columns.any() else 0.0
    spacing = (ct.spacing[0], ct.spacing[1] * step[1], ct.spacing[2] * step[2])
    # A field of view that cuts the body has no skin there: beyond its border the body goes on.
    inner = eroded(ctx, small, max(0.2 * thickness, 10.0), spacing)
    return refine(inner, (1, step[1], step[2]), body.shape)


def _solid(ctx: JobContext, ct: CoarseCt, bone: Mask) -> Mask:
    """Return bones with their marrow, the spinal canal left open."""
    shell = closed(ctx, bone, 2.0, ct.spacing)
    ctx.check_cancelled()
    filled = bone | slice_holes(ctx, shell, SMALL_HOLE_MM2, ct.spacing)
    labels, sizes = components(slice_holes(ctx, shell, LARGE_HOLE_MM2, ct.spacing) & ~filled)
    inside = labels > 0
    mean = np.bincount(labels[inside], weights=ct.hu[inside], minlength=sizes.size) / np.maximum(sizes, 1)
    marrow = (mean < CORD_HU[0]) | (mean > CORD_HU[1])
    marrow[0] = False
    # Gaps in thin cortex that only the closing bridged are part of the wall.
    return filled | marrow[labels] | (shell & (ct.hu > CORD_HU[1]))
