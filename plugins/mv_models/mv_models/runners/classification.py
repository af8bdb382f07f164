"""Findings in pictures by a network: the task of every model whose card names the runner ``classification``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from medviewer.api import (
    CodedConcept,
    Doc,
    Finding,
    FindingResult,
    Input,
    JobContext,
    QualityFlag,
    Result,
    SubContext,
    Volume,
)
from medviewer.api.inference import Classification, ModelCard, classify, open_model
from mv_models.model_runner import ModelRunner


@dataclass(frozen=True, slots=True)
class ClassificationParams:
    """What to return."""

    heatmap: Annotated[bool, Doc("Return a map of where the evidence lies")] = True


class Runner(ModelRunner):
    """Classifies with the model of a folder."""

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: ClassificationParams) -> Sequence[Result]:
        """Return the findings with their probabilities, and the heat-map."""
        volume = self.volumes(inputs, "a picture")[0]
        ctx.progress(0.0, "Loading the model")
        model = open_model(self._folder)
        found = classify(SubContext(ctx, 0.3, 1.0), model, volume, heatmap=params.heatmap)
        return [finding_result(self._card, volume, found)]


def finding_result(card: ModelCard, volume: Volume, found: Classification) -> FindingResult:
    """Return what was found in the picture that decides, the most probable first; nothing of one it cannot know."""
    if found.unlike[found.picture]:
        return FindingResult(card.title, (), None, found.flags)
    stated = found.probabilities[found.picture]
    findings = [
        Finding(CodedConcept(*(label.code or (label.name, "99MEDVIEWER", label.title))), float(probability))
        for label, probability in zip(card.labels, stated, strict=True)
    ]
    flags = list(found.flags)
    if len(found.probabilities) > 1:
        text = f"Picture {found.picture + 1} of {len(found.probabilities)} decides."
        flags.append(QualityFlag("Q_ONE_OF_SEVERAL", text))
    heat = None
    if found.heatmap is not None:
        heat = Volume(
            found.heatmap,
            volume.geometry,
            f"{card.title}: evidence",
            window=(0.5, 1.0),
            stacking=volume.stacking,
            in_patient=volume.in_patient,
            in_mm=volume.in_mm,
        )
    findings.sort(key=lambda finding: -finding.probability)
    return FindingResult(card.title, tuple(findings), heat, tuple(flags))
