"""A volume at another point of its time axis, or in another unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.core.suv import BQML, SUV_BW, Suv
from medviewer.core.view_state import WindowLevel
from medviewer.core.volume import TimeAxis, Volume
from medviewer.phantoms import spheres_volume


def _pet() -> Volume:
    volume = spheres_volume().volume
    arrays = tuple(np.full(volume.array.shape, 1000.0 * (n + 1), np.float32) for n in range(3))
    time = TimeAxis("time point", ("1", "2", "3"), arrays)
    suv = Suv({BQML: 1.0, SUV_BW: 0.001})
    return replace(volume, array=arrays[0], unit=BQML, time=time, suv=suv, modality="PT", window=(1000.0, 2000.0))


def test_another_point_keeps_the_masks_and_the_id(make_app: Callable[[], AppContext]) -> None:
    app, volume = make_app(), _pet()
    app.workspace.add_volume(volume)
    segmentation = app.workspace.segmentation(volume.id)
    app.volumes.show_time(volume.id, 2)
    assert float(app.workspace.volume(volume.id).array[0, 0, 0]) == 3000.0
    app.volumes.show_time(volume.id, 99)
    app.volumes.show_time(volume.id, -1)
    assert float(app.workspace.volume(volume.id).array[0, 0, 0]) == 1000.0
    assert app.workspace.segmentation(volume.id) is segmentation


def test_another_unit_takes_the_window_along_and_stays_at_the_point(
    make_app: Callable[[], AppContext], pump: Any
) -> None:
    app, volume = make_app(), _pet()
    app.workspace.add_volume(volume)
    app.workspace.activate(volume.id)
    app.workspace.view.window = WindowLevel(4000.0, 6000.0)
    job = app.volumes.show_unit(volume.id, SUV_BW)
    app.volumes.show_time(volume.id, 1)
    shutter = np.zeros(volume.array.shape[1:], bool)
    app.workspace.replace_volume(replace(app.workspace.volume(volume.id), shutter=shutter))
    pump.finish(job)
    shown = app.workspace.volume(volume.id)
    assert shown.unit == SUV_BW
    assert shown.shutter is shutter, "applied meanwhile"
    assert float(shown.array[0, 0, 0]) == pytest.approx(2.0)
    assert app.workspace.view.window == WindowLevel(pytest.approx(4.0), pytest.approx(6.0))
    assert app.volumes.show_unit(volume.id, SUV_BW) is None
