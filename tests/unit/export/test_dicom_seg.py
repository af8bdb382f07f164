from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medviewer.core.errors import ExportError
from medviewer.export.case import Case
from medviewer.export.exporter import run_export
from medviewer.export.formats import dicom_seg
from medviewer.export.formats.dicom_seg import DicomSegOptions
from medviewer.jobs.job import NullContext
from tests.f_phantom import ORIENTATIONS

DCIODVFY = shutil.which("dciodvfy")
DCMQI = shutil.which("segimage2itkimage", path=sysconfig.get_path("scripts")) or shutil.which("segimage2itkimage")
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _export(case: Case, folder: Path) -> Path:
    (path,) = run_export(NullContext(), "dicom-seg", [case], folder, DicomSegOptions(created=CREATED)).files
    return path


def _dcmqi_masks(path: Path, folder: Path) -> dict[str, sitk.Image]:
    """Return label -> image as dcmqi reads the file."""
    assert DCMQI is not None
    folder.mkdir()
    command = [DCMQI, "--inputDICOM", str(path), "--outputDirectory", str(folder), "--outputType", "nrrd"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    images = {}
    for n, group in enumerate(meta["segmentAttributes"]):
        image = sitk.ReadImage(str(folder / f"{n + 1}.nrrd"))
        for segment in group:
            images[segment["SegmentLabel"]] = image == segment["labelID"]
    return images


def _places(image: sitk.Image) -> np.ndarray:
    """Return the LPS mm of every true voxel, in a fixed order."""
    indices = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1]
    places = [image.TransformIndexToPhysicalPoint([int(n) for n in ijk]) for ijk in indices]
    return np.array(sorted(tuple(np.round(p, 3)) for p in places))


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_other_readers_find_every_voxel_in_its_place(
    make_case: Callable[..., Case], tmp_path: Path, orientation: str, overlap: bool
) -> None:
    case = make_case(orientation, overlap=overlap)
    path = _export(case, tmp_path / "out")

    volume = highdicom.seg.segread(path).get_volume(combine_segments=False)
    for n, segment in enumerate(case.segments):
        indices = np.argwhere(volume.array[..., n])
        affine = volume.affine
        places = indices @ affine[:3, :3].T + affine[:3, 3]
        expected = case.geometry.index_to_lps(np.argwhere(case.mask(segment))[:, ::-1])
        order = [tuple(np.round(p, 3)) for p in expected]
        np.testing.assert_allclose(np.array(sorted(tuple(np.round(p, 3)) for p in places)), sorted(order), atol=0.01)

    if DCIODVFY is not None:
        result = subprocess.run([DCIODVFY, "-new", str(path)], capture_output=True, text=True, timeout=60)
        assert "Error" not in result.stdout + result.stderr, result.stderr

    if DCMQI is not None:
        found = _dcmqi_masks(path, tmp_path / "dcmqi")
        for segment in case.segments:
            expected = case.geometry.index_to_lps(np.argwhere(case.mask(segment))[:, ::-1])
            order = np.array(sorted(tuple(np.round(p, 3)) for p in expected))
            np.testing.assert_allclose(_places(found[segment.name]), order, atol=0.01)


def test_who_made_a_segment_is_in_the_file(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    automatic = replace(case, segments=(replace(case.segments[0], edited=False), *case.segments[1:]))
    for shown, kind in ((case, "SEMIAUTOMATIC"), (automatic, "AUTOMATIC")):
        seg = pydicom.dcmread(_export(shown, tmp_path / kind))
        first, second, _ = seg.SegmentSequence
        assert (first.SegmentAlgorithmType, second.SegmentAlgorithmType) == (kind, "MANUAL")
        identification = first.SegmentationAlgorithmIdentificationSequence[0]
        assert identification.AlgorithmName == "ct_anatomy.lungs"
        assert identification.AlgorithmVersion == "1.2"
        assert "ab" * 32 in str(identification.AlgorithmParameters)
        assert "upper" in str(identification.AlgorithmParameters)
        assert first.SegmentLabel == "Lunge „ä“"
        assert second.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        assert str(seg.PatientName) == "Müller^Ä"
        assert seg.FrameOfReferenceUID == "1.2.3.2"
        assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"
        assert Path(seg.filename).read_bytes()[:128] == bytes(128)


def test_the_same_input_gives_the_same_bytes_and_other_input_other_uids(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    case = make_case()
    first, second = _export(case, tmp_path / "a"), _export(case, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    changed = {n: labels.copy() for n, labels in case.groups.items()}
    changed[0][0, 0, 0] = 1
    third = _export(replace(case, groups=changed), tmp_path / "c")
    uids = {str(pydicom.dcmread(path).SOPInstanceUID) for path in (first, third)}
    assert len(uids) == 2


def test_empty_segments_are_left_out_by_name(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    empty = replace(case.segments[0], value=9, name="Nothing")
    report = run_export(NullContext(), "dicom-seg", [replace(case, segments=(empty, *case.segments))], tmp_path / "a")
    assert any("“Nothing” is empty" in note for note in report.notes)
    with pytest.raises(ExportError) as caught:
        run_export(NullContext(), "dicom-seg", [replace(case, segments=(empty,))], tmp_path / "b")
    assert caught.value.code == "E_EMPTY"


def test_long_and_odd_names_fit_the_standard(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    names = ["x" * 100, "a\\b\nc", "病変"]
    segments = tuple(replace(s, name=name) for s, name in zip(case.segments, names, strict=True))
    report = run_export(NullContext(), "dicom-seg", [replace(case, segments=segments)], tmp_path / "a")
    seg = pydicom.dcmread(report.files[0])
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["x" * 64, "a/b c", "病変"]
    assert len(report.notes) == 2


def test_many_overlapping_segments_are_spread_over_files(
    make_case: Callable[..., Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()
    monkeypatch.setattr(dicom_seg, "_MAX_BYTES", 2 * case.volume.array.size)
    report = run_export(NullContext(), "dicom-seg", [case], tmp_path / "a")
    assert [path.name for path in report.files] == ["case_001_seg.dcm", "case_001_seg_2.dcm"]
    uids = {str(pydicom.dcmread(path).SOPInstanceUID) for path in report.files}
    assert len(uids) == 2


def test_without_its_series_it_is_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    series = case.volume.series
    assert series is not None
    moved = replace(series, files=tuple(path.with_name("gone.dcm") for path in series.files))
    turned = replace(series, files=series.files[::-1])
    for source in (None, replace(series, files=series.files[:1]), replace(series, kind="nifti"), moved, turned):
        volume = replace(case.volume, series=source)
        with pytest.raises(ExportError) as caught:
            run_export(NullContext(), "dicom-seg", [replace(case, volume=volume)], tmp_path / "out")
        assert caught.value.code == "E_NO_SOURCE"
        assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_series_without_the_usual_attributes_is_no_obstacle(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    assert case.volume.series is not None
    for path in case.volume.series.files:
        ds = pydicom.dcmread(path)
        for keyword in ("PatientName", "StudyID", "AccessionNumber", "StudyDate", "SeriesNumber", "SliceThickness"):
            delattr(ds, keyword)
        ds.save_as(path)
    _export(case, tmp_path / "out")


def test_files_without_meta_information_can_be_referred_to(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    assert case.volume.series is not None
    for path in case.volume.series.files:
        data = path.read_bytes()
        path.write_bytes(data[data.index(b"\x08\x00") :])
        assert "TransferSyntaxUID" not in pydicom.dcmread(path, force=True).file_meta
    _export(case, tmp_path / "out")


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SeriesInstanceUID"])
def test_a_series_without_identifiers_is_refused_by_name(
    make_case: Callable[..., Case], tmp_path: Path, keyword: str
) -> None:
    case = make_case()
    assert case.volume.series is not None
    for path in case.volume.series.files:
        ds = pydicom.dcmread(path)
        setattr(ds, keyword, "")
        ds.save_as(path, enforce_file_format=False)
    with pytest.raises(ExportError, match=keyword) as caught:
        run_export(NullContext(), "dicom-seg", [case], tmp_path / "out")
    assert caught.value.code == "E_NO_SOURCE"
    assert not (tmp_path / "out").exists()
