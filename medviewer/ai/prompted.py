"""What all promptable sessions share: prompts as places on the grid, the object so far, undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import InputError
from medviewer.core.geometry import Vec3, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

Mask = npt.NDArray[np.bool_]
Index = tuple[float, float, float]
#: Ways to find an object without weights.
Method = Literal["growing", "geodesic", "random walker"]

#: A line or an area becomes so many clicks at most.
CLICKS_PER_SHAPE = 8
#: A box drawn in one slice is as deep as it is wide; the object may stand out of a box by this part of it.
BOX_MARGIN = 0.15


@dataclass(frozen=True, slots=True)
class Marks:
    """All prompts so far, as continuous indices (k, j, i).

    Attributes
    ----------
    inside, outside : tuple of (k, j, i)
    box : (lower, upper) corners, or None
        The last positive box.
    """

    inside: tuple[Index, ...] = ()
    outside: tuple[Index, ...] = ()
    box: tuple[Index, Index] | None = None

    @property
    def anchor(self) -> Index | None:
        """Return what the first look centres on: the middle of the box, else the first click inside."""
        if self.box is not None:
            lower, upper = self.box
            return (
                (lower[0] + upper[0]) / 2,
                (lower[1] + upper[1]) / 2,
                (lower[2] + upper[2]) / 2,
            )
        return self.inside[0] if self.inside else None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The object: the box that holds it, and its mask there."""

    region: Region = field(default_factory=lambda: Region((0, 0, 0), (0, 0, 0)))
    mask: Mask = field(default_factory=lambda: np.zeros((0, 0, 0), bool))

    def within(self, region: Region) -> Mask:
        """Return the mask in another box."""
        mask = np.zeros(region.shape, bool)
        both = self.region.clip(region)
        if not both.is_empty:
            there, here = _relative(both, region), _relative(both, self.region)
            mask[there.slices] = self.mask[here.slices]
        return mask


def _relative(region: Region, to: Region) -> Region:
    k, j, i = (a - b for a, b in zip(region.lower, to.lower, strict=True))
    nk, nj, ni = region.shape
    return Region((k, j, i), (k + nk, j + nj, i + ni))


class Segmenter(Protocol):
    """One way to find an object from marks."""

    def find(self, ctx: JobContext, volume: Volume, marks: Marks, before: Found) -> Found:
        """Return the object.

        Parameters
        ----------
        ctx : JobContext
            Checked for cancel.
        volume : Volume
        marks : Marks
            With at least one inside, or a box.
        before : Found
            The answer to the marks before the last ones.
        """

    def forget(self) -> None:
        """Drop what was remembered of earlier answers: the marks have changed otherwise than by one prompt more."""


class PromptedSession:
    """An `InteractiveSession` over a `Segmenter`: keeps the prompts, and every answer for undo."""

    prompts = frozenset({"point", "box", "scribble", "lasso"})

    def __init__(self, volume: Volume, segmenter: Segmenter) -> None:
        self._volume = volume
        self._segmenter = segmenter
        self._answers: list[tuple[Marks, Found]] = []

    def add(self, ctx: JobContext, prompt: Prompt) -> tuple[Region, Mask]:
        """Take a prompt; return the box that may have changed and the object's mask inside it.

        Raises
        ------
        InputError
            ``E_PROMPT``: it lies outside the image, or there is nothing yet that could be taken away.
        """
        marks, before = self._answers[-1] if self._answers else (Marks(), Found())
        marks = with_prompt(marks, prompt, self._volume)
        if marks.anchor is None:
            raise InputError(
                "There is nothing yet to take away from.", hint="Click inside the object first.", code="E_PROMPT"
            )
        found = self._segmenter.find(ctx, self._volume, marks, before)
        self._answers.append((marks, found))
        return _change(before, found)

    def undo(self) -> tuple[Region, Mask] | None:
        """Take the last prompt back; None when there is none."""
        if not self._answers:
            return None
        _, last = self._answers.pop()
        self._segmenter.forget()
        return _change(last, self._answers[-1][1] if self._answers else Found())

    def close(self) -> None:
        """Free what it holds."""
        self._answers.clear()
        self._segmenter.forget()


def click_session(ctx: JobContext, folder: Path, volume: Volume) -> PromptedSession:
    """Return a session with the network of a MedViewer model's folder; raises `TaskError` ``E_MODEL_FILE``."""
    from medviewer.ai.click_segmenter import open_segmenter

    return PromptedSession(volume, open_segmenter(folder, ctx.device))


def classic_session(volume: Volume, method: Method) -> PromptedSession:
    """Return a session that needs no weights."""
    from medviewer.ai.classic_segmenter import ClassicSegmenter

    return PromptedSession(volume, ClassicSegmenter(method))


def _change(before: Found, after: Found) -> tuple[Region, Mask]:
    region = before.region.union(after.region)
    return region, after.within(region)


def with_prompt(marks: Marks, prompt: Prompt, volume: Volume) -> Marks:
    """Return the marks with a prompt more; raises `InputError` ``E_PROMPT`` when it lies outside the image."""
    if prompt.kind == "box" or (prompt.kind == "lasso" and prompt.positive):
        box = _box(prompt, volume)
        if prompt.positive:
            return Marks(marks.inside, marks.outside, box)
        lower, upper = (np.array(corner) for corner in box)
        steps = [[low + (up - low) * t for t in (0.25, 0.75)] for low, up in zip(lower, upper, strict=True)]
        places = [(k, j, i) for k in steps[0] for j in steps[1] for i in steps[2]]
    elif prompt.crop is not None:
        places = _spread(np.argwhere(prompt.crop[1]) + np.array(prompt.crop[0].lower))
    else:
        places = _spread(np.array([index_of(volume, point) for point in prompt.points]).reshape(-1, 3))
    places = [place for place in places if in_image(place, volume)]
    if not places:
        raise InputError("This prompt lies outside the image.", hint="Click inside the image.", code="E_PROMPT")
    if prompt.positive:
        return Marks((*marks.inside, *places), marks.outside, marks.box)
    return Marks(marks.inside, (*marks.outside, *places), marks.box)


def index_of(volume: Volume, point: Vec3) -> Index:
    """Return where a point in LPS mm lies, as a continuous index (k, j, i)."""
    i, j, k = (float(v) for v in volume.geometry.lps_to_index(point))
    return (k, j, i)


def in_image(place: Index, volume: Volume) -> bool:
    """Whether a continuous index lies in the image, the outer halves of its voxels counted."""
    return all(-0.5 <= p <= n - 0.5 for p, n in zip(place, volume.array.shape, strict=True))


def _spread(places: npt.NDArray[np.floating | np.integer]) -> list[Index]:
    """Return up to so many of the places, evenly along their order."""
    if len(places) > CLICKS_PER_SHAPE:
        places = places[np.linspace(0, len(places) - 1, CLICKS_PER_SHAPE).round().astype(int)]
    return [(float(k), float(j), float(i)) for k, j, i in places]


def _box(prompt: Prompt, volume: Volume) -> tuple[Index, Index]:
    """Return the corners of a box or of what holds a lasso, cut to the image; a flat one gets depth."""
    if len(prompt.points) > 2 and not _has_depth(prompt, volume):
        corners = np.array([index_of(volume, point) for point in _with_depth(prompt.points)])
    elif prompt.crop is not None:
        corners = np.array([prompt.crop[0].lower, np.array(prompt.crop[0].upper) - 1], float)
    else:
        corners = np.array([index_of(volume, point) for point in prompt.points]).reshape(-1, 3)
    spacing = np.array(volume.geometry.spacing[::-1])
    if len(corners) < 2:
        raise InputError("A box needs two corners.", hint="Drag from corner to corner.", code="E_PROMPT")
    lower, upper = corners.min(axis=0), corners.max(axis=0)
    extent = (upper - lower) * spacing
    flat = (upper - lower) < 1.0
    if flat.any() and not flat.all():
        half = extent[~flat].mean() / 2 / spacing
        lower, upper = np.where(flat, lower - half, lower), np.where(flat, upper + half, upper)
    last = np.array(volume.array.shape) - 1
    lower, upper = np.clip(lower, 0, last), np.clip(upper, 0, last)
    if ((upper - lower) * spacing).max() <= 0 or not (corners.max(axis=0) >= 0).all():
        raise InputError("This box holds no part of the image.", hint="Drag from corner to corner.", code="E_PROMPT")
    low, up = (tuple(float(v) for v in corner) for corner in (lower, upper))
    return (low[0], low[1], low[2]), (up[0], up[1], up[2])


def _has_depth(prompt: Prompt, volume: Volume) -> bool:
    """Whether corners are those of a body, or lie in a slice of the image: in a view that is turned they do neither."""
    places = np.array([index_of(volume, point) for point in prompt.points])
    corners = np.array(prompt.points)
    flat = np.linalg.svd(corners - corners.mean(axis=0), compute_uv=False)[-1] < 1e-3
    return not flat or bool((np.ptp(places, axis=0) < 1e-3).any())


def _with_depth(points: Sequence[Vec3]) -> list[Vec3]:
    """Return an outline on a plane (LPS mm) before and behind it, as deep as a rectangle of its length is wide."""
    places = np.array(points)
    normal = np.linalg.svd(places - places.mean(axis=0))[2][2]
    half = float(np.linalg.norm(places - np.roll(places, 1, axis=0), axis=1).sum()) / 8
    return [vec3(place + side * half * normal) for place in places for side in (-1, 1)]


def settled(mask: Mask, region: Region, marks: Marks) -> Found:
    """Return the parts of a mask that were clicked, or lie in the box, cut to what holds them.

    Parameters
    ----------
    mask : bool (k, j, i)
        On the grid of `region`.
    """
    from scipy.ndimage import label

    if marks.box is not None and not _clicked_beyond(marks):
        mask = mask & _in_box(marks.box, region)
    parts, count = label(mask, np.ones((3, 3, 3)))
    if count > 1:
        wanted = {int(parts[place]) for point in marks.inside if (place := _place(point, region)) is not None} - {0}
        if not wanted:
            sizes = np.bincount(parts.ravel())
            wanted = {int(sizes[1:].argmax()) + 1}
        mask = np.isin(parts, list(wanted))
    box = Region.of_mask(mask)
    if box is None:
        return Found()
    k, j, i = region.lower
    lower, upper = box.lower, box.upper
    placed = Region((lower[0] + k, lower[1] + j, lower[2] + i), (upper[0] + k, upper[1] + j, upper[2] + i))
    return Found(placed, mask[box.slices].copy())


def _place(point: Index, region: Region) -> tuple[int, int, int] | None:
    k, j, i = (round(p) - low for p, low in zip(point, region.lower, strict=True))
    return (k, j, i) if Region.whole(region.shape).contains((k, j, i)) else None


def _clicked_beyond(marks: Marks) -> bool:
    assert marks.box is not None
    lower, upper = marks.box
    return any(not all(a <= p <= b for a, p, b in zip(lower, point, upper, strict=True)) for point in marks.inside)


def _in_box(box: tuple[Index, Index], region: Region) -> Mask:
    inside = np.ones(region.shape, bool)
    for axis, (low, up) in enumerate(zip(*box, strict=True)):
        margin = BOX_MARGIN * (up - low) + 0.5
        index = np.arange(region.lower[axis], region.upper[axis])
        row = (index >= low - margin) & (index <= up + margin)
        inside &= row.reshape([-1 if n == axis else 1 for n in range(3)])
    return inside
