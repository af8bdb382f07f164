"""Segments by a network: the task of every model whose card names the runner ``segmentation``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np

from medviewer.api import (
    ANATOMICAL_STRUCTURE,
    MORPHOLOGICALLY_ALTERED_STRUCTURE,
    Box3D,
    BoxResult,
    CodedConcept,
    Doc,
    Input,
    JobContext,
    LabelResult,
    Range,
    Result,
    Segment,
    SubContext,
    Unit,
    Volume,
    VolumeResult,
)
from medviewer.api.inference import Label, ModelCard, Prediction, PredictOptions, open_model, pieces_of, predict
from mv_models.model_runner import ModelRunner

#: Of labels whose card names no colour, one after the other.
COLORS = (
    (230, 75, 53), (77, 187, 213), (0, 160, 135), (255, 195, 77), (140, 120, 220), (243, 155, 127),
    (145, 209, 120), (220, 90, 160), (126, 197, 255), (190, 140, 90), (250, 240, 110), (120, 220, 190),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SegmentationParams:
    """How exactly to compute, what to return, and what to clean away."""

    precision: Annotated[
        Literal["fast", "exact"], Doc("Exact computes in single precision, the same on every run; fast is as good")
    ] = "fast"
    flips: Annotated[bool, Doc("Also look at mirror images and take the mean: twice the time, a little better")] = False
    overlap: Annotated[
        Literal["usual", "more"], Doc("More overlap of the windows: several times slower, a little smoother")
    ] = "usual"
    probability: Annotated[bool, Doc("Return a map of how probable the segments are")] = False
    uncertainty: Annotated[bool, Doc("Return a map of how uncertain the model was")] = False
    clean: Annotated[bool, Doc("Clean the result up as the model's card says")] = True
    largest_only: Annotated[bool, Doc("Keep only the largest piece of each segment")] = False
    fill_holes: Annotated[bool, Doc("Fill holes inside segments")] = False
    smallest_ml: Annotated[float, Range(0.0, 100.0, 0.1), Unit("ml"), Doc("Smaller pieces are left out")] = 0.0
    smooth_mm: Annotated[float, Range(0.0, 10.0, 0.5), Unit("mm"), Doc("Round surfaces by about so much")] = 0.0

    def steps(self, card: ModelCard) -> list[Mapping[str, Any]]:
        """Return the steps that clean up: the card's, then what was asked for."""
        found: list[Mapping[str, Any]] = list(card.postprocessing) if self.clean else []
        if self.smooth_mm:
            found.append({"step": "smooth", "mm": self.smooth_mm})
        if self.fill_holes:
            found.append({"step": "fill_holes"})
        if self.largest_only:
            found.append({"step": "largest_component"})
        if self.smallest_ml:
            found.append({"step": "min_size", "ml": self.smallest_ml})
        return found


class Runner(ModelRunner):
    """Segments with the model of a folder."""

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: SegmentationParams) -> Sequence[Result]:
        """Return the segments that were found, and the maps asked for."""
        volumes = self.volumes(inputs)
        listed = bool(self._card.settings.get("findings"))
        options = PredictOptions(
            exact=params.precision == "exact",
            overlap=0.5 if params.overlap == "more" else None,
            flips=params.flips,
            probability=params.probability or listed,
            uncertainty=params.uncertainty,
            postprocessing=params.steps(self._card),
        )
        model = open_model(self._folder)
        self.weights_sha256 = model.weights_sha256
        found = predict(SubContext(ctx, 0.0, 0.98), model, volumes, options)
        self.record = found.record
        ctx.progress(1.0, "Done")
        results: list[Result] = [label_result(self._card, volumes[0], found)]
        if listed:
            results.append(finding_result(self._card, volumes[0], found))
        if not params.probability:
            found = replace(found, probability=None)
        return [*results, *maps(self._card, volumes[0], found)]


def label_result(card: ModelCard, volume: Volume, found: Prediction) -> LabelResult:
    """Return the labels with their names and codes; those that were not found are left out."""
    present = np.flatnonzero(np.bincount(found.labels.ravel(), minlength=1))
    segments = [segment(card, label, n) for n, label in enumerate(card.labels) if label.value in present]
    return LabelResult(card.title, found.labels, volume.geometry, tuple(segments), found.flags)


def segment(card: ModelCard, label: Label, n: int) -> Segment:
    """Return a label of a card as a segment; the card's setting ``category`` says whether it is a ``lesion``."""
    lesion = card.settings.get("category") == "lesion"
    return Segment(
        label.value,
        label.title,
        label.color or COLORS[n % len(COLORS)],
        category=MORPHOLOGICALLY_ALTERED_STRUCTURE if lesion else ANATOMICAL_STRUCTURE,
        type=CodedConcept(*label.code) if label.code else ANATOMICAL_STRUCTURE,
    )


def finding_result(card: ModelCard, volume: Volume, found: Prediction) -> BoxResult:
    """Return every piece of every label as a finding, the most probable first: what a card's ``findings`` asks for."""
    assert found.probability is not None
    titles = {label.value: label.title for label in card.labels}
    pieces = pieces_of(found.labels, found.probability, volume.geometry, tuple(titles))
    boxes = (
        Box3D(
            lower=piece.lower,
            upper=piece.upper,
            label=titles[piece.value],
            score=round(piece.score, 4),
            diameter_mm=round(piece.diameter_mm, 1),
            segment=piece.value,
        )
        for piece in pieces
    )
    return BoxResult(card.title, tuple(sorted(boxes, key=lambda box: -(box.score or 0.0))))


def maps(card: ModelCard, volume: Volume, found: Prediction) -> list[VolumeResult]:
    """Return the maps of a prediction as volumes over the image."""
    named = (("Probability", found.probability), ("Uncertainty", found.uncertainty))
    return [
        VolumeResult(name, Volume(array, volume.geometry, f"{card.title}: {name.lower()}", window=(0.5, 1.0)))
        for name, array in named
        if array is not None
    ]
