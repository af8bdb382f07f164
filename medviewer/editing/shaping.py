"""What tools that give the active segment another shape share."""

from __future__ import annotations

from collections.abc import Callable

from medviewer.core.region import Kji
from medviewer.core.segmentation import Mask
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import EditScene


def flat_axis(scene: EditScene) -> int | None:
    """Return the index axis along which slices are no neighbours in space; None in an image with depth."""
    return None if scene.volume.stacking == "place" else 2


def reshaped(scene: EditScene, label: str, reach: Kji, shape: Callable[[Mask], Mask]) -> Change:
    """Return the change of the active segment into what `shape` makes of it.

    Parameters
    ----------
    label : str
        Name of the step.
    reach : (int, int, int)
        Voxels (k, j, i) by which the result, or what it depends on, lies further out than the segment.
    shape : callable
        From the mask (k, j, i) of a box around the segment to another of the same shape.
    """
    box = scene.box()
    if box is None:
        return Change(label)
    region = box.grown(reach).clip(scene.geometry.region)
    return Change(label, (SegmentMask(scene.segment.value, region, shape(scene.mask(region=region))),))
