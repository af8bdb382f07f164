"""What nnInteractive's network sees: a window of the image, the object so far, and the prompts drawn into channels.

A prompt is kept as the few voxels that it marks; channels exist only for the window that is looked at. The newest
prompt counts 1, and each before it `decay` times the one after it. A window may be wider than the network's by a
factor: the image is then interpolated, prompts and the object are averaged, and thin prompts are widened before, so
that they stay.

References
----------
Isensee, Rokuss, Krämer et al., nnInteractive: Redefining 3D Promptable Segmentation, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medviewer.ai.formats.nninteractive import usual_settings
from medviewer.ai.prompted import in_image, index_of
from medviewer.core.errors import InputError
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.imaging.polygon import fill_even_odd

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
#: How many voxels of a line lie on one voxel's length.
_PER_VOXEL = 4


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """Voxels that a prompt marks.

    Attributes
    ----------
    channel : int
        Among the channels after the image.
    region : Region
        Inside the image.
    values : float32, shape of the region
        0 to 1.
    thin : bool
        Whether it is widened before it is averaged.
    """

    channel: int
    region: Region
    values: FloatArray
    thin: bool


@dataclass(frozen=True, slots=True)
class Window:
    """A box of the image's grid, which may stand out of it.

    Attributes
    ----------
    lower, size : (k, j, i)
    patch : (k, j, i)
        Voxels that the network sees of it.
    """

    lower: tuple[int, ...]
    size: tuple[int, ...]
    patch: tuple[int, ...]

    @classmethod
    def around(cls, centre: Sequence[int], patch: Sequence[int], zoom: float) -> Window:
        """Return the window around a voxel, `zoom` times as wide as the patch."""
        size = tuple(round(n * zoom) for n in patch)
        return cls(tuple(c - n // 2 for c, n in zip(centre, size, strict=True)), size, tuple(patch))

    @property
    def region(self) -> Region:
        """The box."""
        k, j, i = self.lower
        nk, nj, ni = self.size
        return Region((k, j, i), (k + nk, j + nj, i + ni))

    def within(self, region: Region) -> tuple[slice, ...]:
        """Return where a region lies in the window."""
        return tuple(
            slice(low - own, up - own) for low, up, own in zip(region.lower, region.upper, self.lower, strict=True)
        )

    def seen(
        self, values: npt.NDArray[np.generic], region: Region, kind: Literal["linear", "area", "nearest"]
    ) -> FloatArray:
        """Return values of a region, nothing elsewhere, as the network sees them."""
        if self.size == self.patch:
            given = np.zeros(self.patch, np.float32)
            given[self.within(region)] = values
            return given
        out = np.ascontiguousarray(values, np.float32)
        for axis in range(3):
            low, up = region.lower[axis] - self.lower[axis], region.upper[axis] - self.lower[axis]
            weights = axis_weights(kind, self.size[axis], self.patch[axis])[:, low:up]
            out = np.moveaxis(np.tensordot(weights, out, (1, axis)), 0, axis)
        return np.ascontiguousarray(out)


@lru_cache(maxsize=24)
def axis_weights(kind: str, size: int, patch: int) -> FloatArray:
    """Return how an axis of a window becomes one of the network: shape (patch, size), rows add up to 1."""
    weights = np.zeros((patch, size), np.float32)
    rows = np.arange(patch)
    if kind == "area":
        for row in rows:
            first, last = row * size // patch, -(-(row + 1) * size // patch)
            weights[row, first:last] = 1 / (last - first)
        return weights
    if kind == "nearest":
        weights[rows, rows * size // patch] = 1
        return weights
    place = np.maximum((rows + 0.5) * size / patch - 0.5, 0)
    below = np.floor(place).astype(int)
    weights[rows, below] = 1 - (place - below)
    weights[rows, np.minimum(below + 1, size - 1)] += place - below
    return weights


def channels_of(
    prompts: Sequence[Sequence[Mark]], found: Mask, window: Window, settings: dict[str, Any], zoom: float
) -> FloatArray:
    """Return what the network sees of the object so far and of all prompts, oldest first: (channels, k, j, i)."""
    channels = np.zeros((settings["count"], *window.patch), np.float32)
    inside = window.region.clip(Region.whole(found.shape))
    if not inside.is_empty:
        channels[settings["object"]] = window.seen(found[inside.slices], inside, "area")
    drawn: dict[int, list[tuple[Mark, float]]] = {}
    for age, marks in enumerate(reversed(prompts)):
        for mark in marks:
            drawn.setdefault(mark.channel, []).append((mark, settings["decay"] ** age))
    for channel, marks_of_it in drawn.items():
        part = _drawn_together(marks_of_it, inside, window, widen=_widening(zoom))
        if part is not None:
            channels[channel] = window.seen(part[1], part[0], "area")
    return channels


def _widening(zoom: float) -> int:
    """Return how many voxels wide a voxel of a thin prompt becomes: odd, 1 at the network's own scale."""
    return 2 * int((2 * zoom - 1) // 2) + 1


def _drawn_together(
    marks: Sequence[tuple[Mark, float]], inside: Region, window: Window, *, widen: int
) -> tuple[Region, FloatArray] | None:
    """Return the marks of a channel in the box that holds them, the strongest where they overlap."""
    from scipy.ndimage import maximum_filter

    boxes = [mark.region.clip(inside) for mark, _ in marks]
    hull = Region((0, 0, 0), (0, 0, 0))
    for box in boxes:
        hull = hull.union(box)
    if hull.is_empty:
        return None
    thin = marks[0][0].thin and widen > 1
    # Beyond the image lies nothing, but what is widened reaches there.
    hull = hull.grown(widen // 2).clip(window.region) if thin else hull
    values = np.zeros(hull.shape, np.float32)
    for (mark, strength), box in zip(marks, boxes, strict=True):
        if not box.is_empty:
            there, here = _placed(box, hull), _placed(box, mark.region)
            values[there] = np.maximum(values[there], mark.values[here] * strength)
    return hull, maximum_filter(values, widen, mode="nearest") if thin else values


def _placed(box: Region, outer: Region) -> tuple[slice, ...]:
    return tuple(slice(a - c, b - c) for a, b, c in zip(box.lower, box.upper, outer.lower, strict=True))


def marks_of(prompt: Prompt, volume: Volume, settings: dict[str, Any]) -> tuple[Mark, ...]:
    """Return what a prompt marks.

    Raises
    ------
    InputError
        ``E_PROMPT``: it lies outside the image, or is of a kind that the model was not made for.
    """
    kind = {"point": "points", "box": "bbox3d"}.get(prompt.kind, prompt.kind)
    places = np.array([index_of(volume, point) for point in prompt.points]).reshape(-1, 3)
    if prompt.kind == "point":
        places = places[[in_image(tuple(place), volume) for place in places]]
        pairs = [_ball(place, settings["radius"]) for place in np.round(places).astype(int)]
    elif prompt.kind == "box":
        kind, pairs = _box(prompt, places, volume, settings)
    elif prompt.crop is not None:
        pairs = [(prompt.crop[0], prompt.crop[1].astype(np.float32))]
    elif prompt.kind == "scribble":
        pairs = [_line(places, settings["thickness"])]
    else:
        pairs = [_area(places)]
    if kind not in settings["supported"]:
        raise InputError(
            f"This model takes no prompt of the kind {prompt.kind}.", hint="Click instead.", code="E_PROMPT"
        )
    channel = settings["channels"][kind][0 if prompt.positive else 1]
    marks = [_cut(channel, region, values, volume, kind in ("points", "scribble")) for region, values in pairs]
    marks = [mark for mark in marks if mark.values.any()]
    if not marks:
        raise InputError("This prompt lies outside the image.", hint="Click inside the image.", code="E_PROMPT")
    return tuple(marks)


def prompt_marks(prompt: Prompt, volume: Volume) -> list[tuple[Region, FloatArray]]:
    """Return what a prompt marks for the first published model: boxes of the image, and 0 to 1 in each.

    Raises
    ------
    InputError
        ``E_PROMPT``, as `marks_of`.
    """
    return [(mark.region, mark.values) for mark in marks_of(prompt, volume, usual_settings())]


def _cut(channel: int, region: Region, values: FloatArray, volume: Volume, thin: bool) -> Mark:
    inside = region.clip(Region.whole(volume.array.shape))
    return Mark(channel, inside, values[_placed(inside, region)].astype(np.float32), thin)


def _at(lower: npt.NDArray[np.integer], shape: Sequence[int] | npt.NDArray[np.integer]) -> Region:
    k, j, i = (int(n) for n in lower)
    nk, nj, ni = (int(n) for n in shape)
    return Region((k, j, i), (k + nk, j + nj, i + ni))


def _ball(place: npt.NDArray[np.integer], radius: int) -> tuple[Region, FloatArray]:
    """Return a point: a ball that is 1 in the middle and fades to its surface."""
    from scipy.ndimage import distance_transform_edt

    squares = np.add.reduce(np.meshgrid(*[np.arange(-radius, radius + 1) ** 2] * 3, indexing="ij"))
    depth = distance_transform_edt(squares <= radius**2)
    return _at(place - radius, depth.shape), (depth / depth.max()).astype(np.float32)


def _box(
    prompt: Prompt, places: npt.NDArray[np.floating], volume: Volume, settings: dict[str, Any]
) -> tuple[str, list[tuple[Region, FloatArray]]]:
    """Return a box as the voxels that it holds; of one with depth, where the model takes none, its middle slice."""
    if len(places) < 2:
        raise InputError("A box needs two corners.", hint="Drag from corner to corner.", code="E_PROMPT")
    last = np.array(volume.array.shape) - 1
    lower, upper = places.min(axis=0), places.max(axis=0)
    if (upper < -0.5).any() or (lower > last + 0.5).any():
        raise InputError("This box holds no part of the image.", hint="Drag from corner to corner.", code="E_PROMPT")
    low, up = (np.clip(np.round(corner), 0, last).astype(int) for corner in (lower, upper))
    flat = bool((low == up).any())
    if not flat and "bbox3d" not in settings["supported"]:
        axis = int(np.argmax(volume.geometry.spacing[::-1]))
        low[axis] = up[axis] = round((int(low[axis]) + int(up[axis])) / 2)
        flat = True
    kind = "bbox2d" if flat and "bbox2d" in settings["supported"] else "bbox3d"
    return kind, [(_at(low, up - low + 1), np.ones(tuple(up - low + 1), np.float32))]


def _line(places: npt.NDArray[np.floating], thickness: Sequence[int]) -> tuple[Region, FloatArray]:
    """Return a line through points, as thick as the model was made for, but only in the slice it was drawn in."""
    from scipy.ndimage import binary_dilation

    steps = [places[:1]]
    for start, end in pairwise(places):
        count = max(1, int(np.ceil(np.abs(end - start).max() * _PER_VOXEL)))
        steps.append(start + (end - start) * np.linspace(0, 1, count + 1)[1:, None])
    voxels = np.round(np.concatenate(steps)).astype(int)
    low, up = voxels.min(axis=0), voxels.max(axis=0)
    wide = [1 if a == b and len(places) > 1 else n for a, b, n in zip(low, up, thickness, strict=True)]
    low, up = low - wide, up + wide
    drawn = np.zeros(tuple(up - low + 1), bool)
    drawn[tuple((voxels - low).T)] = True
    drawn = binary_dilation(drawn, np.ones(wide))
    return _at(low, drawn.shape), drawn.astype(np.float32)


def _area(places: npt.NDArray[np.floating]) -> tuple[Region, FloatArray]:
    """Return what a closed line in one slice encloses."""
    flat = np.flatnonzero(np.ptp(np.round(places), axis=0) == 0) if len(places) else np.array([], int)
    if len(flat) == 0 or len(places) < 3:
        raise InputError(
            "A lasso needs three points or more, all in one slice.", hint="Draw it in one slice.", code="E_PROMPT"
        )
    axis = int(flat[0])
    low, up = np.floor(places.min(axis=0)).astype(int), np.ceil(places.max(axis=0)).astype(int)
    low[axis] = up[axis] = round(float(places[0, axis]))
    first, second = (n for n in range(3) if n != axis)
    contour = (places - low)[:, [second, first]]
    rows, columns = (int(up[n] - low[n]) + 1 for n in (first, second))
    filled = fill_even_odd([contour], (rows, columns))
    return _at(low, up - low + 1), np.expand_dims(filled, axis).astype(np.float32)
