"""A PET volume in another unit."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.suv import BQML, SUV_BSA, SUV_BW, SUV_LBM, Suv
from medviewer.core.volume import TimeAxis, Volume
from medviewer.imaging.units import volume_in_unit

GRID = Geometry((4, 3, 2), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))
SUV = Suv({BQML: 1.0, SUV_BW: 0.002, SUV_LBM: 0.0015}, {SUV_BSA: "PatientSize is missing"})


def _volume(**values: object) -> Volume:
    array = np.random.default_rng(3).uniform(0, 9000, GRID.shape).astype(np.float32)
    return Volume(array, GRID, "PET", "PT", BQML, window=(4000.0, 8000.0), padding=-10.0, suv=SUV, **values)


def test_values_window_and_padding_go_into_the_other_unit_and_back() -> None:
    volume = _volume()
    shown = volume_in_unit(volume, SUV_LBM)
    assert shown.id == volume.id
    assert shown.geometry is volume.geometry
    assert shown.unit == SUV_LBM
    assert shown.window == pytest.approx((6.0, 12.0))
    assert shown.padding == pytest.approx(-0.015)
    np.testing.assert_allclose(shown.array, volume.array * 0.0015, rtol=1e-6)
    back = volume_in_unit(volume_in_unit(shown, SUV_BW), BQML)
    np.testing.assert_allclose(back.array, volume.array, rtol=1e-6)
    assert not back.array.flags.writeable


def test_every_point_of_a_time_axis_goes_along() -> None:
    arrays = tuple(np.full(GRID.shape, n, np.float32) for n in (1000, 2000, 3000))
    volume = _volume(time=TimeAxis("time", ("a", "b", "c"), arrays, 2)).at_time(2)
    shown = volume_in_unit(volume, SUV_BW)
    assert shown.time is not None
    assert shown.time.index == 2
    assert [float(a[0, 0, 0]) for a in shown.time.arrays] == pytest.approx([2.0, 4.0, 6.0])
    assert float(shown.array[0, 0, 0]) == pytest.approx(6.0)


def test_a_unit_that_is_not_known_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="PatientSize is missing") as refused:
        volume_in_unit(_volume(), SUV_BSA)
    assert refused.value.code == "E_UNIT"


def test_the_same_unit_is_the_same_volume() -> None:
    volume = _volume()
    assert volume_in_unit(volume, BQML) is volume
