"""NIfTI files lie where dcm2niix has them, voxel for voxel; and the comparison sees what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.f_phantom import ORIENTATIONS, grid, make_series
from tools.bar import dcm2niix

pytestmark = pytest.mark.skipif(not dcm2niix.is_there(), reason="dcm2niix is not installed")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_G16_nifti_lies_where_dcm2niix_has_it(tmp_path: Path, orientation: str) -> None:
    geometry = grid(orientation)
    volume = make_series(tmp_path, geometry)
    apart = dcm2niix.compare(volume, volume.series.files)
    assert apart is not None
    assert apart.mm <= 0.01
    assert apart.voxels == 0


def test_a_shift_a_flip_and_a_wrong_voxel_are_seen(tmp_path: Path) -> None:
    volume = make_series(tmp_path, grid("oblique"))
    files = volume.series.files
    shifted = replace(volume.geometry, origin=(volume.geometry.origin[0] + 0.3, *volume.geometry.origin[1:]))
    assert dcm2niix.compare(replace(volume, geometry=shifted), files).mm == pytest.approx(0.3, abs=1e-3)
    assert dcm2niix.compare(replace(volume, array=volume.array[:, ::-1]), files).voxels > 500
    other = volume.array.copy()
    other[3, 2, 1] += 1
    assert dcm2niix.compare(replace(volume, array=other), files).voxels == 1


def test_what_is_resampled_there_is_not_compared(tmp_path: Path) -> None:
    tilt = np.radians(18.5)
    direction = (1.0, 0, 0, 0, float(np.cos(tilt)), 0, 0, float(-np.sin(tilt)), 1.0)
    volume = make_series(tmp_path, replace(grid("oblique"), direction=direction))
    assert dcm2niix.compare(volume, volume.series.files) is None
