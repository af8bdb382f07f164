"""Photographs: decoded exactly, upright, within measure; masks of pictures keep their numbers."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medviewer.core.errors import InputError
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan, scan_paths
from medviewer.io.label_file import read_label_map
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import pixels, write_slice

CTX = NullContext()
ROWS, COLUMNS = 12, 20


def colored(n: int = 0) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)


def opened(path: Path, worker: Any) -> Volume:
    (study,) = scan_paths(CTX, [path])
    (series,) = study.series
    assert (series.kind, series.spacing, series.volume) == ("photo", None, True)
    volume = open_series(CTX, series, worker)
    assert volume.geometry.size == series.size
    assert (volume.in_patient, volume.in_mm, volume.decoder) == (False, False, "pillow")
    return volume


def saved(path: Path, picture: np.ndarray | Image.Image, **options: Any) -> Path:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_colours_are_kept(tmp_path, decode_worker, suffix):
    volume = opened(saved(tmp_path / f"a.{suffix}", colored()), decode_worker)
    np.testing.assert_array_equal(volume.colors[0], colored())
    np.testing.assert_allclose(volume.array[0], colored() @ np.array([0.299, 0.587, 0.114]), atol=0.51)
    assert (volume.stacking, volume.warnings) == ("number", ())


def test_a_jpeg_is_what_pillow_makes_of_it(tmp_path, decode_worker):
    path = saved(tmp_path / "a.jpeg", colored(), quality=90)
    np.testing.assert_array_equal(opened(path, decode_worker).colors[0], np.asarray(Image.open(path)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_grey_values_are_kept(tmp_path, decode_worker, dtype):
    high = 200.0 if dtype is np.float32 else np.iinfo(dtype).max
    grey = np.random.default_rng(1).uniform(0, high, (ROWS, COLUMNS)).astype(dtype)
    volume = opened(saved(tmp_path / "a.tiff", grey), decode_worker)
    assert volume.colors is None
    np.testing.assert_array_equal(volume.array[0], grey)


def test_grey_in_three_channels_is_grey(tmp_path, decode_worker):
    grey = colored()[..., :1]
    volume = opened(saved(tmp_path / "a.png", np.repeat(grey, 3, axis=-1)), decode_worker)
    assert volume.colors is None
    np.testing.assert_array_equal(volume.array[0], grey[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_the_camera_is_turned_upright(tmp_path, decode_worker, orientation, suffix):
    # Four flat fields, so that a JPEG keeps them nearly.
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:8, :16], picture[:8, 16:], picture[8:, :16] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", picture, exif=exif, **({"subsampling": 0} if suffix == "jpg" else {}))
    volume = opened(path, decode_worker)
    turns = {
        1: picture, 2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1], 5: picture.swapaxes(0, 1),
        6: np.rot90(picture, -1), 7: picture[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(picture),
    }  # fmt: skip
    np.testing.assert_allclose(volume.colors[0].astype(int), turns[orientation].astype(int), atol=6)


def test_a_palette_becomes_colours(tmp_path, decode_worker):
    image = Image.fromarray(colored()).quantize(16)
    volume = opened(saved(tmp_path / "a.png", image), decode_worker)
    np.testing.assert_array_equal(volume.colors[0], np.asarray(image.convert("RGB")))


def test_what_is_transparent_is_black_and_said(tmp_path, decode_worker):
    alpha = np.full((ROWS, COLUMNS, 1), 255, np.uint8)
    path = saved(tmp_path / "a.png", np.concatenate([colored(), alpha], axis=-1))
    assert opened(path, decode_worker).warnings == ()
    alpha[:5] = 0
    volume = opened(saved(path, np.concatenate([colored(), alpha], axis=-1)), decode_worker)
    assert [w.code for w in volume.warnings] == ["W_ALPHA"]
    assert not volume.colors[0, :5].any()
    np.testing.assert_array_equal(volume.colors[0, 5:], colored()[5:])


def test_pages_lie_behind_each_other_and_those_of_another_size_are_named(tmp_path, decode_worker):
    pages = [Image.fromarray(colored(n)) for n in range(3)]
    small = pages[0].resize((4, 4))
    path = saved(tmp_path / "a.tif", pages[0], save_all=True, append_images=[small, *pages[1:]])
    volume = opened(path, decode_worker)
    assert [w.code for w in volume.warnings] == ["W_PAGES"]
    assert volume.stacking == "number"
    np.testing.assert_array_equal(volume.colors, np.stack([colored(n) for n in range(3)]))


def test_an_animation_is_a_film(tmp_path, decode_worker):
    frames = [Image.fromarray(np.full((ROWS, COLUMNS), 80 * n, np.uint8)) for n in range(1, 4)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:], duration=[50, 100, 50])
    volume = opened(path, decode_worker)
    assert (volume.stacking, volume.frame_times_ms) == ("time", (0.0, 50.0, 150.0))
    assert volume.array[:, 0, 0].tolist() == [80, 160, 240]


def png_of(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (png_of(60_000, 60_000), {"E_BOMB"}),
        (png_of(13_000, 13_000), {"E_BOMB"}),
        (png_of(70_000, 2), {"E_DIMENSIONS"}),
        (b"no picture at all", {"E_PHOTO"}),
        (b"", {"E_PHOTO"}),
    ],
)
def test_bombs_and_what_is_no_picture_are_refused(tmp_path, data, codes):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        scan_paths(CTX, [path])
    assert refusal.value.code in codes
    assert "a.png" in refusal.value.text
    assert refusal.value.hint


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "bmp"])
def test_a_cut_picture_is_refused(tmp_path, decode_worker, suffix):
    path = saved(tmp_path / f"a.{suffix}", np.tile(colored(), (8, 8, 1)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError) as refusal:
        opened(path, decode_worker)
    assert refusal.value.code == "E_PHOTO"


def test_pictures_beside_dicom_files_are_counted_unless_chosen(tmp_path):
    write_slice(tmp_path / "a.dcm", pixels())
    icon = saved(tmp_path / "icon.png", colored())
    found = scan(CTX, [tmp_path])
    assert [series.kind for study in found.studies for series in study.series] == ["dicom"]
    assert found.skipped == {"pictures beside DICOM files": 1}
    chosen = scan(CTX, [tmp_path / "a.dcm", icon])
    assert [series.kind for study in chosen.studies for series in study.series] == ["dicom", "photo"]


LABELS = np.repeat(np.arange(4, dtype=np.uint8), 60).reshape(ROWS, COLUMNS)


def indexed() -> Image.Image:
    image = Image.fromarray(LABELS)
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    return image


@pytest.mark.parametrize(
    ("name", "image", "colors"),
    [
        ("grey.png", Image.fromarray(LABELS), None),
        ("grey.tif", Image.fromarray(LABELS.astype(np.uint16)), None),
        ("indexed.png", indexed(), [(200, 0, 0), (0, 200, 0), (0, 0, 200)]),
        ("indexed.gif", indexed(), [(200, 0, 0), (0, 200, 0), (0, 0, 200)]),
        ("colours.png", indexed().convert("RGB"), None),
    ],
)
def test_label_maps_are_exact(tmp_path, name, image, colors):
    found = read_label_map(CTX, saved(tmp_path / name, image))
    if name == "colours.png":
        by_color = {segment.color: segment.value for segment in found.segments}
        ours = [by_color[color] for color in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
        np.testing.assert_array_equal(found.layers[0][0], np.array([0, *ours])[LABELS])
        return
    np.testing.assert_array_equal(found.layers[0][0], LABELS)
    assert colors is None or [segment.color for segment in found.segments] == colors


def test_one_bit_and_0_255_masks_are_one_segment(tmp_path):
    for mask in (LABELS > 1, (LABELS > 1).astype(np.uint8) * 255):
        found = read_label_map(CTX, saved(tmp_path / "mole_mask.png", mask))
        assert [segment.name for segment in found.segments] == ["mole_mask"]
        np.testing.assert_array_equal(found.layers[0][0] > 0, LABELS > 1)


def test_a_mask_as_jpeg_needs_a_threshold(tmp_path):
    path = saved(tmp_path / "mask.jpg", np.where(LABELS > 1, 255, 0).astype(np.uint8), quality=30)
    if set(np.unique(np.asarray(Image.open(path)))) <= {0, 255}:
        pytest.skip("compressed without loss by chance")
    with pytest.raises(InputError) as refusal:
        read_label_map(CTX, path)
    assert refusal.value.code == "E_FRACTIONAL"
    np.testing.assert_array_equal(read_label_map(CTX, path, 0.5).layers[0][0], LABELS > 1)


def test_a_photograph_is_no_label_map(tmp_path):
    with pytest.raises(InputError) as refusal:
        read_label_map(
            CTX,
            saved(
                tmp_path / "a.png",
                np.tile(np.arange(300)[:, None, None], (1, 9, 3)).astype(np.uint8) + colored()[:1, :9],
            ),
        )
    assert refusal.value.code == "E_NOT_LABELS"


def test_real_pictures_open(shared_data, decode_worker):
    counts: dict[str, int] = {}
    for study in scan_paths(CTX, [shared_data / "images"]):
        assert study.description == study.series[0].files[0].parent.name
        for series in study.series:
            counts[series.modality] = counts.get(series.modality, 0) + 1
            if study.description in ("fundus_drive", "cxr_nih_boxes"):
                volume = open_series(CTX, series, decode_worker)
                assert (volume.colors is not None) == (series.files[0].suffix == ".tif")
    assert counts == {"": 132, "SEG": 48}


def test_what_the_system_refuses_is_told_in_its_words(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", colored())

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(InputError, match="Permission denied") as caught:
        scan_paths(CTX, [path])
    assert caught.value.code == "E_FILE"
