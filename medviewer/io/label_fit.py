"""Segments onto the grid of an image: the same grid, perhaps stored along other axes, or resampled when that is wanted.

A mask is laid over an image by its place in the patient, never by its indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from medviewer.core.errors import GeometryError
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import LabelArray
from medviewer.imaging.resample import resample_onto

#: Corners that lie no further apart are the same; headers are written with as few as six digits.
TOLERANCE_MM: Final = 0.05
_OF_A_VOXEL: Final = 0.1


def tolerance_mm(geometry: Geometry) -> float:
    """Return how far corners may lie apart on a grid: never more than a tenth of a voxel."""
    return min(TOLERANCE_MM, _OF_A_VOXEL * min(geometry.spacing))


def axes_between(source: Geometry, target: Geometry) -> tuple[tuple[int, ...], tuple[bool, ...]] | None:
    """Return how arrays (k, j, i) of `source` become arrays of `target` when both are the same set of voxels.

    Returns
    -------
    (order, flipped) or None
        For each axis of the target, the source's axis and whether it runs backwards; None for another set of voxels.
    """
    matrix = target.lps_to_index_matrix @ source.index_to_lps_matrix
    order = np.abs(matrix[:3, :3]).argmax(axis=1)
    if sorted(order) != [0, 1, 2]:
        return None
    backwards = [bool(matrix[n, order[n]] < 0) for n in range(3)]
    if tuple(source.size[n] for n in order) != target.size:
        return None
    last = np.array(source.size) - 1
    # Where the source has the target's first voxel, and its voxels one step on.
    start = np.zeros(3)
    for n in range(3):
        start[order[n]] = last[order[n]] if backwards[n] else 0
    steps = np.zeros((3, 3))
    for n in range(3):
        steps[order[n], n] = -1.0 if backwards[n] else 1.0
    seen = source.index_to_lps(start + np.array([c * (np.array(target.size) - 1) @ steps.T for c in _CORNERS]))
    wanted = target.index_to_lps([c * (np.array(target.size) - 1) for c in _CORNERS])
    if float(np.abs(seen - wanted).max()) > tolerance_mm(target):
        return None
    # (i, j, k) to the arrays' (k, j, i).
    return tuple(2 - int(order[2 - n]) for n in range(3)), tuple(backwards[2 - n] for n in range(3))


_CORNERS: Final = [np.array([x, y, z]) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


def fits(source: Geometry, target: Geometry) -> bool:
    """Whether two grids are the same set of voxels."""
    return axes_between(source, target) is not None


def fit_layers(
    layers: Sequence[LabelArray], source: Geometry, target: Geometry, name: str, *, resample: bool
) -> tuple[LabelArray, ...]:
    """Return label maps on the grid of the image.

    Parameters
    ----------
    layers : sequence of uint16 (k, j, i) of `source`
    resample : bool
        Take the nearest label where the grids differ, as the user agreed to.

    Raises
    ------
    GeometryError
        ``E_GEOMETRY`` with both grids in numbers, when they differ and `resample` is not wanted; ``E_OUTSIDE`` when
        nothing is left.
    """
    axes = axes_between(source, target)
    if axes is not None:
        order, flipped = axes
        turned = tuple(slice(None, None, -1 if backwards else 1) for backwards in flipped)
        return tuple(np.ascontiguousarray(layer.transpose(order)[turned]) for layer in layers)
    if not resample:
        raise misfit(source, target, name)
    moved = tuple(resample_onto(layer, source, target, interpolation="nearest") for layer in layers)
    if any(layer.any() for layer in layers) and not any(layer.any() for layer in moved):
        raise GeometryError(
            f"No segment of {name} lies inside the image.", hint="Open the image it was made for.", code="E_OUTSIDE"
        )
    return moved


def misfit(source: Geometry, target: Geometry, name: str) -> GeometryError:
    """Return the refusal of a file on another grid, in numbers."""
    apart = float(np.abs(np.array(_ends(source)) - np.array(_ends(target))).max())
    return GeometryError(
        f"{name} does not lie on the grid of the image: {_numbers(source)} against {_numbers(target)}; "
        f"ends up to {apart:.2f} mm apart.",
        hint="Load it resampled to the nearest voxel, or open the image it was made for.",
        code="E_GEOMETRY",
    )


def _ends(geometry: Geometry) -> list[float]:
    corners = geometry.corners_lps
    return [*corners.min(axis=0), *corners.max(axis=0)]


def _numbers(geometry: Geometry) -> str:
    size = " × ".join(map(str, geometry.size))
    spacing = " × ".join(f"{value:.4g}" for value in geometry.spacing)
    origin = ", ".join(f"{value:.2f}" for value in geometry.origin)
    return f"{size} voxels of {spacing} mm from ({origin})"
