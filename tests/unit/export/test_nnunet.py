from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medviewer.core.errors import ExportError
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.export.case import Case
from medviewer.export.exporter import run_export
from medviewer.export.formats.nnunet import NnunetOptions
from medviewer.export.nnunet_rules import check_raw_dataset
from medviewer.io.derived import Target
from medviewer.io.load_segments import SegmentRequest, read
from medviewer.io.presets import all_presets
from medviewer.jobs.job import NullContext

OPTIONS = NnunetOptions(dataset_id=7, name="Lung lesions")
NAME = "Dataset007_Lung_lesions"


def _array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_two_cases_share_one_list_of_labels(make_case: Callable[..., Case], tmp_path: Path) -> None:
    first = make_case("oblique", overlap=False, uid="1.2.3")
    second = replace(make_case("sagittal", overlap=False, uid="1.2.4"), id="case_002")
    second = replace(second, segments=(replace(second.segments[1], name="Cyst"), *second.segments[2:]))
    report = run_export(NullContext(), "nnunet", [first, second], tmp_path, OPTIONS)
    folder = tmp_path / NAME
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert dataset["labels"] == {"background": 0, "Lunge „ä“": 1, "Tumour": 2, "One voxel": 3, "Cyst": 4}
    assert (dataset["channel_names"], dataset["numTraining"]) == ({"0": "CT"}, 2)
    for case in (first, second):
        image = _array(folder / "imagesTr" / f"{case.id}_0000.nii.gz")
        np.testing.assert_array_equal(image, case.volume.array)
        labels = _array(folder / "labelsTr" / f"{case.id}.nii.gz")
        for segment in case.segments:
            np.testing.assert_array_equal(labels == dataset["labels"][segment.name], case.mask(segment))
    assert any("case_002 has no" in note for note in report.notes)
    mapping = json.loads((folder / "medviewer_export.json").read_text(encoding="utf-8"))
    assert mapping["cases"][1]["series_instance_uid"] == "1.2.4"
    assert mapping["cases"][0]["segments"][0]["provenance"]["weights_sha256"] == "ab" * 32


def test_overlap_is_refused_by_name(make_case: Callable[..., Case], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"Lunge.*Tumour") as caught:
        run_export(NullContext(), "nnunet", [make_case()], tmp_path / "out", replace(OPTIONS, overlap="refuse"))
    assert caught.value.code == "E_OVERLAP"
    assert not (tmp_path / "out").exists()


def test_or_the_order_of_the_list_decides_and_says_so(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    report = run_export(NullContext(), "nnunet", [case], tmp_path, replace(OPTIONS, overlap="priority"))
    labels = _array(tmp_path / NAME / "labelsTr" / "case_001.nii.gz")
    lung, tumour = case.mask(case.segments[0]), case.mask(case.segments[1])
    np.testing.assert_array_equal(labels == 1, lung)
    np.testing.assert_array_equal(labels == 2, tumour & ~lung)
    shared = int((lung & tumour).sum())
    assert any(f"({shared} voxels)" in note for note in report.notes)
    mapping = json.loads((tmp_path / NAME / "medviewer_export.json").read_text(encoding="utf-8"))
    assert mapping["overlaps"]["case_001"] == [{"kept": "Lunge „ä“", "cut": "Tumour", "voxels": shared}]


def test_the_smaller_one_stays_whole_unless_told_otherwise(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    report = run_export(NullContext(), "nnunet", [case], tmp_path, OPTIONS)
    labels = _array(tmp_path / NAME / "labelsTr" / "case_001.nii.gz")
    sizes = sorted(case.segments, key=lambda segment: case.mask(segment).sum())
    taken = np.zeros(labels.shape, dtype=bool)
    for segment in sizes:
        value = case.segments.index(segment) + 1
        np.testing.assert_array_equal(labels == value, case.mask(segment) & ~taken)
        taken |= case.mask(segment)
    assert any("was kept where it overlaps" in note for note in report.notes)


def test_segments_of_one_name_become_one_label(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    segments = tuple(replace(s, name="Nodule") for s in case.segments)
    run_export(NullContext(), "nnunet", [replace(case, segments=segments)], tmp_path, OPTIONS)
    labels = _array(tmp_path / NAME / "labelsTr" / "case_001.nii.gz")
    np.testing.assert_array_equal(labels, sum(case.mask(s) for s in segments) > 0)


def test_more_labels_than_a_byte_holds(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(overlap=False)
    labels = np.zeros(case.geometry.shape, np.uint16)
    labels.ravel()[:300] = np.arange(300) + 1
    segments = tuple(Segment(n + 1, f"s{n}") for n in range(300))
    run_export(NullContext(), "nnunet", [replace(case, segments=segments, groups={0: labels})], tmp_path, OPTIONS)
    np.testing.assert_array_equal(_array(tmp_path / NAME / "labelsTr" / "case_001.nii.gz"), labels)


def _with(case: Case, **changes: object) -> Case:
    volume = case.volume
    values = {"array": volume.array, "geometry": volume.geometry, "modality": volume.modality} | changes
    return replace(case, volume=Volume(series=volume.series, **values))  # type: ignore[arg-type]


def test_what_nnunet_cannot_read_is_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(overlap=False)
    nan = case.volume.array.astype(np.float32)
    nan[0, 0, 0] = np.nan
    bad = {
        "E_MODALITY": [case, replace(_with(case, modality="MR"), id="b")],
        "E_NAN": [_with(case, array=nan)],
        "E_NAME": [replace(case, segments=(replace(case.segments[0], name="Background"),))],
        "E_EMPTY": [replace(case, segments=())],
    }
    for code, cases in bad.items():
        with pytest.raises(ExportError) as caught:
            run_export(NullContext(), "nnunet", cases, tmp_path / "out", OPTIONS)
        assert caught.value.code == code
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["value", "header", "missing", "count", "labels"])
def test_the_rules_notice_what_is_wrong(make_case: Callable[..., Case], tmp_path: Path, damage: str) -> None:
    run_export(NullContext(), "nnunet", [make_case(overlap=False)], tmp_path, OPTIONS)
    folder = tmp_path / NAME
    label = folder / "labelsTr" / "case_001.nii.gz"
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert all(check.passed for check in check_raw_dataset(folder))
    if damage == "missing":
        label.unlink()
    elif damage == "count":
        dataset["numTraining"] = 2
    elif damage == "labels":
        dataset["labels"]["Tumour"] = 9
    else:
        image = sitk.ReadImage(str(label))
        if damage == "value":
            image[0, 0, 0] = 77
        else:
            image.SetOrigin([v + 0.001 for v in image.GetOrigin()])
        sitk.WriteImage(image, str(label))
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    assert not all(check.passed for check in check_raw_dataset(folder))


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed")
def test_nnunet_itself_agrees(make_case: Callable[..., Case], tmp_path: Path) -> None:
    run_export(NullContext(), "nnunet", [make_case(overlap=False)], tmp_path, OPTIONS)
    code = (
        "import sys\nfrom nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity as v\n"
        "if __name__ == '__main__':\n    v(sys.argv[1], 1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / NAME)], check=True, timeout=240)


def test_L09_holes_touching_segments_and_single_voxels_come_back(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    """Written for nnU-Net and read again by our own reader: voxel by voxel, with gaps in the values closed and told."""
    case = make_case("oblique", overlap=False)
    labels = np.zeros(case.volume.geometry.shape, np.uint16)
    labels[1:5, 1:6, 1:6] = 7
    labels[2:4, 3, 3] = 0  # a hole
    labels[1:5, 1:6, 6:9] = 2  # touches it
    labels[6, 8, 10] = 900  # one voxel in a corner
    segments = tuple(
        replace(case.segments[0], value=value, name=name, group=0)
        for value, name in ((7, "With a hole"), (2, "Neighbour"), (900, "One voxel"))
    )
    case = replace(case, segments=segments, groups={0: labels})
    run_export(NullContext(), "nnunet", [case], tmp_path, OPTIONS)
    path = tmp_path / NAME / "labelsTr" / f"{case.id}.nii.gz"
    assert sorted(set(_array(path).ravel())) == [0, 1, 2, 3]
    found = read(NullContext(), SegmentRequest(path, Target(case.volume.geometry)))
    for segment in case.segments:
        (name,) = [s for s in found.segments if s.name == segment.name]
        np.testing.assert_array_equal(found.layers[name.layer] == name.value, labels == segment.value)


def test_a_preset_fixes_the_values_and_instances_are_one_label(make_case: Callable[..., Case], tmp_path: Path) -> None:
    """A case without cysts, with two tumours: the numbers are those of every other case of the same work."""
    case = make_case(overlap=False)
    preset = next(p for p in all_presets() if p.name.startswith("Kidney"))
    tumour, kidney = preset.terms[2], preset.terms[1]
    one, two, three = case.segments
    case = replace(
        case,
        segments=(
            replace(one, name="tumour 1", instance=1, **tumour.codes),
            replace(two, name="kidney", instance=0, **kidney.codes),
            replace(three, name="tumour 2", instance=2, **tumour.codes),
        ),
    )
    report = run_export(NullContext(), "nnunet", [case], tmp_path / "out")
    (path,) = (p for p in report.files if p.name == "dataset.json")
    assert json.loads(path.read_text())["labels"] == {"background": 0, "kidney": 1, "tumour": 2, "cyst": 3}
    assert any("preset" in note for note in report.notes)
    (file,) = (p for p in report.files if p.parent.name == "labelsTr")
    labels = _array(file)
    masks = [case.mask(s) for s in case.segments]
    assert int((labels == 2).sum()) == int((masks[0] | masks[2]).sum())
    assert int((labels == 1).sum()) == int(masks[1].sum())
