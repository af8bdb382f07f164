"""Stacks on one grid as one volume with a time axis: labels, order, reading, saving, exporting."""

from __future__ import annotations

import shutil

import numpy as np
import psutil
import pytest

from medviewer.app.documents import load_workspace, save_workspace
from medviewer.app.headless import open_at
from medviewer.core.errors import InputError, OutOfMemory
from medviewer.core.serial import series_from_json, series_to_json
from medviewer.core.workspace import Workspace
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import pixels, write_slice

CTX = NullContext()
SLICES = 4


@pytest.fixture
def points(tmp_path):
    """Write `count` points of 4 slices; `each(point)` gives elements. Returns the listed series."""

    def make(count, each, **elements):
        shutil.rmtree(tmp_path / "series", ignore_errors=True)
        for n in range(count * SLICES):
            point, k = divmod(n, SLICES)
            own = {"InstanceNumber": n + 1, "Modality": "MR", **elements, **each(point)}
            write_slice(tmp_path / "series" / f"{n:03d}.dcm", pixels(n), (0.0, 0.0, 3.0 * k), **own)
        (study,) = scan_paths(CTX, [tmp_path / "series"])
        return study.series

    return make


def arrays_of(order):
    """Return the expected arrays of points in the order in which they were written."""
    return [[pixels(point * SLICES + k) - 1024 for k in range(SLICES)] for point in order]


def test_numbers_are_in_order_and_have_units(points) -> None:
    echoes = [30.0, 4.5, 100.0]
    (series,) = points(3, lambda p: {"EchoTime": echoes[p]})
    assert series.time_labels == ("TE 4.5 ms", "TE 30 ms", "TE 100 ms")
    assert series.time_name == "echo time"
    assert series.size == (40, 32, SLICES)
    volume = open_series(CTX, series)
    np.testing.assert_array_equal(volume.time.arrays, arrays_of([1, 0, 2]))
    np.testing.assert_array_equal(volume.at_time(2).array, arrays_of([2])[0])
    assert not volume.time.arrays[1].flags.writeable


def test_an_echo_says_its_echo_time(points) -> None:
    (series,) = points(2, lambda p: {"EchoNumbers": p + 1, "EchoTime": 20.0 * (p + 1)})
    assert series.time_labels == ("echo 1, TE 20 ms", "echo 2, TE 40 ms")


def test_points_in_time_say_the_seconds(points) -> None:
    (series,) = points(3, lambda p: {
        "TemporalPositionIdentifier": p + 1, "AcquisitionDate": "20260102",
        "AcquisitionTime": ["235958.00", "235959.50", "000001.00"][p] if p < 2 else "235959.90",
    })  # fmt: skip
    assert series.time_labels == ("time point 1, t = 0 s", "time point 2, t = 1.5 s", "time point 3, t = 1.9 s")
    (series,) = points(2, lambda p: {"AcquisitionDate": "20260102", "AcquisitionTime": f"1000{p}0"})
    assert series.time_labels == ("t = 0 s", "t = 10 s")
    midnight = [("20260102", "235959.00"), ("20260103", "000001.50")]
    (series,) = points(2, lambda p: {"AcquisitionDate": midnight[p][0], "AcquisitionTime": midnight[p][1]})
    assert series.time_labels == ("t = 0 s", "t = 2.5 s")
    (series,) = points(2, lambda p: {"FrameReferenceTime": 1500.0 * p, "AcquisitionTime": "100000"})
    assert series.time_labels == ("t = 0 s", "t = 1.5 s")
    (series,) = points(2, lambda p: {"TriggerTime": 40 * p, "FrameReferenceTime": 0, "AcquisitionTime": "100000"})
    assert series.time_labels == ("trigger 0 ms", "trigger 40 ms")


def test_b_values_and_their_directions_are_one_axis(points) -> None:
    """The picture without diffusion has no direction and comes first."""
    directions = [None, [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]
    (series,) = points(3, lambda p: {
        "DiffusionBValue": 800.0 if p else 0.0, "DiffusionGradientOrientation": directions[p]
    })  # fmt: skip
    assert series.time_labels == (
        "b = 0 s/mm²", "b = 800 s/mm², direction (1.00, 0.00, 0.00)", "b = 800 s/mm², direction (0.00, 0.60, 0.80)",
    )  # fmt: skip
    assert series.time_name == "b-value and direction"
    np.testing.assert_array_equal(open_series(CTX, series).time.arrays, arrays_of([0, 1, 2]))


def test_magnitude_and_phase_have_an_axis_each(points) -> None:
    found = points(4, lambda p: {"EchoTime": 10.0 * (p // 2 + 1), "ImageType": ["ORIGINAL", "PRIMARY", "MP"[p % 2]]})
    assert [series.time_labels for series in found] == [("TE 10 ms", "TE 20 ms")] * 2
    assert {series.description for series in found} == {
        "Test [image type M]", "Test [image type P]"
    }  # fmt: skip
    for series in found:
        first = "MP".index(series.description[-2])
        np.testing.assert_array_equal(open_series(CTX, series).time.arrays, arrays_of([first, first + 2]))


def test_phases_of_a_heart_have_other_times_at_every_place(tmp_path) -> None:
    """Times at a place rise with the phase, and no time is that of another place; the files are in any order."""
    order = np.random.default_rng(0).permutation(5 * SLICES)
    for n in order.tolist():
        phase, k = divmod(n, SLICES)
        write_slice(
            tmp_path / f"{order[n]:03d}.dcm", pixels(n), (0.0, 0.0, 3.0 * k), Modality="MR", InstanceNumber=n + 1,
            TriggerTime=40.0 * phase * (1 + 0.1 * k) + k,
        )  # fmt: skip
    (study,) = scan_paths(CTX, [tmp_path])
    (series,) = study.series
    assert series.time_labels == ("phase 1", "phase 2", "phase 3", "phase 4", "phase 5")
    assert not series.warnings
    np.testing.assert_array_equal(open_series(CTX, series).time.arrays, arrays_of(range(5)))


def test_a_place_imaged_once_more_is_no_phase(tmp_path) -> None:
    for n, (z, time) in enumerate([(0, 1.0), (0, 50.0), (3, 2.0), (3, 60.0), (6, 3.0), (6, 70.0), (6, 140.0)]):
        write_slice(tmp_path / f"{n}.dcm", pixels(n), (0.0, 0.0, float(z)), InstanceNumber=n + 1, TriggerTime=time)
    (study,) = scan_paths(CTX, [tmp_path])
    assert all("W_AMBIGUOUS" in {w.code for w in series.warnings} for series in study.series)


def test_the_first_point_is_shown_before_the_others_are_read(points) -> None:
    (series,) = points(30, lambda p: {"TemporalPositionIdentifier": p + 1})
    shown, filled = [], []
    volume = open_series(CTX, series, on_first=lambda v: shown.append((v, v.array.any(axis=(1, 2)).tolist())),
                         on_filled=filled.append)  # fmt: skip
    assert shown[0][0] is volume
    assert shown[0][1] == [False, False, True, False]
    assert sorted(k for region in filled for k in range(region.lower[0], region.upper[0])) == list(range(SLICES))
    np.testing.assert_array_equal(volume.time.arrays, arrays_of(range(30)))


def test_memory_is_checked_for_all_points(points, monkeypatch) -> None:
    (series,) = points(5, lambda p: {"TemporalPositionIdentifier": p + 1})
    whole = 5 * SLICES * 32 * 40 * 2
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(available=whole - 1))
    with pytest.raises(OutOfMemory):
        open_series(CTX, series)


def test_a_point_is_chosen_by_its_number(points, decode_worker) -> None:
    (series,) = points(3, lambda p: {"TemporalPositionIdentifier": p + 1})
    volume = open_at(CTX, series, 2, decode_worker)
    assert volume.time.text == "time point 3 (3 of 3)"
    np.testing.assert_array_equal(volume.array, arrays_of([2])[0])
    for wrong in (3, -1):
        with pytest.raises(InputError, match="3 points") as refused:
            open_at(CTX, series, wrong, decode_worker)
        assert refused.value.code == "E_TIME"
    with pytest.raises(InputError, match="no time axis"):
        open_at(CTX, series.at_time(1), 1, decode_worker)


def test_the_series_of_one_point(points) -> None:
    (series,) = points(3, lambda p: {"TemporalPositionIdentifier": p + 1})
    assert series_from_json(series_to_json(series)) == series
    alone = open_series(CTX, series.at_time(1))
    assert alone.time is None
    np.testing.assert_array_equal(alone.array, arrays_of([1])[0])


def test_a_saved_workspace_reopens_at_its_point(points, tmp_path) -> None:
    (series,) = points(3, lambda p: {"TemporalPositionIdentifier": p + 1})
    workspace = Workspace()
    workspace.add_volume(open_series(CTX, series).at_time(1))
    save_workspace(tmp_path / "a.mvw", workspace, {})
    (volume,) = load_workspace(CTX, tmp_path / "a.mvw").volumes
    assert volume.time.index == 1
    np.testing.assert_array_equal(volume.array, arrays_of([1])[0])


def test_files_that_do_not_go_together_are_refused(points) -> None:
    from dataclasses import replace

    (series,) = points(3, lambda p: {"TemporalPositionIdentifier": p + 1})
    with pytest.raises(InputError) as refused:
        open_series(CTX, replace(series, files=series.files[:-1]))
    assert refused.value.code == "E_CHANGED"
