"""Lung nodules by a pair of networks: findings with a probability, and the outline of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from medviewer.api import (
    MORPHOLOGICALLY_ALTERED_STRUCTURE,
    Box3D,
    BoxResult,
    CodedConcept,
    Doc,
    Input,
    JobContext,
    LabelResult,
    QualityFlag,
    Range,
    Result,
    Segment,
    SubContext,
    Unit,
    Volume,
)
from medviewer.api.inference import Nodule, find_nodules, named_memory_errors, open_model, painted
from mv_models.model_runner import ModelRunner

MEMORY_HINT = "Close other studies or programs, choose the device cpu, or crop the volume to the chest."
NODULE = CodedConcept("27925004", "SCT", "Nodule")
COLORS = ((230, 75, 53), (77, 187, 213), (255, 195, 77), (140, 120, 220), (145, 209, 120), (220, 90, 160))
#: Slices further apart than this hide nodules between them.
THICK_MM = 5.0


@dataclass(frozen=True, slots=True)
class NoduleParams:
    """What is shown."""

    smallest_mm: Annotated[float, Range(3.0, 20.0, 0.5), Unit("mm"), Doc("Smallest diameter")] = 4.0
    min_score: Annotated[
        float,
        Range(0.05, 0.95, 0.05),
        Doc("Findings less probable than this are left out: lower finds more, and more that is none"),
    ] = 0.3
    most: Annotated[int, Range(1, 100), Doc("Most findings to show, most probable first")] = 20
    outlines: Annotated[bool, Doc("Draw each nodule as a segment")] = True


class Runner(ModelRunner):
    """Finds and draws nodules with the model of a folder."""

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: NoduleParams) -> Sequence[Result]:
        """Return a segment and a finding per nodule, most probable first; findings name their segment."""
        image = self.volumes(inputs, "a CT volume")[0]
        with named_memory_errors(ctx.device, MEMORY_HINT):
            model = open_model(self._folder)
            found = find_nodules(SubContext(ctx, 0.02, 0.98), model, image, params.smallest_mm, params.min_score)
        ctx.progress(1.0, "Done")
        if found is None:
            flag = QualityFlag("Q_NO_LUNGS", "No lungs were found in this image, so no nodules were looked for.")
            return [BoxResult(self._card.title, (), (flag,))]
        found = found[: params.most]
        flags = _flags(image)
        boxes = tuple(_box(nodule, n if params.outlines else None) for n, nodule in enumerate(found, start=1))
        results: list[Result] = [BoxResult(self._card.title, boxes, flags)]
        if found and params.outlines:
            segments = tuple(segment(n, len(found)) for n in range(1, len(found) + 1))
            labels = painted(image.geometry.shape, found)
            results.insert(0, LabelResult(self._card.title, labels, image.geometry, segments))
        return results


def segment(value: int, count: int, name: str = "Nodule") -> Segment:
    """Return the segment of one of some nodules."""
    return Segment(
        value,
        f"{name} {value}" if count > 1 else name,
        COLORS[(value - 1) % len(COLORS)],
        category=MORPHOLOGICALLY_ALTERED_STRUCTURE,
        type=NODULE,
    )


def _box(nodule: Nodule, value: int | None) -> Box3D:
    return Box3D(
        lower=nodule.lower,
        upper=nodule.upper,
        label="Nodule",
        score=round(nodule.score, 4),
        diameter_mm=round(nodule.diameter_mm, 1),
        segment=value,
    )


def _flags(image: Volume) -> tuple[QualityFlag, ...]:
    thickest = max(image.geometry.spacing)
    if thickest <= THICK_MM:
        return ()
    text = f"Slices lie {thickest:.1f} mm apart: nodules smaller than about {2 * thickest:.0f} mm may be missed."
    return (QualityFlag("Q_THICK_SLICES", text),)
