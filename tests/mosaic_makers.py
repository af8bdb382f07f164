"""Siemens mosaics written in code, with the private CSA header that says how they are tiled."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import MRImageStorage

from tests.dicom_makers import write_slice

_VR = {"NumberOfImagesInMosaic": b"US", "SliceNormalVector": b"FD", "AcquisitionMatrixText": b"SH"}


def csa_header(tags: Mapping[str, Sequence[str]]) -> bytes:
    """Return a CSA2 header (SV10) with tags by name, their items as text."""
    data = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, items in tags.items():
        data += struct.pack("<64si4s3i", name.encode(), len(items), _VR[name], 4, len(items), 77)
        for item in items:
            text = item.encode() + b"\0"
            data += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return data


def write_mosaic(
    path: Path,
    slices: np.ndarray,
    position: Sequence[float],
    orientation: Sequence[float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    *,
    spacing: float | None = 3.0,
    downward: bool = False,
    csa: Mapping[str, Sequence[str]] | None = None,
    **elements: Any,
) -> Path:
    """Write slices (n, rows, columns) as one mosaic, the first of which begins at `position` (LPS mm).

    `downward` stacks them against the normal. `csa` replaces tags of the CSA header; empty: there is none at all.
    """
    count, rows, columns = slices.shape
    across = math.ceil(math.sqrt(count))
    picture = np.zeros((across * rows, across * columns), slices.dtype)
    for n, one in enumerate(slices):
        top, left = n // across * rows, n % across * columns
        picture[top : top + rows, left : left + columns] = one
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    j_mm, i_mm = elements.setdefault("PixelSpacing", [2.0, 2.5])
    # The file places the picture as if it were one slice around the same middle.
    corner = np.array(position) - row * i_mm * (across - 1) * columns / 2 - column * j_mm * (across - 1) * rows / 2
    normal = np.cross(row, column) * (-1 if downward else 1)
    values = {
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "Manufacturer": "SIEMENS",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        "ImageOrientationPatient": [float(v) for v in orientation],
        "SliceThickness": spacing,
        "SpacingBetweenSlices": spacing,
        "InstanceNumber": 1,
        "RescaleIntercept": None,
        "RescaleSlope": None,
    }
    write_slice(path, picture, corner, **(values | elements))
    if csa is None or csa:
        tags = {
            "NumberOfImagesInMosaic": [str(count)],
            "SliceNormalVector": [f"{v:.8f}" for v in normal],
            "AcquisitionMatrixText": [f"{columns}*{rows}"],
        }
        dataset = pydicom.dcmread(path)
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", csa_header(tags | dict(csa or {})))
        dataset.save_as(path)
    return path
