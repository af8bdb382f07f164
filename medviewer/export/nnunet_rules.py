"""What nnU-Net demands of a raw dataset (`nnUNetv2_plan_and_preprocess --verify_dataset_integrity`), and a little more.

nnU-Net only warns when image and label lie apart; here they must have the same header, bit by bit.

References
----------
Isensee et al., Nature Methods 18, 2021; nnunetv2.experiment_planning.verify_dataset_integrity (2.8).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.export.exporter import Check
from medviewer.imaging.sitk_image import from_sitk

FILE_ENDING = ".nii.gz"
_HEADER_BYTES = 348
#: dim, pixdim, and everything from qform_code to srow_z of a NIfTI-1 header.
_GEOMETRY_BYTES = ((40, 56), (76, 108), (252, 328))


def check_raw_dataset(folder: Path) -> list[Check]:
    """Check a dataset folder against nnU-Net's rules."""
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    required = {"labels", "channel_names", "numTraining", "file_ending"}
    missing = sorted(required - set(dataset))
    checks = [Check("dataset.json", not missing, f"missing: {missing}" if missing else "all keys")]
    if missing:
        return checks
    images, labels = _names(folder / "imagesTr"), _names(folder / "labelsTr")
    channels = len(dataset["channel_names"])
    expected = sorted(f"{case}_{c:04d}" for case in labels for c in range(channels))
    paired = images == expected and len(labels) == dataset["numTraining"]
    checks.append(Check("cases", paired, f"{len(labels)} cases, {len(images)} images"))
    checks.append(_check_labels(dataset["labels"]))
    values = set(dataset["labels"].values())
    for case in labels if paired else ():
        checks.append(_check_case(folder, case, channels, values))
    return checks


def _names(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(FILE_ENDING) for path in folder.glob(f"*{FILE_ENDING}"))


def _check_labels(labels: Mapping[str, Any]) -> Check:
    consecutive = sorted(labels.values()) == list(range(len(labels)))
    return Check("labels", labels.get("background") == 0 and consecutive, f"{len(labels) - 1} labels")


def _check_case(folder: Path, case: str, channels: int, values: set[int]) -> Check:
    """Compare image and label: same header, no NaN, only known labels."""
    import SimpleITK as sitk

    path = folder / "labelsTr" / f"{case}{FILE_ENDING}"
    header = _geometry(path)
    voxels, _ = from_sitk(sitk.ReadImage(str(path)))
    found = set(np.flatnonzero(np.bincount(voxels.ravel())).tolist())
    if not found <= values:
        return Check(f"{case}: labels", False, f"unexpected values {sorted(found - values)}")
    for channel in range(channels):
        image = folder / "imagesTr" / f"{case}_{channel:04d}{FILE_ENDING}"
        if _geometry(image) != header:
            return Check(f"{case}: grid", False, "image and label have different headers")
        pixels, _ = from_sitk(sitk.ReadImage(str(image)))
        if pixels.dtype.kind == "f" and np.isnan(pixels).any():
            return Check(f"{case}: image", False, "NaN")
    return Check(f"{case}: nnU-Net rules", True, f"labels {sorted(found)}")


def _geometry(path: Path) -> bytes:
    with gzip.open(path) as file:
        header = file.read(_HEADER_BYTES)
    return b"".join(header[start:stop] for start, stop in _GEOMETRY_BYTES)
