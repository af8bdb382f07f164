"""The statistics of segments: what is measured where, the job, CSV, Python."""

from __future__ import annotations

import csv
import threading
from dataclasses import replace

import numpy as np
import pytest

import medviewer as mv
from medviewer.app.context import AppContext
from medviewer.app.statistics import StatisticsTable, columns_of, statistics_of
from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.jobs.job import JobCancelled, NullContext
from tests.picture_volumes import film
from tests.unit.app.conftest import Pump


def two_boxes() -> tuple[Volume, Segmentation]:
    geometry = Geometry((20, 16, 12), (1.0, 2.0, 3.0))
    array = np.zeros(geometry.shape, np.int16)
    volume = Volume(array, geometry, name="=Boxes", modality="CT", unit="HU")
    segmentation = Segmentation(geometry, volume.id)
    for value, group in ((1, 0), (2, 1)):
        segmentation.put_group(segmentation.new_group())
        segmentation.group(group).labels[2 : 2 + 4 * value, 3:8, 4:10] = value
        segmentation.put_segment(Segment(value, f"box {value}", group=group))
    segmentation.put_segment(Segment(3, "nothing", group=0))
    array[2:6, 3:8, 4:10] = 100
    return Volume(array, geometry, name="=Boxes", modality="CT", unit="HU"), segmentation


def test_segments_of_all_groups_are_measured_and_empty_ones_are_empty() -> None:
    volume, segmentation = two_boxes()
    one, two, nothing = statistics_of(NullContext(), volume, segmentation).rows
    assert one.size == pytest.approx(4 * 5 * 6 * 6 / 1000)
    assert two.size == pytest.approx(2 * one.size)
    assert one.shape is not None
    assert one.shape.centroid_lps == pytest.approx((6.5, 10.0, 10.5))
    assert one.intensity is not None
    assert two.intensity is not None
    assert (one.intensity.mean, one.intensity.sd) == (100, 0)
    assert (two.intensity.mean, two.intensity.sd) == (50, 50)
    assert (nothing.size, nothing.shape, nothing.intensity) == (0, None, None)


def test_csv_has_a_line_for_each_and_no_formula() -> None:
    volume, segmentation = two_boxes()
    table = statistics_of(NullContext(), volume, segmentation)
    lines = list(csv.DictReader(table.to_csv().splitlines()))
    assert [line["segment"] for line in lines] == ["box 1", "box 2", "nothing"]
    assert lines[0]["image"] == "'=Boxes"
    assert float(lines[0]["volume_ml"]) == pytest.approx(0.72)
    assert lines[0]["voxels"] == "120"
    assert lines[2]["feret_mm"] == ""
    assert float(lines[0]["who_mm2"]) == pytest.approx(
        float(lines[0]["longest_mm"]) * float(lines[0]["perpendicular_mm"])
    )
    assert [line["intensity_unit"] for line in lines] == ["HU"] * 3
    unknown = StatisticsTable(replace(volume, unit=""), table.rows)
    assert {line["intensity_unit"] for line in csv.DictReader(unknown.to_csv().splitlines())} == {""}
    assert table.to_csv("\t").count("\t") == table.to_csv().count(",")


@pytest.mark.parametrize("in_mm", [True, False])
def test_a_film_is_measured_frame_by_frame_in_its_unit(in_mm: bool) -> None:
    volume = replace(film(), in_mm=in_mm)
    ids = {column.id for column in columns_of(volume)}
    assert not ids & {"volume_ml", "surface_mm2", "sphericity", "flatness", "feret_mm", "z_lps_mm"}
    assert ("longest_mm" in ids, "longest_px" in ids, "area_mm2" in ids, "area_px" in ids) == (
        in_mm, not in_mm, in_mm, not in_mm,
    )  # fmt: skip
    segmentation = Segmentation(volume.geometry, volume.id)
    segmentation.put_group(segmentation.new_group())
    segmentation.put_segment(Segment(1, "spot"))
    labels = segmentation.group(0).labels
    labels[0, 2:4, 2:4] = labels[1, 2:4, 2:9] = 1
    (row,) = statistics_of(NullContext(), volume, segmentation).rows
    assert row.shape is not None
    assert row.shape.slice_index == 1
    i_mm = volume.geometry.spacing[0]
    assert row.shape.longest_mm == pytest.approx(np.hypot(7, 1) * i_mm, rel=0.02)
    assert all(column.text(row) for column in columns_of(volume))


def test_the_job_measures_what_is_shown_as_it_was_when_it_was_asked(
    app: AppContext, pump: Pump, opened: Volume
) -> None:
    one, two = app.segments.add(opened.id, "one"), app.segments.add(opened.id, "two")
    app.segments.show(opened.id, two.value, False)
    editor = LabelEditor(app.workspace, app.history, opened.id)

    def paint(box: Region) -> None:
        with editor.stroke("Paint", one.value) as stroke:
            stroke.paint(box, np.ones(box.shape, bool))

    paint(Region((2, 2, 2), (4, 5, 6)))
    got: list[StatisticsTable] = []
    held = threading.Event()
    app.jobs.submit("Busy", lambda ctx: held.wait(20), lane="cpu")
    app.jobs.submit("Busy too", lambda ctx: held.wait(20), lane="cpu")
    job = app.statistics.start(opened.id, got.append)
    paint(Region((8, 8, 8), (9, 9, 9)))  # while it waits
    held.set()
    pump.finish(job)
    ((row,),) = [table.rows for table in got]
    assert (row.segment.value, row.shape.voxels if row.shape else 0) == (one.value, 2 * 3 * 4)


def test_it_can_be_cancelled_at_every_step() -> None:
    volume, segmentation = two_boxes()

    class Until(NullContext):
        """Cancelled after so many reports."""

        def __init__(self, last: int) -> None:
            super().__init__()
            self.last, self.calls = last, 0

        def progress(self, fraction: float | None, text: str = "") -> None:
            assert fraction is not None
            assert 0 <= fraction <= 1
            self.calls += 1
            if self.calls > self.last:
                raise JobCancelled

    free = Until(1000)
    statistics_of(free, volume, segmentation)
    assert free.calls >= 3
    for last in range(free.calls):
        with pytest.raises(JobCancelled):
            statistics_of(Until(last), volume, segmentation)


def test_from_python() -> None:
    volume, _ = two_boxes()
    workspace = Workspace()
    with pytest.raises(mv.MedViewerError):
        mv.statistics(workspace)
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    segmentation.put_group(segmentation.new_group())
    segmentation.put_segment(Segment(1, "one"))
    segmentation.group(0).labels[1, 2, 3] = 1
    seen: list[float | None] = []
    table = mv.statistics(workspace, progress=lambda fraction, text: seen.append(fraction))
    assert [(row.name, row.shape.voxels) for row in table.rows if row.shape] == [("one", 1)]
    assert seen
