"""The statistics of segments: measured in a job, as a table, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from medviewer.app.mask_size import MaskUnit, mask_unit
from medviewer.app.report import spreadsheet_text
from medviewer.core.region import Region
from medviewer.core.segmentation import LabelCopy, Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.imaging.statistics import (
    PERCENTILES,
    IntensityStatistics,
    ShapeStatistics,
    intensity_statistics,
    label_boxes,
    shape_statistics,
)
from medviewer.jobs.job import Job, JobContext, JobState, SubContext

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

#: Part of the progress that finding the boxes takes.
_BOXES = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class SegmentStatistics:
    """One segment and what was measured of it.

    Attributes
    ----------
    size : float
        In the unit of `StatisticsTable`: ml of a volume in space, else mm² or pixels.
    shape, intensity : None
        Where the segment is empty.
    """

    segment: Segment
    size: float
    shape: ShapeStatistics | None = None
    intensity: IntensityStatistics | None = None

    @property
    def name(self) -> str:
        """Name of the segment."""
        return self.segment.name


@dataclass(frozen=True, slots=True)
class Column:
    """A number of every segment.

    Attributes
    ----------
    id : str
        Its name in a CSV file; others build on it.
    title, unit, about : str
        For people.
    digits : int
        Behind the point.
    intensity : bool
        Whether it is in the unit of the image.
    """

    id: str
    title: str
    unit: str
    about: str
    digits: int
    value: Callable[[SegmentStatistics], float | None]
    intensity: bool = False

    def text(self, row: SegmentStatistics) -> str:
        """Return the number for people; empty where there is none."""
        value = self.value(row)
        return "" if value is None else f"{value:,.{self.digits}f}"


@dataclass(frozen=True, slots=True, eq=False)
class StatisticsTable:
    """The segments of one image, measured."""

    volume: Volume
    rows: tuple[SegmentStatistics, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """What there is to measure in this image."""
        return columns_of(self.volume)

    def to_csv(self, delimiter: str = ",") -> str:
        """Return a header and a line for each segment, numbers in full."""
        text = io.StringIO()
        out = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        columns = self.columns
        out.writerow(["image", "segment", "label_value", *(column.id for column in columns), "intensity_unit"])
        image = spreadsheet_text(self.volume.name)
        for row in self.rows:
            values = [column.value(row) for column in columns]
            numbers = ["" if value is None else f"{value:.10g}" for value in values]
            unit = spreadsheet_text(self.volume.unit)
            out.writerow([image, spreadsheet_text(row.name), row.segment.value, *numbers, unit])
        return text.getvalue()


def columns_of(volume: Volume) -> tuple[Column, ...]:
    """Return what can be measured in an image: less where k is no direction, or a length is not known."""
    unit = mask_unit(volume)
    size_id = {"ml": "volume_ml", "mm²": "area_mm2", "px": "area_px", "voxels": "volume_voxels"}[unit.name]
    size_title = "Volume" if volume.has_depth else "Area"
    columns = [Column(size_id, size_title, unit.name, unit.about, 2 if volume.in_mm else 0, lambda row: row.size)]
    if unit.name not in ("px", "voxels"):
        columns.append(_of_shape("voxels", "Voxels", "", "Number of voxels", 0, lambda s: s.voxels))
    mean, sd, *others = _intensities()
    return (*columns, mean, sd, *_shapes(volume), *others, *_centroids(volume))


def _of_shape(
    name: str, title: str, unit: str, about: str, digits: int, value: Callable[[ShapeStatistics], float]
) -> Column:
    return Column(name, title, unit, about, digits, lambda row: None if row.shape is None else value(row.shape))


def _intensities() -> list[Column]:
    def column(
        name: str, title: str, about: str, value: Callable[[IntensityStatistics], float], digits: int = 1
    ) -> Column:
        return Column(
            name, title, "", about, digits, lambda row: None if row.intensity is None else value(row.intensity), True
        )

    return [
        column("mean", "Mean", "Mean intensity", lambda s: s.mean),
        column("sd", "SD", "Standard deviation of the intensities", lambda s: s.sd),
        column("minimum", "Min", "Lowest intensity", lambda s: s.minimum),
        *(
            column(f"p{p}", f"P{p}", f"{p} % of the voxels are not brighter", partial(_percentile, n))
            for n, p in enumerate(PERCENTILES)
        ),
        column("maximum", "Max", "Highest intensity", lambda s: s.maximum),
    ]


def _percentile(n: int, found: IntensityStatistics) -> float:
    return found.percentiles[n]


def _centroid(axis: int, found: ShapeStatistics) -> float:
    return found.centroid_lps[axis]


def _shapes(volume: Volume) -> list[Column]:
    length = "mm" if volume.in_mm else "px"
    suffix = "_mm" if volume.in_mm else "_px"
    square = f"{length}²" if volume.in_mm else "px"
    deep, alone = volume.has_depth, volume.geometry.size[2] == 1
    slice_name = "axial slice" if deep else "picture"
    columns = [
        _of_shape(f"longest{suffix}", "Longest", length, f"Longest diameter within one {slice_name} (RECIST)", 1,
                  lambda s: s.longest_mm),
        _of_shape(f"perpendicular{suffix}", "Perpendicular", length,
                  f"Longest line at a right angle to it in the same {slice_name}", 1, lambda s: s.perpendicular_mm),
        _of_shape(f"who{suffix}2", "WHO product", square, "Longest diameter × perpendicular", 0, lambda s: s.who_mm2),
    ]  # fmt: skip
    if deep:
        columns += [
            _of_shape(f"feret{suffix}", "Feret", length, "Largest distance in 3D between two points of the surface", 1,
                      lambda s: s.feret_mm),
            _of_shape(f"surface{suffix}2", "Surface", square, "Area of the surface, from its triangles", 0,
                      lambda s: s.surface_mm2),
            _of_shape("sphericity", "Sphericity", "", "1 for a ball; PyRadiomics, IBSI", 2, lambda s: s.sphericity),
        ]  # fmt: skip
    if deep or alone:
        columns.append(
            _of_shape("elongation", "Elongation", "", "Second main axis by the first: 1 is round; PyRadiomics, IBSI", 2,
                      lambda s: s.elongation)
        )  # fmt: skip
    if deep:
        columns.append(
            _of_shape("flatness", "Flatness", "", "Third main axis by the first: 0 is flat; PyRadiomics, IBSI", 2,
                      lambda s: s.flatness)
        )  # fmt: skip
    return columns


def _centroids(volume: Volume) -> list[Column]:
    length = "mm" if volume.in_mm else "px"
    frame, suffix = ("LPS mm", "_lps_mm") if volume.in_patient else (length, f"_{length}")
    return [
        _of_shape(f"{name}{suffix}", f"Centroid {name}", frame, "Mean of the voxel centres", 1, partial(_centroid, n))
        for n, name in enumerate("xyz" if volume.has_depth else "xy")
    ]


def measure(
    ctx: JobContext, volume: Volume, segments: Sequence[Segment], labels: Mapping[int, LabelCopy]
) -> StatisticsTable:
    """Measure segments, in any thread.

    Parameters
    ----------
    ctx : JobContext
    volume : Volume
    segments : sequence of Segment
    labels : mapping of int to LabelCopy
        By group.
    """
    ctx.progress(0.0, "Finding segments")
    boxes: dict[tuple[int, int], Region] = {}
    for n, (group, copy) in enumerate(labels.items()):
        part = SubContext(ctx, _BOXES * n / len(labels), _BOXES * (n + 1) / len(labels))
        boxes |= {(group, value): box for value, box in label_boxes(copy.get(), part.progress).items()}
    unit = mask_unit(volume)
    # What takes time is the size of the boxes, not their number.
    sizes = [boxes[s.group, s.value].size if (s.group, s.value) in boxes else 0 for s in segments]
    done, whole = 0, max(1, sum(sizes))
    rows = []
    for segment, size in zip(segments, sizes, strict=True):
        ctx.progress(_BOXES + (1 - _BOXES) * done / whole, segment.name)
        rows.append(_measured(volume, segment, labels[segment.group], boxes.get((segment.group, segment.value)), unit))
        done += size
    return StatisticsTable(volume, tuple(rows))


def _measured(
    volume: Volume, segment: Segment, labels: LabelCopy, box: Region | None, unit: MaskUnit
) -> SegmentStatistics:
    if box is None:
        return SegmentStatistics(segment, 0.0)
    mask = labels.get()[box.slices] == segment.value
    # A film or a picture is measured as it is looked at: image by image.
    normal = None if volume.stacking == "place" and min(volume.geometry.size) > 1 else _thin_axis(volume)
    shape = shape_statistics(mask, volume.geometry.cropped(box), normal)
    intensity = intensity_statistics(volume.array[box.slices][mask])
    size = 0.0 if shape is None else shape.voxels * unit.per_voxel
    return SegmentStatistics(segment, size, shape, intensity)


def _thin_axis(volume: Volume) -> int:
    """Return the array axis through the images of a film, or through a single slice."""
    return 0 if volume.stacking != "place" else volume.geometry.shape.index(1)


def statistics_of(
    ctx: JobContext, volume: Volume, segmentation: Segmentation, segments: Sequence[Segment] | None = None
) -> StatisticsTable:
    """Measure segments of a segmentation that nobody changes meanwhile; default all."""
    chosen = segmentation.segments if segments is None else segments
    groups = {segment.group: LabelCopy(segmentation.group(segment.group).labels, owned=True) for segment in chosen}
    return measure(ctx, volume, chosen, groups)


class Statistics:
    """Measures the segments of an open image."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def start(self, volume_id: str, done: Callable[[StatisticsTable], None]) -> Job:
        """Measure the visible segments in a job; `done` gets the table on the main thread."""
        volume = self._app.workspace.volume(volume_id)
        segmentation = self._app.workspace.segmentation(volume_id)
        chosen = tuple(segment for segment in segmentation.segments if segment.visible)
        groups = {s.group: segmentation.group(s.group).copy_labels() for s in chosen}

        def ended(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, "Cannot measure the segments")
            if job.state is JobState.SUCCESS and isinstance(job.result, StatisticsTable):
                done(job.result)

        def work(ctx: JobContext) -> StatisticsTable:
            return measure(ctx, volume, chosen, groups)

        return self._app.jobs.submit("Measuring segments", work, lane="cpu", done=ended)
