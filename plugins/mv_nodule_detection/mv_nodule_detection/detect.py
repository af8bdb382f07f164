"""Lung nodule candidates on CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from medviewer.api import (
    Box3D,
    BoxResult,
    Doc,
    Input,
    InputError,
    JobContext,
    Range,
    Readiness,
    Result,
    SubContext,
    Unit,
    Volume,
    vec3,
)
from medviewer.api.inference import CoarseCt, find_lungs, named_memory_errors
from mv_nodule_detection.candidates import Candidate, find_candidates
from mv_nodule_detection.field import lung_field
from mv_nodule_detection.score import score

LABEL = "Nodule"
MEMORY_HINT = "Close other studies or programs, choose the device cpu, or crop the volume to the chest."


@dataclass(frozen=True, slots=True)
class NoduleParams:
    """What is looked for and how much is shown."""

    smallest_mm: Annotated[float, Range(3.0, 20.0, 0.5), Unit("mm"), Doc("Smallest diameter")] = 4.0
    largest_mm: Annotated[float, Range(5.0, 60.0, 1.0), Unit("mm"), Doc("Largest diameter")] = 36.0
    min_score: Annotated[float, Range(0.0, 1.0, 0.05), Doc("Candidates below this score are left out")] = 0.3
    most: Annotated[int, Range(1, 200), Doc("Most candidates to show, best first")] = 20


class NoduleTask:
    """Finds round things inside the lungs and ranks them by how little they look like a vessel."""

    def check(self) -> Readiness:
        """Always ready."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: NoduleParams) -> Sequence[Result]:
        """Return boxes, best first; none when there is no lung."""
        image = inputs.get("image")
        if not isinstance(image, Volume):
            raise InputError("This task needs a CT volume.", hint="Choose a volume as its input.")
        with named_memory_errors(ctx.device, MEMORY_HINT):
            candidates = self._candidates(ctx, image, params)
        ranked = sorted(((score(c.features), c) for c in candidates), key=lambda pair: -pair[0])
        boxes = [_box(c, s) for s, c in _apart(ranked) if s >= params.min_score]
        ctx.progress(1.0, "Done")
        return [BoxResult("Lung nodules", tuple(boxes[: params.most]))]

    def _candidates(self, ctx: JobContext, image: Volume, params: NoduleParams) -> list[Candidate]:
        ctx.progress(0.0, "Reading densities")
        ct = CoarseCt.of(image, 1.5)
        lungs = find_lungs(SubContext(ctx, 0.02, 0.4), ct)
        found: list[Candidate] = []
        for n, side in enumerate((lungs.right, lungs.left)):
            part = SubContext(ctx, 0.4 + 0.29 * n, 0.69 + 0.29 * n)
            part.progress(0.0, "Looking for round shapes")
            field = lung_field(part, image, ct, side)
            if field is not None:
                found += find_candidates(part, field, params.smallest_mm, params.largest_mm)
        return found


def _apart(ranked: list[tuple[float, Candidate]]) -> list[tuple[float, Candidate]]:
    """Return candidates without those that lie in a better one."""
    kept: list[tuple[float, Candidate]] = []
    for value, candidate in ranked:
        for _, better in kept:
            distance = float(np.linalg.norm(candidate.center_lps - better.center_lps))
            if distance < 0.6 * max(candidate.diameter_mm, better.diameter_mm):
                break
        else:
            kept.append((value, candidate))
    return kept


def _box(candidate: Candidate, value: float) -> Box3D:
    """Return a candidate as a box around it, LPS mm."""
    half = candidate.step_mm / 2
    lower, upper = candidate.points_lps.min(axis=0) - half, candidate.points_lps.max(axis=0) + half
    return Box3D(
        lower=vec3(lower),
        upper=vec3(upper),
        label=LABEL,
        score=round(value, 4),
        diameter_mm=round(candidate.diameter_mm, 2),
    )
