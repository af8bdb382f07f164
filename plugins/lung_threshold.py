# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy"]
# [tool.medviewer]
# id = "lung_threshold"
# version = "0.1.0"
# api = 1
# title = "Lungs by threshold (example)"
# [[tool.medviewer.task]]
# id = "lung_threshold.lungs"
# title = "Lungs by threshold (example of a plugin in one file)"
# kind = "segmentation"
# entry = "lung_threshold:LungThreshold"
# inputs = { image = "volume" }
# modalities = ["CT"]
# lane = "cpu"
# license = "Apache-2.0"
# order = 900
# ///
"""Everything as thin as air or lung, as a one-file plugin: copy it, rename it, and write your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from medviewer.api import (
    Doc,
    Input,
    InputError,
    JobContext,
    LabelResult,
    Range,
    Readiness,
    Result,
    Segment,
    Unit,
    Volume,
)


@dataclass(frozen=True, slots=True)
class LungParams:
    """The form in the window is made from this class."""

    lower: Annotated[float, Range(-1100, 0, 10), Unit("HU"), Doc("Thinner is the air around the patient")] = -970.0
    upper: Annotated[float, Range(-1000, 0, 10), Unit("HU"), Doc("Denser is tissue")] = -400.0


class LungThreshold:
    """Labels a range of densities."""

    def check(self) -> Readiness:
        """Say whether it could run: nothing is needed."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: LungParams) -> Sequence[Result]:
        """Return one segment; report progress slice by slice, which is also where cancel is noticed."""
        image = inputs["image"]
        if not isinstance(image, Volume):
            raise InputError("This task needs a CT volume.", hint="Choose a volume as its input.")
        labels = np.zeros(image.geometry.shape, np.uint16)
        for k, (source, target) in enumerate(zip(image.array, labels, strict=True)):
            ctx.progress(k / len(labels), "Thresholding")
            target[(source > params.lower) & (source < params.upper)] = 1
        ctx.progress(1.0, "Done")
        return [LabelResult("Lungs by threshold", labels, image.geometry, (Segment(1, "Lung"),))]
