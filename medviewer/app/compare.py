"""Compare segments of one image: of two models, of two people, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medviewer.app.mask_size import mask_unit
from medviewer.core.errors import InputError
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Overlay
from medviewer.imaging.compare import Agreement, agreement
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from medviewer.app.context import AppContext

#: Values of the difference that is laid over the image.
ONLY_FIRST, ONLY_SECOND = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two segments and how they agree.

    Attributes
    ----------
    sizes : (float, float)
        In `unit`.
    difference : Volume
        uint8 on the grid of the image: 1 where only the first is, 2 where only the second is.
    """

    first: Segment
    second: Segment
    agreement: Agreement
    sizes: tuple[float, float]
    unit: str
    difference: Volume


class Compare:
    """Compares two segments of a volume."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def start(self, volume_id: str, first: int, second: int, done: Callable[[Comparison], None]) -> Job:
        """Compare the segments with two values; `done` gets the result on the main thread.

        Raises
        ------
        InputError
            One of them is gone, or both are the same.
        """
        volume = self._app.workspace.volume(volume_id)
        segmentation = self._app.workspace.segmentation(volume_id)
        pair = [segmentation.find(value) for value in (first, second)]
        one, two = pair
        if one is None or two is None or one is two:
            raise InputError("Choose two different segments.", hint="Both must belong to the image that is shown.")
        copies = [segmentation.group(segment.group).copy_labels() for segment in (one, two)]

        def work(ctx: JobContext) -> Comparison:
            ctx.progress(0.1, "Comparing")
            masks = [copy.get() == segment.value for copy, segment in zip(copies, (one, two), strict=True)]
            x, y, z = volume.geometry.spacing
            found = agreement(masks[0], masks[1], (z, y, x))
            ctx.progress(0.9)
            difference = np.zeros(volume.geometry.shape, np.uint8)
            difference[masks[0] & ~masks[1]] = ONLY_FIRST
            difference[masks[1] & ~masks[0]] = ONLY_SECOND
            unit = mask_unit(volume)
            name = f"{one.name} against {two.name}"
            return Comparison(
                one,
                two,
                found,
                (found.voxels[0] * unit.per_voxel, found.voxels[1] * unit.per_voxel),
                unit.name,
                Volume(difference, volume.geometry, name, window=(1.0, 2.0)),
            )

        def ended(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, "Cannot compare")
            if job.state is JobState.SUCCESS and isinstance(job.result, Comparison):
                done(job.result)

        return self._app.jobs.submit("Comparing segments", work, lane="cpu", done=ended, quiet=True)

    def show_difference(self, volume_id: str, comparison: Comparison) -> None:
        """Lay the difference over the image."""
        self._app.workspace.activate(volume_id)
        self._app.workspace.overlay = Overlay(comparison.difference, 1.0)


def counterparts(segments: tuple[Segment, ...]) -> tuple[int, int]:
    """Return the values of the two segments most likely to be compared: of one name from two makers, else the last two.

    `segments` has two or more.
    """
    for n, one in enumerate(segments):
        for two in segments[n + 1 :]:
            same = one.name.casefold() == two.name.casefold()
            if same and one.provenance.task != two.provenance.task:
                return one.value, two.value
    return segments[-2].value, segments[-1].value
