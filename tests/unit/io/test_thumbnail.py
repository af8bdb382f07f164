"""Pictures of series: upright whatever the order of the voxels, from one file of many."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.thumbnail import SIZE, png, series_thumbnail, thumbnail
from medviewer.jobs.job import NullContext
from tests.dicom_makers import write_slice

CTX = NullContext()


def pixels(data: bytes) -> np.ndarray:
    sitk = pytest.importorskip("SimpleITK")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(data)
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (96, 50), (1, 1, 3), (7, 5, 3)])
def test_a_png_reads_back(shape: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(pixels(png(grey)), grey)


def axial(flips: tuple[bool, bool], swap: bool) -> Volume:
    """A slice that is bright where the patient's right front is, with voxels in any order."""
    array = np.zeros((1, 20, 30), np.int16)
    array[0, :10, :15] = 1000
    axes = [np.array([1.0, 0, 0]), np.array([0, 1.0, 0])]
    spacing = [1.0, 1.0]
    for n, flip in enumerate(flips):
        if flip:
            axes[n] = -axes[n]
            array = np.flip(array, 2 - n)
    if swap:
        array, axes, spacing = array.transpose(0, 2, 1), axes[::-1], spacing[::-1]
    direction = np.column_stack([*axes, np.array([0, 0, 1.0])])
    k, j, i = array.shape
    geometry = Geometry((i, j, k), (*spacing, 1.0), (0.0, 0.0, 0.0), tuple(direction.ravel()))
    return Volume(np.ascontiguousarray(array), geometry, window=(500.0, 1000.0))


@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("swap", [False, True])
def test_a_picture_is_upright(flips: tuple[bool, bool], swap: bool) -> None:
    picture = pixels(thumbnail(axial(flips, swap)))
    assert picture.shape == (64, SIZE)
    assert picture[:30, :46].min() == 255
    assert picture[34:].max() == 0
    assert picture[:, 50:].max() == 0


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_heads_are_up(plane: str) -> None:
    array = np.zeros((1, 10, 10), np.int16)
    array[0, 5:] = 1000
    across = np.array([1.0, 0, 0]) if plane == "coronal" else np.array([0, 1.0, 0])
    up = np.array([0, 0, 1.0])
    direction = np.column_stack([across, up, np.cross(across, up)])
    volume = Volume(array, Geometry((10, 10, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(direction.ravel())))
    picture = pixels(thumbnail(volume))
    assert picture[:40].min() > picture[60:].max()


def test_odd_values_make_a_picture() -> None:
    array = np.full((1, 5, 7), np.nan, np.float32)
    volume = Volume(array, Geometry((7, 5, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    assert pixels(thumbnail(volume)).size
    array = np.array([[[1.0, np.inf], [-np.inf, 2.0]]], np.float32)
    volume = Volume(array, Geometry((2, 2, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), inverted=True, padding=1.0)
    assert pixels(thumbnail(volume)).shape == (SIZE, SIZE)


def test_only_the_middle_file_is_read(make_series) -> None:
    files = make_series(7)
    (study,) = scan_paths(CTX, [files[0].parent])
    (series,) = study.series
    middle = series.files[len(series.files) // 2]
    for path in files:
        if path != middle:
            path.unlink()
    assert pixels(series_thumbnail(CTX, series, None)).shape[0] <= SIZE


def test_what_has_no_picture_says_so(make_series) -> None:
    files = make_series(1)
    (study,) = scan_paths(CTX, [files[0].parent])
    from dataclasses import replace

    for series in (replace(study.series[0], kind="sr"), replace(study.series[0], files=())):
        with pytest.raises(InputError):
            series_thumbnail(CTX, series, None)


def test_a_film_shows_its_middle_frame_in_colour(tmp_path: Path) -> None:
    film = np.zeros((5, 20, 30, 3), np.uint8)
    film[2, :, :15], film[2, :, 15:] = (200, 10, 20), (0, 0, 250)
    path = write_slice(
        tmp_path / "a.dcm", film, Rows=20, Columns=30, NumberOfFrames=5, SamplesPerPixel=3, Modality="US",
        PhotometricInterpretation="RGB", PlanarConfiguration=0, ImagePositionPatient=None,
    )  # fmt: skip
    (study,) = scan_paths(CTX, [path])
    picture = pixels(series_thumbnail(CTX, study.series[0], None))
    # PixelSpacing makes pixels taller than wide.
    assert picture.shape == (round(SIZE * 20 * 0.7 / (30 * 0.8)), SIZE, 3)
    assert picture[10, 10].tolist() == [200, 10, 20]
    assert picture[10, 90].tolist() == [0, 0, 250]
