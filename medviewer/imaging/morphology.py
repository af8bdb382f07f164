"""Growing and shrinking masks by millimetres: exact Euclidean balls on any grid, also anisotropic and sheared ones.

A row of voxels is kept as the bits of machine words, so that one step moves 64 voxels; what a ball covers is then the
union of one run of voxels for each of its rows. It is exact where distance maps are, and faster up to some 30 voxels
of radius; distance maps of SciPy and SimpleITK know no sheared grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry
from medviewer.core.region import Kji

Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
Wall = Literal["inside", "medial", "outside"]
#: Called now and then; may raise to end the work.
Check = Callable[[], object]

_BITS = 64
#: Distances that differ by less are the same: 3 voxels of 0.1 mm are 0.3 mm.
_ROUNDING = 1.0 + 1e-9


def go_on() -> None:
    """Let work go on."""


def reach(geometry: Geometry, radius_mm: float, *, flat: int | None = None) -> Kji:
    """Return how many voxels (k, j, i) a radius reaches at most.

    Parameters
    ----------
    flat : int, optional
        Index axis (0 = i, 1 = j, 2 = k) along which nothing reaches: slices that are no neighbours in space.
    """
    inverse = np.linalg.norm(geometry.lps_to_index_matrix[:3, :3], axis=1)
    steps = [int(radius_mm * n * _ROUNDING) for n in inverse]
    if flat is not None:
        steps[flat] = 0
    i, j, k = steps
    return (k, j, i)


def ball(geometry: Geometry, radius_mm: float, *, flat: int | None = None) -> Mask:
    """Return the offsets (k, j, i) whose length in mm is at most `radius_mm`; the middle of the array is no offset."""
    k, j, i = (np.arange(-n, n + 1.0) for n in reach(geometry, radius_mm, flat=flat))
    matrix = geometry.index_to_lps_matrix[:3, :3]
    squares = np.zeros((k.size, j.size, i.size))
    for row in matrix:
        squares += (row[0] * i + row[1] * j[:, None] + row[2] * k[:, None, None]) ** 2
    covered: Mask = squares <= (radius_mm * _ROUNDING) ** 2
    return covered


def dilate(mask: Mask, geometry: Geometry, radius_mm: float, *, flat: int | None = None, check: Check = go_on) -> Mask:
    """Return the voxels no further than `radius_mm` from a voxel of the mask.

    Parameters
    ----------
    mask : bool array (k, j, i)
        A box with room for what grows; `geometry` may be that of the whole grid, only its steps count.
    flat : int, optional
        Index axis along which nothing grows.
    check : callable
        Called now and then; may raise to end the work.

    Returns
    -------
    bool array of the same shape
    """
    element = ball(geometry, radius_mm, flat=flat)
    if element.size == 1 or mask.size == 0:
        return mask.copy()
    middle_k, middle_j, middle_i = (n // 2 for n in element.shape)
    packed = _pack(mask)
    grown = packed.copy()
    runs: dict[tuple[int, int], Words] = {}
    for dk, dj in np.argwhere(element.any(axis=2)) - (middle_k, middle_j):
        check()
        covered = np.flatnonzero(element[dk + middle_k, dj + middle_j]) - middle_i
        run = (int(covered[0]), int(covered[-1]))
        if run not in runs:
            runs[run] = _spread(packed, *run)
        to_k, from_k = _overlap(int(dk), mask.shape[0])
        to_j, from_j = _overlap(int(dj), mask.shape[1])
        target = grown[to_k, to_j]
        np.bitwise_or(target, runs[run][from_k, from_j], out=target)
    return _unpack(grown, mask.shape[2])


def erode(mask: Mask, geometry: Geometry, radius_mm: float, *, flat: int | None = None, check: Check = go_on) -> Mask:
    """Return the voxels of the mask further than `radius_mm` from every voxel outside it.

    What lies outside the array is unknown, so a mask that is cut by the edge of the image is not eaten from there.
    """
    return ~dilate(~mask, geometry, radius_mm, flat=flat, check=check)


def opened(mask: Mask, geometry: Geometry, radius_mm: float, *, flat: int | None = None, check: Check = go_on) -> Mask:
    """Return the mask without what a ball of `radius_mm` does not fit into."""
    core = erode(mask, geometry, radius_mm, flat=flat, check=check)
    return dilate(core, geometry, radius_mm, flat=flat, check=check)


def closed(mask: Mask, geometry: Geometry, radius_mm: float, *, flat: int | None = None, check: Check = go_on) -> Mask:
    """Return the mask with the gaps that a ball of `radius_mm` does not fit into; the array needs room for the ball."""
    grown = dilate(mask, geometry, radius_mm, flat=flat, check=check)
    return erode(grown, geometry, radius_mm, flat=flat, check=check)


def shell(
    mask: Mask,
    geometry: Geometry,
    thickness_mm: float,
    wall: Wall,
    *,
    flat: int | None = None,
    check: Check = go_on,
) -> Mask:
    """Return a wall along the surface of the mask: inside it, half on either side, or outside."""
    outward, inward = {"inside": (0.0, 1.0), "medial": (0.5, 0.5), "outside": (1.0, 0.0)}[wall]
    outer = dilate(mask, geometry, outward * thickness_mm, flat=flat, check=check)
    return outer & ~erode(mask, geometry, inward * thickness_mm, flat=flat, check=check)


def _pack(mask: Mask) -> Words:
    """Return rows as little-endian words (k, j, words): bit n of word w is voxel 64·w + n."""
    octets = np.packbits(mask, axis=2, bitorder="little")
    words = np.zeros((*mask.shape[:2], -(-mask.shape[2] // _BITS)), dtype="<u8")
    words.view(np.uint8)[:, :, : octets.shape[2]] = octets
    return words


def _unpack(words: Words, width: int) -> Mask:
    bits = np.unpackbits(words.view(np.uint8), axis=2, count=width, bitorder="little")
    mask: Mask = bits.view(np.bool_)
    return mask


def _spread(words: Words, first: int, last: int) -> Words:
    """Return rows in which every set voxel sets those from `first` to `last` beside it."""
    if first <= 0 <= last:
        # To either side by itself: what leaves a row never has to come back.
        return _drawn(words, last) | _drawn(words, first)
    nearest = min(first, last, key=abs)
    return _drawn(_moved(words, nearest), first + last - 2 * nearest)


def _drawn(words: Words, by: int) -> Words:
    """Return rows in which every set voxel sets those up to `by` beside it."""
    drawn = words.copy()
    length, side = 1, 1 if by >= 0 else -1
    while length <= abs(by):
        step = min(length, abs(by) + 1 - length)
        drawn |= _moved(drawn, side * step)
        length += step
    return drawn


def _moved(words: Words, by: int) -> Words:
    """Return rows moved by `by` voxels; what leaves a row's words is lost."""
    whole, bits = divmod(abs(by), _BITS)
    moved = np.zeros_like(words)
    count = words.shape[2] - whole
    if count <= 0:
        return moved
    low, high = np.uint64(bits), np.uint64(_BITS - bits)
    if by >= 0:
        moved[:, :, whole:] = words[:, :, :count] << low
        if bits and count > 1:
            moved[:, :, whole + 1 :] |= words[:, :, : count - 1] >> high
    else:
        moved[:, :, :count] = words[:, :, whole:] >> low
        if bits and count > 1:
            moved[:, :, : count - 1] |= words[:, :, whole + 1 :] << high
    return moved


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    """Return where rows that move by `by` come to lie, and where they come from."""
    by_in = min(max(by, -size), size)
    return slice(max(0, by_in), size + min(0, by_in)), slice(max(0, -by_in), size + min(0, -by_in))
