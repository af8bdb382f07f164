"""Sizes of masks claim no more than the image allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medviewer.app.mask_size import mask_unit
from medviewer.phantoms import spheres_volume
from tests.picture_volumes import film, photo


def test_a_volume_is_measured_in_ml() -> None:
    volume = spheres_volume().volume
    unit = mask_unit(volume)
    assert (unit.name, unit.per_voxel) == ("ml", pytest.approx(volume.geometry.voxel_volume_mm3 / 1000))
    assert mask_unit(replace(volume, in_mm=False)).name == "voxels"


def test_pictures_and_films_have_areas_or_pixels() -> None:
    assert (mask_unit(photo()).name, mask_unit(photo()).per_voxel) == ("px", 1.0)
    assert "all frames" in mask_unit(film()).about
    assert "all frames" not in mask_unit(photo()).about
    measured = mask_unit(film(in_mm=True))
    assert (measured.name, measured.per_voxel) == ("mm²", 0.25)
