"""Rigid and affine alignment of two volumes, from coarse to fine, by gradient on any device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Literal

import numpy as np

from medviewer.core.errors import InputError, TaskError
from medviewer.core.geometry import Points
from medviewer.core.transform import AffineTransform
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, SubContext
from medviewer.registration.pyramid import Level, level_of, tensor_of
from medviewer.registration.sampling import center_of_mass, places_of, sample
from medviewer.registration.similarity import bin_weights, local_correlation, mutual_information

if TYPE_CHECKING:
    import torch

Model = Literal["rigid", "affine"]
Metric = Literal["mutual information", "local correlation"]
#: Less than this is what images that have nothing to do with each other reach.
LEAST = {"mutual information": 0.03, "local correlation": 0.05}
Start = Literal["auto", "identity", "geometry", "mass"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """How to align.

    Attributes
    ----------
    model : "rigid" or "affine"
    metric : "mutual information" or "local correlation"
        The first also for different modalities.
    start : "auto", "identity", "geometry" or "mass"
        Where to begin: as the images lie in the scanner, middles of the grids on each other, centres of mass on
        each other; ``auto`` tries all, with the head turned and nodded, and goes on from the best.
    finest_mm : float
        Resolution of the last level.
    samples : int
        Places compared at the last level.
    iterations : int
        Most steps at each level.
    seed : int
        Of the choice of places; the same seed gives the same answer.
    """

    model: Model = "rigid"
    metric: Metric = "mutual information"
    start: Start = "auto"
    finest_mm: float = 2.0
    samples: int = 60_000
    iterations: int = 60
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """The answer.

    Attributes
    ----------
    transform : AffineTransform
        Fixed -> moving, LPS mm.
    metric : str
        What was measured.
    before, after : float
        The measure without any transform and with this one, at the same places.
    """

    transform: AffineTransform
    metric: Metric
    before: float
    after: float


def register(
    ctx: JobContext, fixed: Volume, moving: Volume, settings: RegistrationSettings | None = None
) -> Registration:
    """Align `moving` to `fixed`.

    Parameters
    ----------
    ctx : JobContext
    fixed, moving : Volume
        Any grids, any modalities.
    settings : RegistrationSettings, optional

    Returns
    -------
    Registration
        With the transform fixed -> moving in LPS mm.

    Raises
    ------
    InputError
        ``E_FLAT``: an image has one value everywhere.
    TaskError
        ``E_NO_ALIGNMENT``: nothing was found in which the images agree.
    """
    settings = settings or RegistrationSettings()
    ctx.progress(0.0, "Preparing both images")
    for volume in (fixed, moving):
        if float(np.ptp(volume.array)) == 0.0:
            raise InputError("An image has the same value everywhere.", hint="Choose other images.", code="E_FLAT")
    problem = _Problem(ctx, fixed, moving, settings)
    levels = _levels(settings.finest_mm)
    transform = problem.best_start(SubContext(ctx, 0.05, 0.25), levels[0])
    for n, (level_mm, share) in enumerate(zip(levels, _shares(len(levels)), strict=True)):
        part = SubContext(ctx, share[0], share[1])
        text = f"Aligning at {level_mm:g} mm"
        samples = settings.samples // 2 ** (len(levels) - 1 - n)
        cost = problem.cost_at(level_mm, samples)
        # The extra freedom of an affine is given once a rigid has found the place.
        if settings.model == "affine" and n == 0:
            transform = problem.optimized(part, cost, transform, "rigid", settings.iterations, text)
        else:
            transform = problem.optimized(part, cost, transform, settings.model, settings.iterations, text)
    cost = problem.cost_at(levels[-1], settings.samples)
    identity = AffineTransform.identity()
    before, after = cost.measure(identity), cost.measure(transform)
    ctx.progress(1.0, "Done")
    if not max(before, after) >= LEAST[settings.metric]:
        raise TaskError(
            f"No alignment was found, and none was applied: the {settings.metric} of the images is {before:.3f} as "
            f"they lie and {after:.3f} at best.",
            hint="Check that both show the same part of the body, or begin with their middles on each other.",
            code="E_NO_ALIGNMENT",
        )
    if before >= after:
        return Registration(identity, settings.metric, before, before)
    return Registration(transform, settings.metric, before, after)


def _levels(finest_mm: float) -> list[float]:
    """Return the resolutions from 8 mm down to the finest, each half of the one before."""
    levels = [finest_mm]
    while levels[0] < 6.0:
        levels.insert(0, levels[0] * 2)
    return levels


def _shares(count: int) -> list[tuple[float, float]]:
    """Return the span of progress of each level; each takes about twice as long as the one before."""
    weights = np.cumsum([0.0, *(2.0**n for n in range(count))])
    edges = 0.25 + 0.7 * weights / weights[-1]
    return [(float(a), float(b)) for a, b in pairwise(edges)]


class _Cost:
    """The measure at a fixed set of places, as a function of the transform's matrix."""

    def __init__(self, metric: Metric, moving: Level, places: torch.Tensor, values: torch.Tensor) -> None:
        self._metric = metric
        self._moving = moving
        self._places = places
        self._shape = values.shape
        self._fixed = bin_weights(values) if metric == "mutual information" else values

    def __call__(self, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the measure and the share of places inside the moving image; `matrix` is relative, see `_relative`."""
        import torch

        places = self._places.reshape(-1, 3)
        values, inside = self._moving.at(places @ matrix[:, :3].T + matrix[:, 3])
        overlap = inside.mean()
        if self._metric == "mutual information":
            value = mutual_information(self._fixed, values, inside)
        else:
            value = local_correlation(self._fixed, values.reshape(self._shape), inside.reshape(self._shape))
        # Little overlap makes any two images alike; below a quarter of the places it counts against.
        return value * torch.clamp(4 * overlap, max=1.0), overlap

    def measure(self, transform: AffineTransform) -> float:
        """Return the measure with a transform."""
        import torch

        with torch.no_grad():
            return float(self(_relative(transform, self._moving.origin_lps, self._places.device))[0])


def _relative(transform: AffineTransform, origin_lps: Points, device: torch.device) -> torch.Tensor:
    """Return a transform as (3, 4) between places relative to `origin_lps` on both sides."""
    import torch

    matrix = transform.array[:3]
    shift = matrix[:, :3] @ origin_lps + matrix[:, 3] - origin_lps
    return torch.tensor(np.column_stack([matrix[:, :3], shift]), dtype=torch.float32, device=device)


class _Problem:
    """Two images and what is needed to compare them at any level."""

    def __init__(self, ctx: JobContext, fixed: Volume, moving: Volume, settings: RegistrationSettings) -> None:
        self._settings = settings
        self._fixed, self._moving = fixed, moving
        ctx.progress(0.01, "Preparing both images")
        self._values = [tensor_of(fixed, ctx.device), tensor_of(moving, ctx.device)]
        ctx.progress(0.03, "Preparing both images")
        self._center = np.array(fixed.geometry.center_lps)
        grids = (fixed.geometry, moving.geometry)
        self._mass = [center_of_mass(values, grid) for values, grid in zip(self._values, grids, strict=True)]
        extent = np.ptp(fixed.geometry.corners_lps, axis=0)
        # So scaled, a step of 1 moves the rim of the object by about a millimetre, whatever the parameter.
        self._radius = float(np.linalg.norm(extent)) / 4

    def cost_at(self, level_mm: float, samples: int) -> _Cost:
        """Return the measure at one resolution."""
        import torch

        fixed, moving = (
            level_of(values, volume.geometry, level_mm, self._center)
            for values, volume in zip(self._values, (self._fixed, self._moving), strict=True)
        )
        generator = torch.Generator().manual_seed(self._settings.seed)
        local = self._settings.metric == "local correlation"
        index = sample(fixed, samples // 64 if local else samples, generator)
        if local:
            offsets = torch.tensor(list(product((-2, -1, 0, 1, 2), repeat=3)), dtype=torch.float32)
            index = index[:, None, :] + offsets.to(index.device)[None]
        places = places_of(fixed, index)
        with torch.no_grad():
            values, _ = fixed.at(places.reshape(-1, 3))
        return _Cost(self._settings.metric, moving, places, values.reshape(index.shape[:-1]))

    def best_start(self, ctx: JobContext, level_mm: float) -> AffineTransform:
        """Return the most promising of several starts, each improved a little."""
        cost = self.cost_at(level_mm, self._settings.samples // 6)
        shifts = {
            "identity": np.zeros(3),
            "geometry": np.array(self._moving.geometry.center_lps) - self._center,
            "mass": self._mass[1] - self._mass[0],
        }
        chosen = shifts if self._settings.start == "auto" else {self._settings.start: shifts[self._settings.start]}
        starts = []
        turns = [np.zeros(3)]
        if self._settings.start == "auto":
            turns += [np.radians(angle) * axis for axis in np.eye(3) for angle in (-24.0, -12.0, 12.0, 24.0)]
        for shift in chosen.values():
            for turn in turns:
                ctx.check_cancelled()
                start = self._transform(turn, shift)
                starts.append((cost.measure(start), start))
        starts.sort(key=lambda pair: -pair[0])
        improved = []
        for n, (_, start) in enumerate(starts[:4]):
            part = SubContext(ctx, n / 4, (n + 1) / 4)
            better = self.optimized(part, cost, start, "rigid", 15, "Looking for a start")
            improved.append((cost.measure(better), better))
        return max(improved, key=lambda pair: pair[0])[1]

    def _transform(self, turn: Points, shift: Points) -> AffineTransform:
        """Return a rotation about the middle of the fixed image's mass, then a shift."""
        import torch

        rotation = _rotation(torch.tensor(turn, dtype=torch.float64)).numpy()
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = self._mass[0] + shift - rotation @ self._mass[0]
        return AffineTransform.from_matrix(matrix)

    def optimized(
        self, ctx: JobContext, cost: _Cost, start: AffineTransform, model: Model, iterations: int, text: str
    ) -> AffineTransform:
        """Return a transform that makes the measure larger, beginning at `start`."""
        import torch

        device = self._values[0].device
        base = _relative(start, self._center, device)
        middle = torch.tensor(self._mass[0] - self._center, dtype=torch.float32, device=device)
        free = torch.zeros(6 if model == "rigid" else 12, device=device, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [free], max_iter=iterations, tolerance_grad=1e-6, tolerance_change=1e-5, line_search_fn="strong_wolfe"
        )
        best: list[tuple[float, torch.Tensor]] = []
        closure = self._closure(ctx, cost, optimizer, free, (base, middle), best, iterations, text)
        ctx.progress(0.0, text)
        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch ships it without types
        if not best:
            return start
        chosen = max(best, key=lambda pair: pair[0])[1].double().cpu().numpy()
        matrix = np.eye(4)
        matrix[:3, :3] = chosen[:, :3]
        matrix[:3, 3] = chosen[:, 3] + self._center - chosen[:, :3] @ self._center
        ctx.progress(1.0, text)
        return AffineTransform.from_matrix(matrix)

    def _closure(
        self,
        ctx: JobContext,
        cost: _Cost,
        optimizer: torch.optim.Optimizer,
        free: torch.Tensor,
        frame: tuple[torch.Tensor, torch.Tensor],
        best: list[tuple[float, torch.Tensor]],
        iterations: int,
        text: str,
    ) -> Callable[[], torch.Tensor]:
        """Return the function that LBFGS calls; it keeps the best matrix it has seen in `best`."""
        count = 0

        def closure() -> torch.Tensor:
            nonlocal count
            count += 1
            ctx.progress(min(0.99, count / (1.25 * iterations)), text)
            optimizer.zero_grad()
            matrix = _moved(*frame, free / self._radius, self._radius)
            value, _ = cost(matrix)
            reached = float(value.detach())
            if math.isfinite(reached) and (not best or reached > best[0][0]):
                best[:] = [(reached, matrix.detach().clone())]
            loss = -value
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
            return loss

        return closure


def _moved(base: torch.Tensor, middle: torch.Tensor, free: torch.Tensor, radius: float) -> torch.Tensor:
    """Return `base` (3, 4) after the change that `free` describes: turn, shift, and stretch about the middle."""
    import torch

    linear = _rotation(free[:3])
    if free.numel() == 12:
        s = free[6:]
        stretch = torch.stack([s[0], s[3], s[4], s[3], s[1], s[5], s[4], s[5], s[2]]).reshape(3, 3)
        linear = linear @ (torch.eye(3, dtype=free.dtype, device=free.device) + stretch)
    pivot = base[:, :3] @ middle + base[:, 3]
    shift = linear @ (base[:, 3] - pivot) + pivot + free[3:6] * radius
    return torch.cat([linear @ base[:, :3], shift[:, None]], dim=1)


def _rotation(turn: torch.Tensor) -> torch.Tensor:
    """Return the rotation matrix (3, 3) of a rotation vector in radians."""
    import torch

    x, y, z = turn
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    rotation: torch.Tensor = torch.linalg.matrix_exp(skew)
    return rotation
