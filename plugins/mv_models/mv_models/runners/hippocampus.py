"""Anterior and posterior hippocampus: in a box around one of them, or both in a whole head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medviewer.api import (
    ANATOMICAL_STRUCTURE,
    CodedConcept,
    Input,
    JobContext,
    LabelResult,
    Result,
    Segment,
    SubContext,
    TaskError,
)
from medviewer.api.inference import (
    RIGHT_HIPPOCAMPUS,
    Hippocampi,
    Model,
    ModelCard,
    ModelStore,
    find_hippocampi_in_head,
    find_hippocampus_in_crop,
    is_hippocampus_crop,
    open_model,
    refuse_hippocampus_size,
)
from mv_models.model_runner import ModelRunner

ANATOMY = "brain_anatomy"


@dataclass(frozen=True, slots=True)
class HippocampusParams:
    """There is nothing to choose."""


class Runner(ModelRunner):
    """Runs the model of a folder; in a whole head with the help of the model ``brain_anatomy``."""

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: HippocampusParams) -> Sequence[Result]:
        """Return two segments for a crop, four for a head."""
        volume = self.volumes(inputs, "an MR of the head")[0]
        refuse_hippocampus_size(self._card, volume)
        if is_hippocampus_crop(volume.geometry):
            found = find_hippocampus_in_crop(SubContext(ctx, 0.0, 0.98), open_model(self._folder), volume)
        else:
            anatomy = _anatomy(self._card)
            found = find_hippocampi_in_head(SubContext(ctx, 0.0, 0.98), open_model(self._folder), anatomy, volume)
        ctx.progress(1.0, "Done")
        return [LabelResult(self._card.title, found.labels, volume.geometry, segments(self._card, found), found.flags)]


def _anatomy(card: ModelCard) -> Model:
    """Return the model that finds the hippocampi in a head."""
    try:
        return open_model(ModelStore().find(ANATOMY).folder)
    except TaskError as error:
        raise TaskError(
            f"{card.title} finds the hippocampi of a whole head with the model {ANATOMY}, which cannot be used here: "
            f"{error.text}",
            hint=f"Install the model {ANATOMY}, or cut a box of about 40 × 55 × 40 mm around one hippocampus.",
            code="E_MODEL_NEEDED",
        ) from error


def segments(card: ModelCard, found: Hippocampi) -> tuple[Segment, ...]:
    """Return the parts that were found; of a head with their side."""
    present = set(found.labels[found.labels > 0].tolist())
    sides = (("left ", 0), ("right ", RIGHT_HIPPOCAMPUS)) if found.both else (("", 0),)
    return tuple(
        Segment(
            label.value + offset,
            f"{side}{label.title}",
            label.color or (230, 126, 34),
            category=ANATOMICAL_STRUCTURE,
            type=CodedConcept(*label.code) if label.code else ANATOMICAL_STRUCTURE,
        )
        for side, offset in sides
        for label in card.labels
        if label.value + offset in present
    )
