"""Runs a task of TotalSegmentator: its parts one after the other, their labels together; its package is not needed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from medviewer.api import Doc, Input, JobContext, Result, SubContext
from medviewer.api.formats import (
    NnunetOptions,
    open_nnunet,
    predict_nnunet,
    totalsegmentator_parts,
)
from medviewer.api.inference import Prediction
from mv_models.model_runner import ModelRunner
from mv_models.runners.segmentation import label_result


@dataclass(frozen=True, slots=True)
class TotalSegmentatorParams:
    """How exactly to compute."""

    mirrored: Annotated[bool, Doc("Average over mirrored images: slower; TotalSegmentator itself does not")] = False


class Runner(ModelRunner):
    """Runs the task of a folder."""

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: TotalSegmentatorParams) -> Sequence[Result]:
        """Return the structures that were found."""
        volume = self.volumes(inputs)[0]
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
