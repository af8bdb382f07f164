"""Runs a task of TotalSegmentator: its parts one after the other, their labels together; its package is not needed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from medviewer.api import Doc, Input, InputError, JobContext, Readiness, Result, SubContext, Volume
from medviewer.api.formats import (
    NnunetOptions,
    open_nnunet,
    predict_nnunet,
    read_any_card,
    totalsegmentator_parts,
)
from medviewer.api.inference import Prediction
from mv_models.runners.segmentation import label_result


@dataclass(frozen=True, slots=True)
class TotalSegmentatorParams:
    """How exactly to compute."""

    mirrored: Annotated[bool, Doc("Average over mirrored images: slower; TotalSegmentator itself does not")] = False


class Runner:
    """Runs the task of a folder.

    Attributes
    ----------
    weights_sha256 : str
        Of the hashes of the parts; known after the first run.
    record : mapping
        How the last run was made, JSON-ready.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._card = read_any_card(folder)
        self.weights_sha256 = ""
        self.record: Mapping[str, object] = {}

    def check(self) -> Readiness:
        """Ready: all parts have been found."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: TotalSegmentatorParams) -> Sequence[Result]:
        """Return the structures that were found."""
        volume = next((value for value in inputs.values() if isinstance(value, Volume)), None)
        if volume is None:
            raise InputError(f"{self._card.title} needs a volume.", hint="Choose a volume as its input.")
        labels = np.zeros(volume.array.shape, np.uint16)
        parts = totalsegmentator_parts(self._folder)
        options = NnunetOptions(mirror=params.mirrored, axes="RAS")
        hashes, records = [], []
        for n, (root, values) in enumerate(parts):
            part = SubContext(ctx, 0.98 * n / len(parts), 0.98 * (n + 1) / len(parts))
            model = open_nnunet(root)
            found = predict_nnunet(part, model, [volume], options)
            table = np.zeros(int(found.labels.max()) + 1, np.uint16)
            for own, value in values.items():
                if own < len(table):
                    table[own] = value
            drawn = table[found.labels]
            np.copyto(labels, drawn, where=drawn > 0)
            hashes.append(model.weights_sha256)
            records.append({"part": root.parent.name, "sha256": model.weights_sha256, **found.record})
        self.weights_sha256 = hashlib.sha256("".join(hashes).encode()).hexdigest() if len(hashes) > 1 else hashes[0]
        self.record = {"parts": records}
        ctx.progress(1.0, "Done")
        return [label_result(self._card, volume, Prediction(labels))]
