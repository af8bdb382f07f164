"""What tools that give the active segment another shape share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medviewer.core.geometry import vec3
from medviewer.core.region import Kji
from medviewer.core.segmentation import Mask
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import EditScene
from medviewer.imaging.planes import Slab


def flat_axis(scene: EditScene) -> int | None:
    """Return the index axis along which slices are no neighbours in space; None in an image with depth."""
    return None if scene.volume.stacking == "place" else 2


def shown_slab(scene: EditScene) -> Slab | None:
    """Return the slice that is looked at where the view is turned against the image, else None."""
    if scene.tilted is None:
        return None
    index = scene.tilted.lps_to_index(scene.crosshair_lps)
    index[scene.axis] = np.floor(index[scene.axis] + 0.5)
    return Slab(scene.geometry, scene.tilted, scene.axis, vec3(scene.tilted.index_to_lps(index)))


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
