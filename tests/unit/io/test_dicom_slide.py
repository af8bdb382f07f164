"""Slides: tiles put together as one picture, and their segmentations laid over it."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import MedViewerError
from medviewer.core.volume import Volume
from medviewer.io.derived import Target
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.dicom_slide import MOST_PIXELS, SLIDES, put_together, slide_grid
from medviewer.io.load_segments import SegmentRequest, read
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import item, write_enhanced

CTX = NullContext()
COLUMNS, ROWS = 11, 7


def cut(whole: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture as tiles, padded at its edges, along rows and then down."""
    rows, columns = whole.shape
    padded = np.pad(whole, ((0, -rows % height), (0, -columns % width)), constant_values=7)
    starts = [(j, i) for j in range(0, rows, height) for i in range(0, columns, width)]
    return np.stack([padded[j : j + height, i : i + width] for j, i in starts])


def slide(path: Path, whole: np.ndarray, **more: object) -> SeriesRef:
    """Write a slide in tiles of 4 x 3, and list it."""
    tiles = cut(whole, 3, 4)
    origin = item(XOffsetInSlideCoordinateSystem=20, YOffsetInSlideCoordinateSystem=30)
    elements = {
        "SOPClassUID": SLIDES, "Modality": "SM", "DimensionOrganizationType": "TILED_FULL",
        "TotalPixelMatrixColumns": COLUMNS, "TotalPixelMatrixRows": ROWS, "TotalPixelMatrixOriginSequence": [origin],
        "ImageOrientationSlide": [0.0, -1, 0, -1, 0, 0],
    }  # fmt: skip
    shared = {"PixelMeasuresSequence": {"PixelSpacing": [0.003, 0.002]}}
    write_enhanced(path, tiles, [None] * len(tiles), shared=shared, **(elements | more))
    (study,) = scan_paths(CTX, [path])
    (series,) = study.series
    return series


def opened(series: SeriesRef) -> Volume:
    return open_series(CTX, series)


@pytest.fixture
def whole() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (ROWS, COLUMNS)).astype(np.uint8)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
def test_tiles_that_were_cut_fit_together_again(height, width, rows, columns):
    picture = np.arange(rows * columns).reshape(rows, columns)
    np.testing.assert_array_equal(put_together(cut(picture, height, width), columns, rows)[0], picture)


def test_a_slide_opens_as_one_picture_in_mm(tmp_path, whole):
    series = slide(tmp_path / "a.dcm", whole)
    assert (series.size, series.stacking, series.volume) == ((COLUMNS, ROWS, 1), "number", True)
    volume = opened(series)
    np.testing.assert_array_equal(volume.array[0], whole)
    assert volume.geometry.spacing[:2] == (0.002, 0.003)
    assert (volume.in_mm, volume.in_patient) == (True, False)
    assert not {w.code for w in volume.warnings} & {"W_TILES", "W_NO_SPACING"}


@pytest.mark.parametrize(
    "more",
    [
        {"DimensionOrganizationType": "TILED_SPARSE"},
        {"TotalPixelMatrixRows": 70},
        {"TotalPixelMatrixColumns": 2 * MOST_PIXELS},
    ],
)
def test_tiles_that_are_not_all_there_or_too_many_stay_tiles_and_say_so(tmp_path, whole, more):
    series = slide(tmp_path / "a.dcm", whole, **more)
    assert series.size == (4, 3, 9)
    assert "W_TILES" in {warning.code for warning in series.warnings}
    np.testing.assert_array_equal(opened(series).array, cut(whole, 3, 4))


def test_a_slide_that_does_not_say_how_large_its_pixels_are_is_counted_in_pixels(tmp_path, whole):
    path = slide(tmp_path / "a.dcm", whole).files[0]
    dataset = pydicom.dcmread(path)
    dataset.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
    dataset.save_as(path)
    (study,) = scan_paths(CTX, [path])
    (series,) = study.series
    volume = opened(series)
    np.testing.assert_array_equal(volume.array[0], whole)
    assert not volume.in_mm
    assert "W_NO_SPACING" in {warning.code for warning in volume.warnings}
    with pytest.raises(MedViewerError) as refusal:
        slide_grid(series)
    assert refusal.value.code == "E_NO_POSITION"


@pytest.mark.parametrize("name", ["control_labelmap", "dots_tiled_full"])
def test_l06_a_segmentation_is_laid_over_its_slide(shared_data, tmp_path, name):
    import highdicom

    with zipfile.ZipFile(shared_data / "dicom" / "highdicom_small.zip") as archive:
        seg, image = (
            Path(archive.extract(f"data/test_files/{file}.dcm", tmp_path))
            for file in (f"seg_image_sm_{name}", "sm_image_control")
        )
    (study,) = scan_paths(CTX, [image])
    (series,) = study.series
    volume = opened(series)
    np.testing.assert_array_equal(volume.colors[0], highdicom.imread(image).get_total_pixel_matrix())
    target = Target(volume.geometry, series.series_instance_uid, "", study.patient_id, series=series)
    found = read(CTX, SegmentRequest(seg, target))
    source = highdicom.seg.segread(seg)
    wanted = source.get_total_pixel_matrix(combine_segments=False)
    for n, number in enumerate(source.segment_numbers):
        for segment in found.segments:
            if segment.value == number:
                np.testing.assert_array_equal(found.layers[segment.layer][0] == number, wanted[..., n] > 0)
    assert found.segments
    # The same picture elsewhere on the slide is another one.
    away = replace(target, series=replace(series, size=(50, 49, 1)))
    with pytest.raises(MedViewerError) as refusal:
        read(CTX, SegmentRequest(seg, away))
    assert refusal.value.code == "E_TILED"
