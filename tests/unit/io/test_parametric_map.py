"""Parametric maps, written by highdicom."""

from __future__ import annotations

from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.uid import RLELossless, generate_uid

from medviewer.core.errors import InputError
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import pixels, write_slice

CTX = NullContext()
ADC = highdicom.sr.CodedConcept("113041", "DCM", "Apparent Diffusion Coefficient")
UNIT = highdicom.sr.CodedConcept("um2/s", "UCUM", "um2/s")
SIZE = (4, 32, 40)


@pytest.fixture
def sources(tmp_path):
    """Four slices; the map's frames are in the opposite order."""
    paths = [
        write_slice(
            tmp_path / "ct" / f"{n}.dcm", pixels(n), (0.0, 0.0, 3.0 * n), StudyTime="100000", PatientBirthDate="",
            PatientSex="O", AccessionNumber="", StudyID="", ReferringPhysicianName="", InstanceNumber=n + 1,
        )
        for n in (3, 2, 1, 0)
    ]  # fmt: skip
    return [pydicom.dcmread(path) for path in paths]


@pytest.fixture
def open_map(sources, tmp_path, decode_worker):
    """Write a map of (frames, rows, columns) and open it; `edit` changes the data set first."""

    def make(array, *, slope=1.0, intercept=0.0, table=None, edit=None, mapping: Any = None, **options):
        whole = array.dtype.kind in "iu"
        low, high = (0, 2000) if whole else (-1e6, 1e6)
        how = {"lut_data": table} if table is not None else {"slope": slope, "intercept": intercept}
        mapping = mapping or RealWorldValueMapping(
            "map", "explained", UNIT, (low, high) if table is None else (10, 10 + len(table) - 1),
            quantity_definition=ADC, **how,
        )  # fmt: skip
        made = ParametricMap(
            sources, array, generate_uid(), 7, generate_uid(), 1, "maker", "model", "1", "0", False, [mapping],
            **({} if options.get("voi_lut_transformations") else {"window_center": 10.0, "window_width": 20.0}),
            **options,
        )  # fmt: skip
        if edit is not None:
            edit(made)
        made.save_as(tmp_path / "map.dcm")
        (study,) = scan_paths(CTX, [tmp_path / "map.dcm"])
        (series,) = study.series
        assert series.kind == "parametric_map"
        assert series.volume
        return open_series(CTX, series, decode_worker)

    return make


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.uint8])
def test_G26_real_world_values_in_their_places(open_map, dtype) -> None:
    array = np.random.default_rng(1).uniform(0, 200, SIZE).astype(dtype)
    volume = open_map(array, slope=0.5, intercept=-3.0)
    assert volume.array.dtype == np.float32
    assert not volume.warnings
    # The first frame lies at 9 mm.
    np.testing.assert_allclose(volume.array, array[::-1].astype(np.float64) * 0.5 - 3.0, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(volume.geometry.index_to_lps((2, 1, 3)), (1.6, 0.7, 9.0))
    assert volume.geometry.size == (40, 32, 4)
    assert ADC.meaning in volume.name
    assert volume.unit == "um2/s"


def test_G26_a_table_of_values(open_map) -> None:
    array = np.random.default_rng(1).integers(10, 30, SIZE).astype(np.uint8)
    table = [0.25 * n * n for n in range(20)]
    volume = open_map(array, table=table)
    np.testing.assert_allclose(volume.array, np.array(table)[array[::-1] - 10])


def test_G26_compressed_maps_equal_their_source(open_map) -> None:
    array = np.random.default_rng(1).integers(0, 200, SIZE).astype(np.uint16)
    volume = open_map(array, transfer_syntax_uid=RLELossless)
    np.testing.assert_array_equal(volume.array, array[::-1])


def test_G26_values_that_are_no_numbers_count_as_outside(open_map) -> None:
    array = np.ones(SIZE, np.float32)
    array[1, 2, 3] = np.nan
    volume = open_map(array)
    assert [w.code for w in volume.warnings] == ["W_NOT_FINITE"]
    assert np.isfinite(volume.array).all()


def test_G26_a_map_without_a_mapping_says_so(open_map) -> None:
    def without(dataset) -> None:
        for item in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
            item.pop("RealWorldValueMappingSequence", None)

    array = np.random.default_rng(1).uniform(0, 200, SIZE).astype(np.float32)
    volume = open_map(array, edit=without)
    assert [w.code for w in volume.warnings] == ["W_NO_MAPPING"]
    np.testing.assert_array_equal(volume.array, array[::-1])


def test_G26_several_values_at_one_place_are_refused(open_map) -> None:
    def same_place(dataset) -> None:
        for item in dataset.PerFrameFunctionalGroupsSequence[:2]:
            item.PlanePositionSequence[0].ImagePositionPatient = [0.0, 0.0, 3.0]

    with pytest.raises(InputError) as refused:
        open_map(np.ones(SIZE, np.float32), edit=same_place)
    assert refused.value.code == "E_SEVERAL_MAPS"


def test_G26_frames_that_are_no_grid_are_refused(open_map) -> None:
    def moved(dataset) -> None:
        dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [0.0, 0.0, 40.0]

    with pytest.raises(InputError) as refused:
        open_map(np.ones(SIZE, np.float32), edit=moved)
    assert refused.value.code == "E_UNEVEN_SPACING"


def test_G26_a_short_map_is_refused(open_map) -> None:
    def cut(dataset) -> None:
        dataset.FloatPixelData = dataset.FloatPixelData[:-100]

    with pytest.raises(InputError) as refused:
        open_map(np.ones(SIZE, np.float32), edit=cut)
    assert refused.value.code == "E_CODEC"
    assert "map.dcm" in refused.value.text


def test_every_voxel_lies_where_highdicom_has_it(open_map) -> None:
    array = np.random.default_rng(1).uniform(0, 200, SIZE).astype(np.float32)
    volume = open_map(array)
    other = highdicom.imread(volume.series.files[0]).get_volume()
    indices = np.argwhere(np.ones(other.array.shape, bool))
    ijk = np.rint(volume.geometry.lps_to_index(other.map_indices_to_reference(indices))).astype(int)
    np.testing.assert_allclose(volume.array[ijk[:, 2], ijk[:, 1], ijk[:, 0]], other.array[tuple(indices.T)], rtol=1e-6)
