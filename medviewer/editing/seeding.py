"""What tools share in which all visible segments are seeds that compete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medviewer.core.geometry import Vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import MAX_VALUE, LabelArray
from medviewer.core.volume import VoxelArray
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import EditScene

TOO_FEW = "Draw in two visible segments at least: in what is wanted, and in what is not."


@dataclass(frozen=True, slots=True, eq=False)
class Seeds:
    """What is drawn in the visible segments of the active group, in a box around it.

    Attributes
    ----------
    region : Region
    labels : uint16 (k, j, i) of the region
        Values of visible segments; 0 elsewhere.
    closed : bool (k, j, i) of the region
        Voxels of segments that are not visible: nothing grows over them.
    """

    region: Region
    labels: LabelArray
    closed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def seeds_of(scene: EditScene, share: float = 0.1) -> Seeds | None:
    """Return the seeds in their extent, grown by a share of its length; None where fewer than two segments have any."""
    from medviewer.imaging.seeds import extent

    competes = np.zeros(MAX_VALUE + 1, np.bool_)
    competes[[segment.value for segment in scene.visible]] = True
    box = _box(scene.labels, competes)
    if box is None:
        return None
    region = extent(box, scene.geometry.region, share)
    labels = scene.labels[region.slices].copy()
    drawn = competes[labels]
    closed = (labels > 0) & ~drawn
    labels[closed] = 0
    values = labels[drawn]
    return Seeds(region, labels, closed) if values.min() != values.max() else None


def _box(labels: LabelArray, competes: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Region | None:
    """Return the box of all labels that compete; slices without any label cost one look."""
    box: Region | None = None
    for k, plane in enumerate(labels):
        if not plane.any():
            continue
        inside = Region.of_mask(competes[plane][None])
        if inside is not None:
            here = Region((k, *inside.lower[1:]), (k + 1, *inside.upper[1:]))
            box = here if box is None else box.union(here)
    return box


def grown_from(
    scene: EditScene, label: str, share: float, solve: Callable[[VoxelArray, LabelArray, Vec3], LabelArray]
) -> Change:
    """Return what the visible segments grow into.

    Parameters
    ----------
    share : float
        How far beyond what is drawn they may grow, of its length.
    solve : callable
        From image and seeds (k, j, i) of a box, and its spacing (k, j, i) in mm, to the label of every voxel.
    """
    seeds = seeds_of(scene, share)
    if seeds is None:
        return Change(label, note=TOO_FEW)
    k, j, i = scene.geometry.spacing[::-1]
    return grown(scene, label, seeds, solve(scene.volume.array[seeds.region.slices], seeds.labels, (k, j, i)))


def grown(scene: EditScene, label: str, seeds: Seeds, found: LabelArray) -> Change:
    """Return the change of every seed's segment into what it won; what is locked competes and stays as it is."""
    from scipy.ndimage import find_objects

    found = np.where(seeds.closed, 0, found)
    lower = seeds.region.lower
    masks = []
    boxes = find_objects(found)
    for value in np.unique(seeds.labels[seeds.labels > 0]).tolist():
        if scene.segmentation.segment(value).locked:
            continue
        slices = boxes[value - 1]
        k, j, i = ((n + s.start, n + s.stop) for n, s in zip(lower, slices, strict=True))
        region = Region((k[0], j[0], i[0]), (k[1], j[1], i[1]))
        masks.append(SegmentMask(value, region, found[slices] == value))
    return Change(label, tuple(masks), from_seeds=True)
