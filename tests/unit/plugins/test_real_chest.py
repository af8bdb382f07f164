"""The tasks on real scans: what a radiologist would look at first."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import medviewer as mv
from medviewer.api import BoxResult, LabelResult, Mask, NullContext, Volume
from mv_ct_anatomy.body import BodyParams, BodyTask
from mv_ct_anatomy.bones import BoneParams, BonesTask
from mv_ct_anatomy.lungs import LungParams, LungsTask
from mv_nodule_detection.detect import NoduleParams, NoduleTask
from mv_nodule_detection.lesion import LesionParams, LesionTask

pytestmark = pytest.mark.slow
CTX = NullContext()


@pytest.fixture(scope="module")
def chest(shared_data: Path) -> Volume:
    return mv.load(shared_data / "dicom" / "chest_ct_LIDC-IDRI-0001.zip")


@pytest.fixture(scope="module")
def nodule(shared_data: Path, chest: Volume) -> Mask:
    """Return the consensus of four readers, on the voxels of the scan."""
    image = nib.load(shared_data / "dicom" / "chest_ct_LIDC-IDRI-0001_nodule_consensus.nii.gz")
    mask = np.asarray(image.dataobj).transpose(2, 1, 0) > 0
    assert mask.shape == chest.array.shape
    return np.asarray(mask, bool)


def _mask(result: object, name: str) -> Mask:
    assert isinstance(result, LabelResult)
    return result.labels == next(segment.value for segment in result.segments if segment.name == name)


def _dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_lungs_bones_and_body_of_a_chest(chest: Volume, nodule: Mask) -> None:
    (lungs,) = LungsTask().run(CTX, {"image": chest}, LungParams())
    (body,) = BodyTask().run(CTX, {"image": chest}, BodyParams())
    (bones,) = BonesTask().run(CTX, {"image": chest}, BoneParams())
    left, right, trachea = (_mask(lungs, name) for name in ("Left lung", "Right lung", "Trachea"))
    litre = chest.geometry.voxel_volume_mm3 / 1e6
    for lung in (left, right):
        assert 1.0 < lung.sum() * litre < 4.0
        assert not (lung & ~_mask(body, "Body")).any()
        assert (lung & _mask(bones, "Bones")).sum() < 0.003 * lung.sum()
    assert 0.015 < trachea.sum() * litre < 0.08
    # The nodule lies in the left lung, 56 mm left of the middle, and is part of it.
    assert (left & nodule).sum() > 0.95 * nodule.sum()


def test_the_known_nodule_is_among_the_best_and_its_mask_fits(chest: Volume, nodule: Mask) -> None:
    (result,) = NoduleTask().run(CTX, {"image": chest}, NoduleParams())
    assert isinstance(result, BoxResult)
    hits = [n for n, box in enumerate(result.boxes) if (at := chest.geometry.voxel_at(box.center_lps)) and nodule[at]]
    assert hits
    assert hits[0] < 5
    (masks,) = LesionTask().run(CTX, {"image": chest, "boxes": (result.boxes[hits[0]],)}, LesionParams())
    assert _dice(_mask(masks, "Nodule"), nodule) > 0.8


def test_no_lungs_are_seen_in_a_thigh(shared_data: Path) -> None:
    studies = mv.scan(shared_data / "dicom" / "sts002_ct_mr_pet_rtstruct.zip")
    series = next(s for study in studies for s in study.series if s.modality == "CT")
    (result,) = LungsTask().run(CTX, {"image": mv.load(series)}, LungParams())
    assert isinstance(result, LabelResult)
    assert result.segments == ()


def test_stomach_gas_is_no_lung(shared_data: Path) -> None:
    abdomen = mv.load(shared_data / "dicom" / "abdomen_ct_CRLM-CT-1004.zip")
    (result,) = LungsTask().run(CTX, {"image": abdomen}, LungParams())
    assert isinstance(result, LabelResult)
    lowest = abdomen.geometry.origin[2]
    heights = abdomen.geometry.index_to_lps(np.argwhere(result.labels > 0)[:, ::-1])[:, 2]
    # The bowel and stomach gas of this patient ends 100 mm above the first slice; the lungs begin above that.
    assert heights.min() > lowest + 95.0
