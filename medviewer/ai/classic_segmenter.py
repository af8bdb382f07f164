"""Click-to-segment without weights: what grows from the clicks in a cube around them until an edge stops it.

References
----------
Bai and Sapiro, A geodesic framework for fast interactive image and video segmentation and matting, ICCV 2007.
Grady, Random walks for image segmentation, PAMI 2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medviewer.ai.prompted import Found, Marks, Method, settled
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

#: Voxels of the cube, step at the first look in mm, and so much coarser each when the object touches a face.
SIZE, START_MM, COARSER, LOOKS = 40, 1.0, 1.8, 4


class Grower(Protocol):
    """Finds the object in a cube: from the image scaled to 0..1, the clicks inside, and those outside."""

    def __call__(self, image: Image, inside: Places, outside: Places) -> Mask:
        """Return the mask."""


class ClassicSegmenter:
    """A `Segmenter` by one of the methods."""

    def __init__(self, method: Method) -> None:
        self._grow = _METHODS[method]

    def forget(self) -> None:
        """Do nothing: every answer is made from the prompts alone."""

    def find(self, ctx: JobContext, volume: Volume, marks: Marks, before: Found) -> Found:
        """Return the object; see `Segmenter`."""
        spacing = np.array(volume.geometry.spacing[::-1])
        places = np.array([*marks.inside, *marks.outside, *(marks.box or ())]).reshape(-1, 3)
        centre = (places.min(axis=0) + places.max(axis=0)) / 2
        reach_mm = float(((places.max(axis=0) - places.min(axis=0)) * spacing).max())
        step_mm = max(START_MM, 0.75 * float(np.prod(spacing) ** (1 / 3)), reach_mm / (0.6 * SIZE))
        found = Found()
        for _ in range(LOOKS):
            ctx.check_cancelled()
            found, touches = self._look(volume, marks, centre, step_mm / spacing)
            if not touches or marks.box is not None:
                break
            step_mm *= COARSER
        return found

    def _look(
        self, volume: Volume, marks: Marks, centre: npt.NDArray[np.float64], step: npt.NDArray[np.float64]
    ) -> tuple[Found, bool]:
        from medviewer.ai.click_input import sample_cube

        image = sample_cube(volume.array, centre.tolist(), step.tolist(), SIZE)[0, 0].numpy()
        low, high = np.percentile(image, (1, 99))
        scaled = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)

        def placed(points: object) -> Places:
            moved = (np.array(points, float).reshape(-1, 3) - centre) / step + (SIZE - 1) / 2
            return np.clip(np.round(moved), 0, SIZE - 1).astype(np.intp)

        inside = placed(marks.inside if marks.inside else [marks.anchor])
        mask = self._grow(scaled, inside, placed(marks.outside))
        touches = any(mask.take(side, axis=axis).sum() > SIZE for axis in range(3) for side in (0, -1))
        return self._on_grid(volume, marks, mask, centre, step), touches

    def _on_grid(
        self, volume: Volume, marks: Marks, mask: Mask, centre: npt.NDArray[np.float64], step: npt.NDArray[np.float64]
    ) -> Found:
        from scipy.ndimage import map_coordinates

        half = (SIZE - 1) / 2
        low = np.floor(centre - half * step).astype(int)
        high = np.ceil(centre + half * step).astype(int) + 1
        region = Region((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
        region = region.clip(Region.whole(volume.array.shape))
        axes = [
            (np.arange(a, b) - c) / s + half
            for a, b, c, s in zip(region.lower, region.upper, centre, step, strict=True)
        ]
        fine = map_coordinates(mask.astype(np.float32), np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
        return settled(fine > 0.5, region, marks)


def grow_by_range(image: Image, inside: Places, outside: Places) -> Mask:
    """Return what is connected to the clicks within the range of values whose border lies on the strongest edge.

    Of what clicks outside are in all the same, what is nearer to them than to those inside is taken away.
    """
    from scipy.ndimage import binary_erosion, binary_opening, distance_transform_edt, gaussian_filter, label

    smooth = gaussian_filter(image, 0.7)
    edges = np.linalg.norm(np.gradient(smooth), axis=0)
    value = float(np.median([smooth[tuple(slice(max(n - 1, 0), n + 2) for n in place)].mean() for place in inside]))
    best, best_score = np.zeros(image.shape, bool), -1.0
    for width in np.geomspace(0.03, 0.6, 9):
        for low, high in ((value - width, value + width), (value - width, 2.0), (-1.0, value + width)):
            inner = binary_opening((smooth >= low) & (smooth <= high))
            inner[tuple(inside.T)] = True
            parts, _ = label(inner)
            mask = np.isin(parts, np.unique(parts[tuple(inside.T)]))
            border = mask & ~binary_erosion(mask)
            faces = sum(int(mask.take(side, axis=axis).sum()) for axis in range(3) for side in (0, -1))
            score = float(edges[border].mean()) * np.exp(-4 * faces / max(int(border.sum()), 1))
            score *= min(1.0, float(mask.sum()) / 30) * 0.7 ** int(mask[tuple(outside.T)].sum())
            if score > best_score:
                best, best_score = mask, score
    if best[tuple(outside.T)].any():
        away = [np.ones(image.shape, bool), np.ones(image.shape, bool)]
        for far, places in zip(away, (inside, outside), strict=True):
            far[tuple(places.T)] = False
        best = best & (distance_transform_edt(away[0]) <= distance_transform_edt(away[1]))
    return best


def grow_by_distance(image: Image, inside: Places, outside: Places) -> Mask:
    """Return what is nearer to the clicks inside than to those outside and to the faces, across what is unlike them."""
    from scipy.ndimage import gaussian_filter
    from skimage.graph import MCP_Geometric

    smooth = gaussian_filter(image, 0.7)
    likely = _likely(smooth, inside, outside)
    cost = 0.01 + np.linalg.norm(np.gradient(likely), axis=0) + 0.3 * (1 - likely)
    here = MCP_Geometric(cost).find_costs(inside)[0]
    cost = 0.01 + np.linalg.norm(np.gradient(likely), axis=0) + 0.3 * likely
    faces = np.argwhere(_faces(image.shape) & (likely < 0.5))
    there = MCP_Geometric(cost).find_costs(np.concatenate([faces, outside]))[0]
    return np.asarray(here < there)


def _likely(smooth: Image, inside: Places, outside: Places) -> Image:
    """Return how much more a value is like those at the clicks inside than like those at the faces and outside."""
    bins = np.linspace(0, 1, 65)
    middles = (bins[1:] + bins[:-1]) / 2
    near = np.concatenate([smooth[tuple(slice(max(n - 1, 0), n + 2) for n in place)].ravel() for place in inside])
    width = max(1.5 * float(near.std()), 0.04)
    own = np.exp(-(((middles[:, None] - near) / width) ** 2) / 2).mean(axis=1) / width
    around = [smooth[_faces(smooth.shape)]]
    around += [smooth[tuple(slice(max(n - 1, 0), n + 2) for n in place)].ravel() for place in outside] * 8
    other = np.exp(-(((middles[:, None] - np.concatenate(around)[::3]) / 0.04) ** 2) / 2).mean(axis=1) / 0.04
    table = own / (own + other + 1e-3)
    return np.asarray(np.interp(smooth, middles, table), np.float32)


def grow_by_walk(image: Image, inside: Places, outside: Places) -> Mask:
    """Return where a random walker, slowed by edges, comes to the clicks inside first."""
    from skimage.segmentation import random_walker

    # The walk solves one equation a voxel: half the steps are an eighth of the time.
    small = image[::2, ::2, ::2]
    seeds = np.zeros(small.shape, np.int8)
    seeds[_faces(small.shape)] = 2
    for places, value in ((outside, 2), (inside, 1)):
        seeds[tuple((places // 2).T)] = value
    if not (seeds == 2).any():
        return np.ones(image.shape, bool)
    walked = random_walker(small, seeds, beta=400, mode="cg_j", tol=1e-2, return_full_prob=True)[0]
    return np.asarray(np.kron(walked > 0.5, np.ones((2, 2, 2), bool)))


def _faces(shape: tuple[int, ...]) -> Mask:
    faces = np.ones(shape, bool)
    faces[1:-1, 1:-1, 1:-1] = False
    return faces


_METHODS: Mapping[Method, Grower] = {
    "growing": grow_by_range,
    "geodesic": grow_by_distance,
    "random walker": grow_by_walk,
}
