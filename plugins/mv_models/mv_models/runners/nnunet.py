"""Segments by a result folder of nnU-Net v2; nnU-Net itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from medviewer.api import Doc, Input, InputError, JobContext, Readiness, Result, SubContext, Volume
from medviewer.api.formats import NnunetOptions, open_nnunet, predict_nnunet, read_nnunet_card
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


class Runner:
    """Runs the model of a folder.

    Attributes
    ----------
    weights_sha256 : str
        Known after the first run.
    record : mapping
        How the last run was made, JSON-ready.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._card = read_nnunet_card(folder)
        self.weights_sha256 = ""
        self.record: Mapping[str, object] = {}

    def check(self) -> Readiness:
        """Ready: the plans have been read."""
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: NnunetParams) -> Sequence[Result]:
        """Return the segments that were found, and the maps asked for."""
        volumes = [value for value in inputs.values() if isinstance(value, Volume)]
        if not volumes:
            raise InputError(f"{self._card.title} needs a volume.", hint="Choose a volume as its input.")
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
