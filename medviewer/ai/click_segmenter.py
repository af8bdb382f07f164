"""The learned click-to-segment: a small network in a cube around the object, as coarse as the object is large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

from medviewer.ai.card import ModelCard, read_card
from medviewer.ai.checkpoint import load_network
from medviewer.ai.click_input import CLICK_SIGMA, SIZE, click_map, encode, sample_cube
from medviewer.ai.prompted import Found, Index, Marks, settled
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from torch import nn

Vector = npt.NDArray[np.float64]

#: Index of the middle of a cube.
HALF = (SIZE - 1) / 2

#: A first click says nothing of the object's size: so many cubes, each so much coarser than the last one, are looked at
#: together, from the finest step in mm on.
SCANS, SCAN_RATIO, FINEST_MM = 9, 1.5, 0.35
#: The part of a cube that an object is to fill.
FILL = 0.65
#: What is seen in one cube is the mean over these mirror images.
MIRRORS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (4,))
#: So many looks at most after the scan, and so much coarser each when the object goes on beyond the cube.
LOOKS, COARSER = 3, 1.3
#: An object touches a face of the cube when so many of the face's voxels are its own.
TOUCHING = 6
#: An answer to a further click changes so many times the click's distance from the border around it, and so many voxels
#: of the cube more.
REACH, REACH_VOXELS = 3.0, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """Where a look is, and what came out.

    Attributes
    ----------
    centre : (k, j, i)
        Index of the volume at its middle.
    step : (k, j, i)
        In voxels of the volume.
    probability : tensor (1, 1, size, size, size)
        Of the last look, or of another cube's; all 0 when there was none.
    """

    centre: Vector
    step: Vector
    probability: torch.Tensor

    @classmethod
    def new(cls, centre: Vector, step: Vector) -> Cube:
        """Return a cube that has not been looked at."""
        return cls(centre, step, torch.zeros(1, 1, SIZE, SIZE, SIZE))

    def points(self, places: Sequence[Index]) -> torch.Tensor:
        """Return indices of the volume as indices of the cube, shape (n, 3)."""
        moved = (np.array(places, float).reshape(-1, 3) - self.centre) / self.step + HALF
        return torch.from_numpy(moved.astype(np.float32))

    def box_of(self, mask: Region) -> tuple[Vector, Vector]:
        """Return the corners of a box of the cube in indices of the volume."""
        corners = np.array(mask.lower, float), np.array(mask.upper, float) - 1
        low, high = (self.centre + (corner - HALF) * self.step for corner in corners)
        return low, high

    def at(self, axes: Sequence[npt.NDArray[np.floating | np.integer]]) -> torch.Tensor:
        """Return the probability at indices of the volume along each axis; 0 outside of the cube."""
        rows = [
            torch.from_numpy(((axis - c) / s / HALF).astype(np.float32))
            for axis, c, s in zip(axes, self.centre, self.step, strict=True)
        ]
        grid = torch.stack(torch.meshgrid(*rows, indexing="ij"), dim=-1).flip(-1)
        return grid_sample(self.probability, grid[None], align_corners=True)

    def moved(self, centre: Vector, step: Vector) -> Cube:
        """Return another cube that knows what this one found."""
        offsets = np.arange(SIZE) - HALF
        return Cube(centre, step, self.at([c + offsets * s for c, s in zip(centre, step, strict=True)]))


class ClickSegmenter:
    """A `Segmenter` with the network of a MedViewer model."""

    def __init__(self, network: nn.Module, card: ModelCard, device: str = "cpu") -> None:
        self._network = network.to(device).eval()
        self._device = device
        self._threshold = float(card.settings.get("threshold", 0.5))
        self._last: Cube | None = None

    def forget(self) -> None:
        """Drop the cube of the last answer."""
        self._last = None

    def find(self, ctx: JobContext, volume: Volume, marks: Marks, before: Found) -> Found:
        """Return the object; see `Segmenter`."""
        spacing = np.array(volume.geometry.spacing[::-1])
        if before.mask.any():
            low, high = np.array(before.region.lower, float), np.array(before.region.upper, float) - 1
            last = self._last or _painted(before, spacing)
            cube = self._around(low, high, marks, spacing, last)
        elif marks.box is not None:
            cube = self._around(np.array(marks.box[0]), np.array(marks.box[1]), marks, spacing, None)
        else:
            ctx.check_cancelled()
            cube = self._scan(volume, marks, spacing)
        known, unmet = cube, _unmet(marks, before, spacing)
        for _ in range(LOOKS):
            ctx.check_cancelled()
            cube = _held(_near(known, self._look(volume, marks, [cube])[0], unmet, spacing), marks)
            if not self._goes_on(volume, cube) or marks.box is not None:
                break
            following = self._following(cube, volume, marks, spacing)
            if following is None:
                break
            cube = following
        self._last = cube
        return self._on_grid(volume, marks, cube)

    def _scan(self, volume: Volume, marks: Marks, spacing: Vector) -> Cube:
        """Return the cube, out of ever coarser ones around the click, whose object its neighbours agree with most."""
        centre = np.array(marks.anchor, float)
        extent_mm = float((np.array(volume.array.shape) * spacing).max())
        first = max(FINEST_MM, 0.5 * float(spacing.min()))
        steps = [first * SCAN_RATIO**n for n in range(SCANS)]
        steps = [step for n, step in enumerate(steps) if n < 3 or step * SIZE < 1.5 * extent_mm]
        cubes = [Cube.new(centre, step / spacing) for step in steps]
        clicked = float(sample_cube(volume.array, centre.tolist(), cubes[0].step.tolist(), 4).mean())
        cubes = self._look(volume, marks, cubes)
        between = [self._agreement(a, b) for a, b in pairwise(cubes)]
        scores = [
            float(np.sqrt(np.mean(between[max(n - 1, 0) : n + 1]))) * self._trust(volume, cube, clicked)
            for n, cube in enumerate(cubes)
        ]
        best = cubes[int(np.argmax(scores))]
        return Cube.new(best.centre, best.step)

    def _agreement(self, fine: Cube, coarse: Cube) -> float:
        """Return the overlap over the union of what two cubes found, where the finer one looked."""
        other = coarse.moved(fine.centre, fine.step).probability
        union = float(torch.maximum(fine.probability, other).sum())
        return float(torch.minimum(fine.probability, other).sum()) / max(union, 1e-6)

    def _trust(self, volume: Volume, cube: Cube, clicked: float) -> float:
        """Return how well an object fits into a cube, 0..1: sure, not too small, not most of it or beyond a face, and
        as bright as what was clicked.
        """
        p = cube.probability
        inside = p >= self._threshold
        if not bool(inside.any()):
            return 0.0
        sure = float(p[inside].mean()) - float(p[(p > 0.1) & ~inside].sum() / inside.sum())
        small = min(1.0, float(inside.sum()) / 100)
        room = (1 - float(inside.float().mean())) ** 4
        values = sample_cube(volume.array, cube.centre.tolist(), cube.step.tolist())[inside]
        median = values.median()
        spread = 1.48 * float((values - median).abs().median()) + 1e-6
        alike = float(np.exp(-max(0.0, abs(clicked - float(median)) / spread - 1)))
        return max(sure, 0.01) * small * room * alike * (0.3 if self._goes_on(volume, cube) else 1.0)

    def _around(self, low: Vector, high: Vector, marks: Marks, spacing: Vector, last: Cube | None) -> Cube:
        """Return a cube of which the box between two corners, and the clicks, fill the usual part."""
        for point in (*marks.inside, *marks.outside):
            low, high = np.minimum(low, point), np.maximum(high, point)
        extent_mm = float(((high - low + 1) * spacing).max())
        step = max(extent_mm / (FILL * SIZE), FINEST_MM * 0.7, 0.35 * float(spacing.min())) / spacing
        return Cube.new((low + high) / 2, step) if last is None else last.moved((low + high) / 2, step)

    def _following(self, cube: Cube, volume: Volume, marks: Marks, spacing: Vector) -> Cube | None:
        """Return the cube for what was found in another: around it, or a coarser one when it goes on beyond it."""
        box = Region.of_mask((cube.probability[0, 0] >= self._threshold).numpy())
        if box is None:
            return None
        low, high = cube.box_of(box)
        if self._goes_on(volume, cube):
            return cube.moved((low + high) / 2, np.maximum(cube.step * COARSER, (high - low) / (FILL * SIZE)))
        return self._around(low, high, marks, spacing, cube)

    def _look(self, volume: Volume, marks: Marks, cubes: Sequence[Cube]) -> list[Cube]:
        """Ask the network for the object in each cube."""
        given = []
        for cube in cubes:
            image = sample_cube(volume.array, cube.centre.tolist(), cube.step.tolist())
            inside, outside = cube.points(marks.inside), cube.points(marks.outside)
            is_inside = torch.zeros(1, len(inside) + len(outside))
            is_inside[:, : len(inside)] = 1
            box = torch.zeros(1, 6)
            if marks.box is not None:
                box[0] = cube.points(marks.box).ravel()
            points = torch.cat([inside, outside])[None]
            given.append(encode(image, points, is_inside, 1 - is_inside, box, cube.probability))
        # One cube is looked at in mirrors as well; in a scan the cubes stand in for each other.
        mirrors = MIRRORS if len(cubes) == 1 else MIRRORS[:1]
        seen = torch.cat(given).to(self._device)
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=self._device != "cpu"):
            logits = self._network(torch.cat([seen.flip(axes) for axes in mirrors]))
        answers = torch.sigmoid(logits.float()).cpu().chunk(len(mirrors))
        probabilities = torch.stack([one.flip(axes) for one, axes in zip(answers, mirrors, strict=True)]).mean(0)
        return [Cube(cube.centre, cube.step, p) for cube, p in zip(cubes, torch.split(probabilities, 1), strict=True)]

    def _goes_on(self, volume: Volume, cube: Cube) -> bool:
        """Return whether the object touches a face of the cube beyond which the image goes on."""
        mask = (cube.probability[0, 0] >= self._threshold).numpy()
        for axis in range(3):
            faces = np.moveaxis(mask, axis, 0)
            first, last = (cube.centre[axis] + side * HALF * cube.step[axis] for side in (-1, 1))
            if faces[0].sum() >= TOUCHING and first > 0:
                return True
            if faces[-1].sum() >= TOUCHING and last < volume.array.shape[axis] - 1:
                return True
        return False

    def _on_grid(self, volume: Volume, marks: Marks, cube: Cube) -> Found:
        """Return the object on the grid of the volume."""
        low = np.floor(cube.centre - HALF * cube.step).astype(int)
        high = np.ceil(cube.centre + HALF * cube.step).astype(int) + 1
        region = Region((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
        region = region.clip(Region.whole(volume.array.shape))
        axes = [np.arange(a, b) for a, b in zip(region.lower, region.upper, strict=True)]
        mask = cube.at(axes)[0, 0].numpy() >= self._threshold
        for points, inside in ((marks.inside, True), (marks.outside, False)):
            for point in points:
                k, j, i = (round(p) - low for p, low in zip(point, region.lower, strict=True))
                if Region.whole(mask.shape).contains((k, j, i)):
                    mask[k, j, i] = inside
        return settled(mask, region, marks)


def _unmet(marks: Marks, before: Found, spacing: Vector) -> list[tuple[Index, float, bool]]:
    """Return the clicks that the answer before them got wrong: where, how far its border is in mm, whether inside."""
    if not before.mask.any():
        return []
    from scipy.ndimage import distance_transform_edt

    padded = np.pad(before.mask, 1)
    found = []
    for points, inside in ((marks.inside, True), (marks.outside, False)):
        wrong = []
        for point in points:
            at = tuple(round(p) - low + 1 for p, low in zip(point, before.region.lower, strict=True))
            known = all(0 <= a < n for a, n in zip(at, padded.shape, strict=True))
            if (known and bool(padded[at])) != inside:
                wrong.append((point, at))
        if not wrong:
            continue
        if inside:
            border = np.argwhere(padded)[:: max(1, int(padded.sum()) // 4000)]
            found += [
                (point, float(np.sqrt((((border - at) * spacing) ** 2).sum(1).min())), True) for point, at in wrong
            ]
        else:
            depth = distance_transform_edt(padded, sampling=spacing)
            found += [(point, float(depth[at]), False) for point, at in wrong]
    return found


def _near(known: Cube, after: Cube, unmet: Sequence[tuple[Index, float, bool]], spacing: Vector) -> Cube:
    """Return an answer that differs from the one before only around the clicks that ask for it, and as they ask.

    A click goes to the middle of what is wrong, so it says how large that is: a few times as far as it reaches from the
    border.
    """
    if not unmet:
        return after
    before = known.moved(after.centre, after.step)
    axis = torch.arange(SIZE, dtype=torch.float32)
    add, take = torch.zeros(2, 1, 1, SIZE, SIZE, SIZE)
    for point, depth, inside in unmet:
        place = before.points([point])[0]
        rows = [(axis - p) * float(step * mm) for p, step, mm in zip(place, before.step, spacing, strict=True)]
        away = (rows[0][:, None, None] ** 2 + rows[1][:, None] ** 2 + rows[2] ** 2).sqrt()
        reach = REACH * depth + REACH_VOXELS * float((known.step * spacing).max())
        weight = (3 - 2 * away / reach).clamp(0, 1)
        into = add if inside else take
        torch.maximum(into, weight[None, None], out=into)
    p, q = before.probability, after.probability
    changed = p + add * (q - p).clamp(min=0) + take * (q - p).clamp(max=0)
    return Cube(after.centre, after.step, changed)


def _held(cube: Cube, marks: Marks) -> Cube:
    """Return an answer that agrees with all clicks."""
    clicks = cube.points((*marks.inside, *marks.outside))[None]
    if not clicks.shape[1]:
        return cube
    inside = torch.zeros(1, clicks.shape[1])
    inside[:, : len(marks.inside)] = 1
    told = click_map(clicks, inside, CLICK_SIGMA) - click_map(clicks, 1 - inside, CLICK_SIGMA)
    p = torch.where(told > 0, torch.maximum(cube.probability, told), torch.minimum(cube.probability, 1 + told))
    return Cube(cube.centre, cube.step, p)


def _painted(found: Found, spacing: Vector) -> Cube:
    """Return a cube that holds a mask instead of probabilities: after undo there is no better memory."""
    low, high = np.array(found.region.lower, float), np.array(found.region.upper, float) - 1
    step = float(((high - low + 1) * spacing).max()) / (FILL * SIZE) / spacing
    padded = np.pad(found.mask.astype(np.float32), 1)
    centre = (low + high) / 2
    return Cube(centre, step, sample_cube(padded, (centre - low + 1).tolist(), step.tolist()))


def open_segmenter(folder: Path, device: str) -> ClickSegmenter:
    """Return the segmenter of a MedViewer model; raises `TaskError` ``E_MODEL_FILE``."""
    card = read_card(folder)
    return ClickSegmenter(load_network(folder, card), card, device)
