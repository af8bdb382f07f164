from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from medviewer.core.errors import ExportError
from medviewer.core.geometry import Geometry
from medviewer.export import nifti_file
from medviewer.export.case import Case
from medviewer.export.exporter import run_export
from medviewer.export.formats.nifti import NiftiOptions, write_mask_nifti
from medviewer.jobs.job import NullContext
from tests.f_phantom import ORIENTATIONS, grid, letter_f


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_voxel_lies_where_it_lay(orientation: str, tmp_path: Path) -> None:
    """A marked voxel has the same LPS place for nibabel, for SimpleITK and for us."""
    geometry, mask = grid(orientation), letter_f()
    path = tmp_path / "f.nii.gz"
    assert write_mask_nifti(mask, geometry, path).passed
    expected = np.sort(geometry.index_to_lps(np.argwhere(mask)[:, ::-1]), axis=0)

    image = nibabel.load(path)
    places = nibabel.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj))) * [-1, -1, 1]
    np.testing.assert_allclose(np.sort(places, axis=0), expected, atol=1e-3)

    read = sitk.ReadImage(str(path))
    indices = np.argwhere(sitk.GetArrayFromImage(read))[:, ::-1]
    places = [read.TransformIndexToPhysicalPoint([int(n) for n in ijk]) for ijk in indices]
    np.testing.assert_allclose(np.sort(places, axis=0), expected, atol=1e-3)
    assert image.get_data_dtype() == np.uint8


def test_a_sheared_grid_keeps_its_matrix(tmp_path: Path) -> None:
    tilt = np.deg2rad(18.5)
    direction = np.array([[1, 0, 0], [0, 1, np.sin(tilt)], [0, 0, np.cos(tilt)]])
    geometry = Geometry((11, 9, 7), (0.7, 0.9, 2.5), (1, 2, 3), tuple(direction.ravel()))
    path = tmp_path / "tilted.nii.gz"
    write_mask_nifti(letter_f(), geometry, path)
    affine = np.diag([-1, -1, 1, 1]) @ nibabel.load(path).affine
    np.testing.assert_allclose(affine, geometry.index_to_lps_matrix, atol=1e-5)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_mask_nifti(letter_f(), grid("oblique"), tmp_path / f"{name}.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("change", ["voxel", "place"])
def test_a_mask_that_reads_back_differently_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    write = nifti_file.write_nifti

    def spoil(array: np.ndarray, geometry: Geometry, path: Path) -> None:
        if change == "voxel":
            array = array.copy()
            array[3, 3, 3] ^= True
        else:
            geometry = Geometry(geometry.size, geometry.spacing, (0.0, 0.0, 0.01), geometry.direction)
        write(array, geometry, path)

    monkeypatch.setattr("medviewer.export.formats.nifti.write_nifti", spoil)
    with pytest.raises(ExportError) as caught:
        write_mask_nifti(letter_f(), Geometry((11, 9, 7), (1, 1, 1)), tmp_path / "a.nii.gz")
    assert caught.value.code == "E_READBACK"
    assert list(tmp_path.iterdir()) == []


def test_overlapping_segments_keep_their_voxels(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(overlap=True)
    report = run_export(NullContext(), "nifti", [case], tmp_path / "out")
    labels = json.loads((tmp_path / "out" / "case_001" / "labels.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in labels["segments"]] == [s.name for s in case.segments]
    for entry, segment in zip(labels["segments"], case.segments, strict=True):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "case_001" / entry["file"])))
        np.testing.assert_array_equal(array, case.mask(segment))
    assert labels["segments"][0]["provenance"]["weights_sha256"] == "ab" * 32
    assert labels["segments"][0]["edited"] is True
    assert labels["runs"][0]["software"] == {"torch": "2.13"}
    assert labels["series_instance_uid"] == "1.2.3"
    assert labels["decoder"] == case.volume.decoder
    assert len(report.files) == 5
    text = (tmp_path / "out" / "case_001" / "labels.json").read_text(encoding="utf-8")
    assert "Müller" not in text


def test_images_can_be_left_out(make_case: Callable[..., Case], tmp_path: Path) -> None:
    report = run_export(NullContext(), "nifti", [make_case()], tmp_path / "out", NiftiOptions(images=False))
    assert not any(path.name == "image.nii.gz" for path in report.files)


def test_the_image_has_its_values(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    run_export(NullContext(), "nifti", [case], tmp_path / "out")
    image = sitk.ReadImage(str(tmp_path / "out" / "case_001" / "image.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), case.volume.array)
