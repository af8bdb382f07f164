# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "scipy", "scikit-image"]
# [tool.medviewer]
# id = "click_classic"
# version = "0.1.0"
# api = 1
# title = "Click to segment without a model"
# description = "Grows from clicks until an edge stops it: nothing that was learnt, nothing to download."
# [[tool.medviewer.task]]
# id = "click_classic"
# title = "Click to segment (without a model)"
# description = "Grows from what is clicked until an edge stops it. Clicks add or take away."
# kind = "interactive"
# entry = "click_classic:ClickClassic"
# inputs = { image = "volume" }
# lane = "gpu"
# license = "Apache-2.0"
# order = 310
# ///
"""Click-to-segment by image values alone: the choice where no weights are, or where they do badly.

Mean Dice after 1, 3 and 5 simulated clicks on six lung nodules of LIDC-IDRI (``tests/benchmarks/bench_click.py``):
geodesic 0.58, 0.69, 0.74; growing 0.40, 0.49, 0.38; random walker 0.18, 0.48, 0.63.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from medviewer.api import Doc, InteractiveSession, JobContext, Readiness, Volume
from medviewer.api.inference import classic_session


@dataclass(frozen=True, slots=True)
class ClassicParams:
    """The form in the window is made from this class."""

    method: Annotated[
        Literal["geodesic", "growing", "random walker"],
        Doc("Nearest click along the edges' heights; a range of values that ends on edges; or a random walk"),
    ] = "geodesic"


class ClickClassic:
    """Opens sessions that need no weights."""

    def check(self) -> Readiness:
        """Say whether it could run: nothing is needed."""
        return Readiness(ok=True)

    def open(self, ctx: JobContext, volume: Volume, params: ClassicParams) -> InteractiveSession:
        """Bind the method to a volume."""
        return classic_session(volume, params.method)
