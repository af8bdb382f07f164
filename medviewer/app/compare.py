"""Compare segments of one image: of two models, of two people, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medviewer.app.mask_size import mask_unit
from medviewer.core.errors import InputError
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask, Segment
from medviewer.core.shown_text import counted
from medviewer.core.view_state import IN_BOTH, ONLY_FIRST, ONLY_SECOND, MaskDifference
from medviewer.editing.past import past_labels
from medviewer.imaging.compare import Agreement, agreement
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from medviewer.app.context import AppContext


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two masks and how they agree.

    Attributes
    ----------
    asked : (int, int, int)
        Values of the two segments, and how many steps ago the first one is meant.
    sizes : (float, float)
        In `unit`.
    difference : MaskDifference
        To be shown over slices.
    counts : (int, int, int)
        Voxels only in the first, only in the second, in both.
    """

    asked: tuple[int, int, int]
    agreement: Agreement
    sizes: tuple[float, float]
    unit: str
    difference: MaskDifference
    counts: tuple[int, int, int]


class Compare:
    """Compares two segments of a volume, or one with what it was."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def start(
        self, volume_id: str, first: int, second: int, done: Callable[[Comparison], None], *, ago: int = 0
    ) -> Job:
        """Compare the segments with two values; `done` gets the result on the main thread.

        Parameters
        ----------
        ago : int
            The first one is meant as it was before this many of the last steps; both may then be the same segment.

        Raises
        ------
        InputError
            One of them is gone, or both are the same.
        """
        self._app.router.finish()
        volume = self._app.workspace.volume(volume_id)
        segmentation = self._app.workspace.segmentation(volume_id)
        one, two = (segmentation.find(value) for value in (first, second))
        if one is None or two is None or (one is two and not ago):
            raise InputError("Choose two different segments.", hint="Both must belong to the image that is shown.")
        copies = [segmentation.group(segment.group).copy_labels() for segment in (one, two)]
        steps = self._app.history.done
        since = steps[len(steps) - ago :] if ago else ()
        when = f", {counted(ago, 'step')} ago" if ago else ""
        names = (f"{one.name}{when}", two.name)
        unit = mask_unit(volume)

        def work(ctx: JobContext) -> Comparison:
            ctx.progress(0.1, "Comparing")
            earlier = past_labels(copies[0].get(), since, volume_id, one.group) if since else copies[0].get()
            masks = earlier == one.value, copies[1].get() == two.value
            ctx.progress(0.4)
            x, y, z = volume.geometry.spacing
            found = agreement(*masks, (z, y, x))
            ctx.progress(0.9)
            difference = mask_difference(volume_id, *masks, names)
            counts = np.bincount(difference.codes.ravel(), minlength=4)
            return Comparison(
                (one.value, two.value, ago),
                found,
                (found.voxels[0] * unit.per_voxel, found.voxels[1] * unit.per_voxel),
                unit.name,
                difference,
                (int(counts[ONLY_FIRST]), int(counts[ONLY_SECOND]), int(counts[IN_BOTH])),
            )

        def ended(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, "Cannot compare")
            if job.state is JobState.SUCCESS and isinstance(job.result, Comparison):
                done(job.result)

        return self._app.jobs.submit("Comparing segments", work, lane="cpu", done=ended, quiet=True)

    def show_difference(self, volume_id: str, comparison: Comparison) -> None:
        """Show the difference over the image, in the place of its segments."""
        self._app.workspace.activate(volume_id)
        self._app.workspace.view.difference = comparison.difference


def mask_difference(volume_id: str, first: Mask, second: Mask, names: tuple[str, str]) -> MaskDifference:
    """Return how two masks (k, j, i) of one shape differ, in the box of both."""
    region = Region.of_mask(first | second) or Region((0, 0, 0), (1, 1, 1))
    codes = ONLY_FIRST * first[region.slices].astype(np.uint8) + ONLY_SECOND * second[region.slices].astype(np.uint8)
    return MaskDifference(volume_id, region, codes, names)


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
