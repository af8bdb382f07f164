"""Tools that compute: from what they see of a segmentation to a change that is shown before it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from medviewer.core.geometry import Geometry, Vec3
from medviewer.core.region import Region, box_of_value
from medviewer.core.segmentation import LabelArray, Mask, Segment, Segmentation
from medviewer.core.volume import Volume, VoxelArray
from medviewer.editing.change import Change
from medviewer.editing.tool import Tool
from medviewer.jobs.job import JobContext


@dataclass(frozen=True, slots=True, eq=False)
class EditScene:
    """What a computing tool sees: the document itself, to be read only.

    Attributes
    ----------
    volume : Volume
    segmentation : Segmentation
    segment : Segment
        The active one.
    crosshair_lps : (float, float, float)
        LPS mm.
    axis : int
        Index axis (0 = i, 1 = j, 2 = k) normal to the view that was used last.
    tilted : Geometry or None
        Grid of that view, whose `axis` is normal to it, where it is turned against the volume's; see `PointerEvent`.
    """

    volume: Volume
    segmentation: Segmentation
    segment: Segment
    crosshair_lps: Vec3
    axis: int = 2
    tilted: Geometry | None = None
    _boxes: dict[int, Region | None] = field(default_factory=dict, repr=False)

    @property
    def geometry(self) -> Geometry:
        """Grid of the masks."""
        return self.segmentation.geometry

    @property
    def labels(self) -> LabelArray:
        """Label map (k, j, i) that holds the active segment; a read-only view of what is edited."""
        return self.segmentation.labels_of(self.segment.value)

    @property
    def visible(self) -> tuple[Segment, ...]:
        """Visible segments of the active segment's group, in the order of the list."""
        return tuple(s for s in self.segmentation.segments if s.group == self.segment.group and s.visible)

    def mask(self, value: int | None = None, region: Region | None = None) -> Mask:
        """Return the mask (k, j, i) of a segment, by default of the active one, or its part inside a box."""
        return self.segmentation.mask(self.segment.value if value is None else value, region)

    def box(self, value: int | None = None) -> Region | None:
        """Return the smallest box that holds a segment, by default the active one; None when it is empty."""
        wanted = self.segment.value if value is None else value
        if wanted not in self._boxes:
            self._boxes[wanted] = box_of_value(self.segmentation.labels_of(wanted), wanted)
        return self._boxes[wanted]


Compute = Callable[[JobContext], Change]


@runtime_checkable
class Effect(Tool, Protocol):
    """A tool whose result is computed, shown, and applied or dropped.

    Attributes
    ----------
    live : bool
        Whether the result is computed anew whenever options, clicks or voxels change; otherwise when asked for.
    stays : bool
        Whether it goes on while a drawing tool is used, as one that grows from seeds does.
    """

    live: ClassVar[bool]
    stays: ClassVar[bool]

    def plan(self, scene: EditScene) -> Compute | None:
        """Freeze options and clicks; return what computes the change on a thread, or None when there is nothing yet.

        What it returns reads the scene while it runs; when voxels change meanwhile its answer is thrown away.

        Raises
        ------
        EditRefused
            When the tool cannot work on this segment.
        """

    def applied(self) -> None:
        """Hear that the change has been made, to begin anew."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Which values a tool takes.

    Attributes
    ----------
    lower, upper : float
        Closed range, in the unit of the image.
    outside : bool
        Whether what lies outside of it is taken instead.
    method : str
        Name of the automatic method that chooses instead of `lower` and `upper`; empty for none.
    bright : bool
        Whether an automatic method takes what lies above what it finds.
    """

    lower: float
    upper: float
    outside: bool = False
    method: str = ""
    bright: bool = True


@runtime_checkable
class RangeTool(Protocol):
    """A tool that computes from a range of values: the range is shown over a histogram, and can be dragged there."""

    @property
    def value_range(self) -> ValueRange:
        """The range as the options say it."""

    def take_range(self, lower: float, upper: float) -> None:
        """Take a range that was chosen by hand."""

    def looked_at(self, scene: EditScene) -> VoxelArray:
        """Return the values, of any shape, whose histogram is shown."""
