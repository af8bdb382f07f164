"""Segments by a result folder of nnU-Net v2; nnU-Net itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from medviewer.api import Doc, Input, JobContext, Result, SubContext
from medviewer.api.formats import NnunetOptions, open_nnunet, predict_nnunet
from mv_models.model_runner import ModelRunner
from mv_models.runners.segmentation import label_result, maps


@dataclass(frozen=True, slots=True)
class NnunetParams:
    """How exactly to compute, and what to return."""

    mirrored: Annotated[
        bool, Doc("Average over mirrored images as nnU-Net does: up to eight times slower, a little better")
    ] = True
    folds: Annotated[
        Literal["all", "first"], Doc("All trained folds and their mean, or the first one, which is quicker")
    ] = "all"
    axes: Annotated[
        Literal["as the model says", "stored", "RAS"],
        Doc("Which way the image is turned for the network: as its file stores it, or to right, front, head"),
    ] = "as the model says"
    probability: Annotated[bool, Doc("Return a map of how probable the segments are")] = False
    uncertainty: Annotated[bool, Doc("Return a map of how uncertain the model was")] = False


class Runner(ModelRunner):
    """Segments with a result folder."""

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: NnunetParams) -> Sequence[Result]:
        """Return the segments that were found, and the maps asked for."""
        volumes = self.volumes(inputs)
        ctx.progress(0.0, "Loading the model")
        model = open_nnunet(self._folder, first_fold=params.folds == "first")
        self.weights_sha256 = model.weights_sha256
        options = NnunetOptions(
            mirror=params.mirrored,
            probability=params.probability,
            uncertainty=params.uncertainty,
            axes="" if params.axes == "as the model says" else params.axes,
        )
        found = predict_nnunet(SubContext(ctx, 0.02, 0.98), model, volumes, options)
        self.record = found.record
        ctx.progress(1.0, "Done")
        return [label_result(self._card, volumes[0], found), *maps(self._card, volumes[0], found)]
