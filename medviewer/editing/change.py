"""What a tool that computes wants changed."""

from __future__ import annotations

from dataclasses import dataclass

from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.core.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class SegmentMask:
    """What a segment becomes inside a box; outside it stays as it is.

    Attributes
    ----------
    value : int
        Label value of the segment.
    region : Region
        Half-open box (k, j, i) inside the grid.
    mask : bool, shape of the region
    """

    value: int
    region: Region
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class NewSegment:
    """A segment to be added beside the active one, in its group.

    Attributes
    ----------
    instance : int
        Number at the end of the name, if it is one of several of the kind of the active segment; that is numbered too.
    """

    name: str
    region: Region
    mask: Mask
    instance: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What a tool wants changed, as one step.

    Attributes
    ----------
    label : str
        Name of the step.
    masks : tuple of SegmentMask
        Voxels that leave segments are freed first, so segments of one change may trade voxels.
    new : tuple of NewSegment
    note : str
        What the user is told about the result.
    from_seeds : bool
        The segments were seeds: that they become many times as large is what was asked for.
    image : Volume or None
        An image to be added to what is open. Opening images is no step, nor is this.
    """

    label: str
    masks: tuple[SegmentMask, ...] = ()
    new: tuple[NewSegment, ...] = ()
    note: str = ""
    from_seeds: bool = False
    image: Volume | None = None
