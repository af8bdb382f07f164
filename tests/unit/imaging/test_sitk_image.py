"""Volume <-> SimpleITK: the same voxels at the same places."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.core.errors import GeometryError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.imaging.sitk_image import from_sitk, is_orthonormal, to_sitk

TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
GEOMETRY = Geometry((4, 3, 2), (0.7, 0.8, 2.5), (10.0, -20.0, 30.0), TURNED)
SHEARED = Geometry((4, 3, 2), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0.3, 0, 0, 0.954))


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32, np.float64, np.uint16])
def test_there_and_back_is_the_same(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    back, geometry = from_sitk(to_sitk(array, GEOMETRY))
    np.testing.assert_array_equal(back, array)
    assert back.dtype == dtype
    assert geometry == GEOMETRY


def test_places_are_those_of_itk():
    image = to_sitk(Volume(np.zeros((2, 3, 4), np.int16), GEOMETRY))
    for ijk in [(0, 0, 0), (3, 2, 1), (1, 0, 1)]:
        assert image.TransformIndexToPhysicalPoint(ijk) == pytest.approx(tuple(GEOMETRY.index_to_lps(ijk)))


def test_voxels_are_a_copy():
    array = np.zeros((2, 3, 4), np.int16)
    image = to_sitk(array, GEOMETRY)
    image.SetPixel(0, 0, 0, 7)
    assert not array.any()


def test_masks_become_bytes():
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 2, 3] = True
    back, _ = from_sitk(to_sitk(mask, GEOMETRY))
    assert back.dtype == np.uint8
    assert back.sum() == back[1, 2, 3] == 1


def test_sheared_grids_are_refused_by_name():
    assert not is_orthonormal(SHEARED)
    with pytest.raises(GeometryError) as refusal:
        to_sitk(np.zeros((2, 3, 4), np.int16), SHEARED)
    assert refusal.value.code == "E_SHEARED"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        to_sitk(np.zeros((2, 3, 5), np.int16), GEOMETRY)
    with pytest.raises(TypeError):
        to_sitk(np.zeros((2, 3, 4), np.int16))


def test_only_three_dimensions():
    import SimpleITK as sitk

    with pytest.raises(ValueError, match="3-D"):
        from_sitk(sitk.Image(4, 4, sitk.sitkInt16))
