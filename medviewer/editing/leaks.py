"""Changes that look like a leak: far larger than the segment, or beyond a locked one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray, Segmentation
from medviewer.editing.stroke import Stroke

#: A smaller change is seen at a glance, and undone.
SMALLEST_MM3 = 1000.0
#: Larger boxes are not searched for what lies beyond a locked segment.
_MOST_VOXELS = 64 << 20


def doubt(
    segmentation: Segmentation,
    strokes: Sequence[Stroke],
    ask_above: float,
    *,
    computed: bool,
    beyond: Callable[[int, int], int] = lambda value, most: 0,
) -> str:
    """Return what to ask before a change is kept; empty when there is no doubt.

    Parameters
    ----------
    ask_above : float
        How many times as large as before a segment may become unasked; 0 asks nothing.
    computed : bool
        Whether a tool found the voxels; a hand that draws along a locked segment sees it.
    beyond : callable
        Counts voxels of a label, up to so many, that are not in the label maps of the strokes.
    """
    if not ask_above:
        return ""
    voxel_mm3 = segmentation.geometry.voxel_volume_mm3
    for stroke in strokes:
        ml = stroke.gained * voxel_mm3 / 1000
        if stroke.gained * voxel_mm3 < SMALLEST_MM3:
            continue
        most = stroke.gained + math.ceil(stroke.gained / ask_above)
        size = _count(stroke.group.labels, stroke.segment.value, most, stroke.changed)
        if size < most:
            size += beyond(stroke.segment.value, most - size)
        before = size - stroke.gained
        name = stroke.segment.name
        if 0 < before * ask_above < stroke.gained:
            return f"This adds {ml:.0f} ml to “{name}”, which has {before * voxel_mm3 / 1000:.2g} ml. Go on?"
        if computed and stroke.met_locked and _passes(stroke):
            locked = " and ".join(f"“{segmentation.segment(value).name}”" for value in sorted(stroke.met_locked)[:3])
            return f"This adds {ml:.0f} ml to “{name}”, in part beyond {locked}, which is locked. Go on?"
    return ""


def _count(labels: LabelArray, value: int, most: int, near: Region | None) -> int:
    """Return how many voxels have a value, slice by slice outward from a box, no further than to `most`."""
    middle = (near.lower[0] + near.upper[0]) // 2 if near is not None else 0
    found = 0
    for k in sorted(range(labels.shape[0]), key=lambda n: abs(n - middle)):
        found += int(np.count_nonzero(labels[k] == value))
        if found >= most:
            break
    return found


def _passes(stroke: Stroke) -> bool:
    """Whether a part of what was gained hangs on nothing that was there before."""
    from scipy import ndimage

    box = stroke.changed
    if box is None:
        return False
    box = box.grown(1).clip(Region.whole(stroke.group.labels.shape))
    if box.size > _MOST_VOXELS:
        return True
    now = stroke.group.labels[box.slices] == stroke.segment.value
    gained = np.zeros_like(now)
    for patch in stroke.patches:
        if patch.after == stroke.segment.value:
            inner = tuple(
                slice(low - start, up - start)
                for low, up, start in zip(patch.region.lower, patch.region.upper, box.lower, strict=True)
            )
            gained[inner] |= patch.mask
    parts, count = ndimage.label(now, np.ones((3, 3, 3)))
    return len(np.unique(parts[now & ~gained])) < count
