"""Rigid and affine registration as tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from medviewer.api import (
    Choice,
    Doc,
    Input,
    InputError,
    JobContext,
    Range,
    Readiness,
    Result,
    TransformResult,
    Unit,
    Volume,
)
from medviewer.api.inference import named_memory_errors
from medviewer.api.registration import Metric, Model, RegistrationSettings, Start, jacobian_min, register

MEMORY_HINT = "Close other studies or programs, or choose a coarser finest resolution."


@dataclass(frozen=True, slots=True)
class RegistrationParams:
    """How to align."""

    metric: Annotated[
        str,
        Choice(("mutual information", "local correlation")),
        Doc("Mutual information also fits different modalities; local correlation fits uneven brightness"),
    ] = "mutual information"
    start: Annotated[
        str,
        Choice(("auto", "identity", "geometry", "mass")),
        Doc("Begin as in the scanner, with the middles of the grids or the centres of mass on each other, or try all"),
    ] = "auto"
    finest_mm: Annotated[float, Range(1.0, 8.0, 0.5), Unit("mm"), Doc("Resolution of the last step")] = 2.0
    samples: Annotated[int, Range(5_000, 500_000, 5_000), Doc("Places compared in the last step")] = 60_000
    iterations: Annotated[int, Range(10, 300, 10), Doc("Most iterations in each step")] = 60


def _run(ctx: JobContext, inputs: Mapping[str, Input], params: RegistrationParams, model: Model) -> Sequence[Result]:
    fixed, moving = inputs.get("fixed"), inputs.get("moving")
    if not isinstance(fixed, Volume) or not isinstance(moving, Volume):
        raise InputError("Registration needs a fixed and a moving volume.", hint="Choose two open volumes.")
    settings = RegistrationSettings(
        model=model,
        metric=cast("Metric", params.metric),
        start=cast("Start", params.start),
        finest_mm=params.finest_mm,
        samples=params.samples,
        iterations=params.iterations,
    )
    with named_memory_errors(ctx.device, MEMORY_HINT):
        answer = register(ctx, fixed, moving, settings)
    measures = {
        f"{answer.metric} before": answer.before,
        f"{answer.metric} after": answer.after,
        "volume change": jacobian_min(answer.transform),
    }
    return [TransformResult(f"{model.capitalize()} registration", answer.transform, measures)]


class RigidTask:
    """Rotation and translation."""

    def check(self) -> Readiness:
        """Always ready."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: RegistrationParams) -> Sequence[Result]:
        """Return the transform fixed -> moving with the measure before and after."""
        return _run(ctx, inputs, params, "rigid")


class AffineTask:
    """Rotation, translation, scaling and shearing."""

    def check(self) -> Readiness:
        """Always ready."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: RegistrationParams) -> Sequence[Result]:
        """Return the transform fixed -> moving with the measure before and after."""
        return _run(ctx, inputs, params, "affine")
