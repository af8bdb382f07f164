"""A mask for each marked lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medviewer.api import (
    MORPHOLOGICALLY_ALTERED_STRUCTURE,
    Box3D,
    CodedConcept,
    Doc,
    Geometry,
    Input,
    InputError,
    JobContext,
    LabelArray,
    LabelResult,
    Mask,
    Range,
    Readiness,
    Region,
    Result,
    Segment,
    Volume,
)
from medviewer.api.inference import block_mean, named_memory_errors, refine

MEMORY_HINT = "Mark the lesion with a smaller box."
COLORS = ((230, 75, 53), (77, 187, 213), (255, 195, 77), (140, 120, 220), (145, 209, 120), (220, 90, 160))
MASS = CodedConcept("4147007", "SCT", "Mass")
#: More voxels than this are looked at in blocks.
MOST_VOXELS = 1_500_000
#: Below it lies lung or gas, above it solid tissue.
SOLID_HU = -500.0


@dataclass(frozen=True, slots=True)
class LesionParams:
    """How strictly the mask keeps to the box and how much of what is attached is cut off."""

    reach: Annotated[
        float, Range(1.0, 2.0, 0.05), Doc("How far beyond the box, as a factor of its size, the lesion may extend")
    ] = 1.2
    detach: Annotated[
        float, Range(0.0, 0.8, 0.05), Doc("Necks thinner than this share of the lesion (vessels, pleura) are cut off")
    ] = 0.35
    level: Annotated[
        float, Range(0.2, 0.8, 0.05), Doc("Where between the surroundings (0) and the lesion (1) its edge lies")
    ] = 0.5


class LesionTask:
    """Grows a mask from the middle of each box: adaptive threshold, then what is attached is cut off."""

    def check(self) -> Readiness:
        """Always ready."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: LesionParams) -> Sequence[Result]:
        """Return one label map with one segment per box, in their order."""
        image, boxes = inputs.get("image"), inputs.get("boxes")
        if not isinstance(image, Volume) or not isinstance(boxes, tuple) or not boxes:
            raise InputError("This task needs a CT volume and at least one box.", hint="Mark a lesion with a box.")
        labels: LabelArray = np.zeros(image.geometry.shape, np.uint16)
        segments = []
        with named_memory_errors(ctx.device, MEMORY_HINT):
            for n, box in enumerate(boxes):
                ctx.progress(n / len(boxes), f"Lesion {n + 1} of {len(boxes)}")
                region, mask = lesion_in(ctx, image, box, params)
                part = labels[region.slices]
                part[mask & (part == 0)] = n + 1
                segments.append(_segment(n, box, len(boxes)))
        ctx.progress(1.0, "Done")
        return [LabelResult("Lesions", labels, image.geometry, tuple(segments))]


def _segment(n: int, box: Box3D, count: int) -> Segment:
    name = box.label or "Lesion"
    return Segment(
        n + 1,
        f"{name} {n + 1}" if count > 1 else name,
        COLORS[n % len(COLORS)],
        category=MORPHOLOGICALLY_ALTERED_STRUCTURE,
        type=MASS,
    )


def lesion_in(ctx: JobContext, image: Volume, box: Box3D, params: LesionParams) -> tuple[Region, Mask]:
    """Return the part of the grid around a box and the mask of the lesion in it; never empty.

    Raises
    ------
    InputError
        The box lies outside the volume.
    """
    grid = image.geometry
    region = _region(grid, box, 1.5)
    if _region(grid, box, 1.0).is_empty:
        raise InputError("A box lies outside the volume.", hint="Move the box into the image.")
    factor = max(1, int(np.ceil(np.cbrt(region.size / MOST_VOXELS))))
    k, j, i = (min(factor, n) for n in region.shape)
    factors = (k, j, i)
    hu = block_mean(image.array[region.slices], factors, -1024.0, 3000.0)
    ctx.check_cancelled()
    away = _ellipsoidal_distance(grid, region, factors, hu.shape, box)
    spacing = tuple(mm * f for mm, f in zip(grid.spacing[::-1], factors, strict=True))
    mask = _grown(hu, away, (spacing[0], spacing[1], spacing[2]), params)
    return region, refine(mask, factors, region.shape)


def _region(grid: Geometry, box: Box3D, grown: float) -> Region:
    """Return the voxels around a box grown by a factor about its middle, and at least 5 mm where it is grown."""
    middle = np.array(box.center_lps)
    half = np.abs(np.array(box.upper) - np.array(box.lower)) / 2
    half = np.maximum(half * grown, half + 5.0) if grown > 1 else half
    signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = grid.lps_to_index(middle + signs * half)[:, ::-1]
    low, high = np.floor(corners.min(axis=0) + 0.5).astype(int), np.ceil(corners.max(axis=0) + 0.5).astype(int)
    region = Region((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
    return region.clip(grid.region)


def _ellipsoidal_distance(
    grid: Geometry, region: Region, factors: tuple[int, int, int], shape: tuple[int, ...], box: Box3D
) -> npt.NDArray[np.float64]:
    """Return for every block where it lies in the box: 0 in the middle, 1 on the ellipsoid that touches all sides."""
    half = np.maximum(np.abs(np.array(box.upper) - np.array(box.lower)) / 2, max(grid.spacing) / 2)
    indices = [start + (np.arange(n) + 0.5) * f - 0.5 for start, n, f in zip(region.lower, shape, factors, strict=True)]
    k, j, i = np.meshgrid(*indices, indexing="ij")
    lps = grid.index_to_lps(np.stack([i, j, k], axis=-1))
    away: npt.NDArray[np.float64] = np.linalg.norm((lps - box.center_lps) / half, axis=-1)
    return away


def _grown(
    hu: npt.NDArray[np.float32],
    away: npt.NDArray[np.float64],
    spacing: tuple[float, float, float],
    params: LesionParams,
) -> Mask:
    """Return the lesion on blocks."""
    core = hu[away <= max(0.4, float(away.min()) + 1e-6)]
    inside = float(np.median(core))
    around = hu[(away > 1.1) & (away < 2.0)]
    outside = _surroundings(around if around.size else hu.ravel(), inside)
    edge = outside + params.level * (inside - outside)
    alike = (hu > edge) if inside >= outside else (hu < edge)
    dense = alike & (away <= params.reach)
    if not dense.any():
        return away <= max(1.0, float(away.min()) + 1e-6)
    whole = _nearest_part(dense, away)
    depth = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    radius = params.detach * float(depth[whole & (away <= 0.8)].max(initial=float(depth.max())))
    seed = _nearest_part(depth > radius, away)
    # Half a voxel more, so that the surface is where it was before the opening.
    back = ndimage.distance_transform_edt(~seed, sampling=spacing) <= radius + 0.5 * max(spacing[1:])
    lesion = ndimage.binary_fill_holes(whole & back)
    result: Mask = np.asarray(lesion, bool)
    return result


def _surroundings(around: npt.NDArray[np.float32], inside: float) -> float:
    """Return the density of what lies around a lesion: lung where there is lung, otherwise what differs most."""
    air = around[around < SOLID_HU]
    if inside > SOLID_HU - 250.0 and air.size > 0.15 * around.size:
        return float(np.median(air))
    low, high = np.percentile(around, [25, 75])
    return float(low if inside - low >= high - inside else high)


def _nearest_part(mask: Mask, away: npt.NDArray[np.float64]) -> Mask:
    """Return the connected part of a mask that comes nearest to the middle of the box."""
    labels, _ = ndimage.label(mask)
    start = np.unravel_index(int(np.where(mask, away, np.inf).argmin()), mask.shape)
    part: Mask = labels == labels[start]
    return part
