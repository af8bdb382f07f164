"""Pictures, films and photographs: masks painted on them are saved, exported and read back like any others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import UltrasoundMultiFrameImageStorage

from medviewer.app.context import AppContext
from medviewer.app.tool_router import PointerEvent
from medviewer.core.errors import ExportError
from medviewer.core.volume import Volume
from medviewer.export.case import cases_of
from medviewer.export.exporter import run_export
from medviewer.export.formats.nnunet import NnunetOptions
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import write_slice

CTX = NullContext()
ROWS, COLUMNS, FRAMES = 30, 40, 4


def write_film(folder: Path) -> Path:
    """Write an ultrasound film in colour, without a place and without a pixel size."""
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, ROWS, COLUMNS, 3), dtype=np.uint8)
    return write_slice(
        folder / "film.dcm", frames, Rows=ROWS, Columns=COLUMNS, NumberOfFrames=FRAMES, SamplesPerPixel=3,
        PhotometricInterpretation="RGB", PlanarConfiguration=0, Modality="US", FrameTime=40.0,
        SOPClassUID=UltrasoundMultiFrameImageStorage, ImagePositionPatient=None, ImageOrientationPatient=None,
        PixelSpacing=None, FrameOfReferenceUID=None, RescaleSlope=None, RescaleIntercept=None,
    )  # fmt: skip


def write_photo(folder: Path) -> Path:
    picture = np.random.default_rng(1).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / "mole.png")
    return folder / "mole.png"


WRITERS = {"film": write_film, "photo": write_photo}


def shown(app: AppContext, pump: Any, path: Path) -> Volume:
    job = pump.finish(app.studies.scan([path], open_best=True))
    assert job.error is None
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    assert app.workspace.active is not None
    return app.workspace.active


def paint(app: AppContext, volume: Volume) -> np.ndarray:
    """Paint with the brush and return the mask."""
    app.router.activate("brush")
    for phase, ijk in (("press", (8, 9, 0)), ("move", (20, 12, 0)), ("release", (20, 12, 0))):
        point = tuple(float(v) for v in volume.geometry.index_to_lps(ijk))
        app.router.pointer(PointerEvent(phase, point, 2))
    (segment,) = app.workspace.segmentation(volume.id).segments
    mask = app.workspace.segmentation(volume.id).mask(segment.value)
    assert mask[0].any()
    assert not mask[1:].any()
    return mask


@pytest.mark.parametrize("what", WRITERS)
def test_a_saved_workspace_opens_pictures_with_their_masks(
    make_app: Callable[[], AppContext], pump: Any, tmp_path: Path, what: str
) -> None:
    app = make_app()
    volume = shown(app, pump, WRITERS[what](tmp_path / "in"))
    mask = paint(app, volume)
    assert pump.finish(app.documents.save(tmp_path / "a.mvw")).error is None
    again = make_app()
    assert pump.finish(again.documents.open(tmp_path / "a.mvw")).error is None
    opened = again.workspace.active
    assert opened is not None
    np.testing.assert_array_equal(opened.colors, volume.colors)
    assert (opened.stacking, opened.in_mm, opened.frame_times_ms) == (volume.stacking, False, volume.frame_times_ms)
    (segment,) = again.workspace.segmentation(opened.id).segments
    np.testing.assert_array_equal(again.workspace.segmentation(opened.id).mask(segment.value), mask)


@pytest.mark.parametrize("what", WRITERS)
def test_masks_of_pictures_are_exported_and_read_back(app: AppContext, pump: Any, tmp_path: Path, what: str) -> None:
    volume = shown(app, pump, WRITERS[what](tmp_path / "in"))
    mask = paint(app, volume)
    report = run_export(CTX, "nifti", cases_of(app.workspace), tmp_path / "out")
    assert all(check.passed for check in report.checks)
    folder = next((tmp_path / "out").iterdir())
    image = nibabel.load(folder / "image.nii.gz")
    assert image.header.get_data_dtype().names == ("R", "G", "B")
    stored = np.stack([np.asarray(image.dataobj)[name] for name in "RGB"], axis=-1)
    np.testing.assert_array_equal(stored.transpose(2, 1, 0, 3), volume.colors)
    assert (int(image.header["sform_code"]), image.header.get_xyzt_units()[0]) == (2, "unknown")
    told = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    assert (told["stacking"], told["in_mm"], told["in_patient"]) == (volume.stacking, False, False)

    # The image itself opens in its colours again.
    (study,) = scan_paths(CTX, [folder / "image.nii.gz"])
    again = open_series(CTX, study.series[0], app.decode_worker)
    np.testing.assert_array_equal(again.colors, volume.colors)
    np.testing.assert_array_equal(again.array, volume.array)
    assert again.geometry.is_close(volume.geometry)

    pump.finish(app.attach.start(volume.id, folder / told["segments"][0]["file"]))
    assert not [m for m in app.messages.messages if m.level == "error"]
    _, read = app.workspace.segmentation(volume.id).segments
    np.testing.assert_array_equal(app.workspace.segmentation(volume.id).mask(read.value), mask)


def test_colours_are_three_channels_for_nnunet(app: AppContext, pump: Any, tmp_path: Path) -> None:
    volume = shown(app, pump, write_photo(tmp_path / "in"))
    paint(app, volume)
    report = run_export(CTX, "nnunet", cases_of(app.workspace), tmp_path / "out", NnunetOptions(name="Moles"))
    assert all(check.passed for check in report.checks)
    folder = tmp_path / "out" / "Dataset001_Moles"
    names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["channel_names"]
    assert names == {"0": "R", "1": "G", "2": "B"}
    assert volume.colors is not None
    for n, path in enumerate(sorted((folder / "imagesTr").iterdir())):
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj).T, volume.colors[..., n])


@pytest.mark.parametrize("what", WRITERS)
def test_no_dicom_seg_of_what_lies_nowhere(app: AppContext, pump: Any, tmp_path: Path, what: str) -> None:
    volume = shown(app, pump, WRITERS[what](tmp_path / "in"))
    paint(app, volume)
    with pytest.raises(ExportError) as refusal:
        run_export(CTX, "dicom-seg", cases_of(app.workspace), tmp_path / "out")
    assert refusal.value.code == "E_NO_POSITION"
    assert "NIfTI" in refusal.value.hint
    assert not (tmp_path / "out").exists()
