"""Small DICOM series, written in code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medviewer.core.volume import Volume
from medviewer.io.decode_worker import new_decode_worker
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext

SliceMaker = Callable[..., Path]
SeriesMaker = Callable[..., list[Path]]


def write_slice(path: Path, pixels: np.ndarray, position: Sequence[float] = (0.0, 0.0, 0.0), **elements: Any) -> Path:
    """Write one CT-like slice; keywords are data elements, None removes one, `syntax` is the transfer syntax."""
    syntax = elements.pop("syntax", ExplicitVRLittleEndian)
    uid = elements.pop("SOPInstanceUID", generate_uid())
    signed = pixels.dtype.kind == "i"
    bits = pixels.dtype.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = elements.get("SOPClassUID", CTImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.file_meta.TransferSyntaxUID = syntax
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": uid,
        "StudyInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.3.4.5",
        "FrameOfReferenceUID": "1.2.3.4.6",
        "StudyDate": "20260102",
        "Modality": "CT",
        "SeriesDescription": "Test",
        "SeriesNumber": 1,
        "PatientName": "Doe^Jane",
        "PatientID": "0815",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [float(v) for v in position],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "PixelSpacing": [0.7, 0.8],
        "SliceThickness": 2.0,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": int(signed),
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }
    values.update(elements)
    values.setdefault("HighBit", values["BitsStored"] - 1)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    big = str(syntax) == "1.2.840.10008.1.2.2"
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(
        path, enforce_file_format=True, little_endian=not big, implicit_vr=str(syntax).endswith("10008.1.2")
    )
    return path


@pytest.fixture
def make_slice() -> SliceMaker:
    return write_slice


@pytest.fixture
def make_series(tmp_path: Path) -> SeriesMaker:
    """Write slices at positions; pixels are made from a seed unless given, `each(n)` adds elements for slice n."""

    def make(
        positions: Sequence[Sequence[float]] | int = 5,
        *,
        name: str = "series",
        dtype: Any = np.int16,
        shape: tuple[int, int] = (6, 8),
        low: int = 0,
        high: int = 2000,
        each: Callable[[int], dict[str, Any]] | None = None,
        **elements: Any,
    ) -> list[Path]:
        if isinstance(positions, int):
            positions = [(10.0, -20.0, -30.0 + 2.0 * n) for n in range(positions)]
        random = np.random.default_rng(0)
        paths = []
        for n, position in enumerate(positions):
            pixels = random.integers(low, high, shape).astype(dtype)
            own = {"InstanceNumber": n + 1, **elements, **(each(n) if each else {})}
            paths.append(write_slice(tmp_path / name / f"{n:03d}.dcm", pixels, position, **own))
        return paths

    return make


@pytest.fixture(scope="session")
def decode_worker():
    worker = new_decode_worker()
    yield worker
    worker.close()


@pytest.fixture
def load(decode_worker) -> Callable[[Path], Volume]:
    """Scan a folder and open its one series."""

    def open_folder(path: Path) -> Volume:
        (study,) = scan_paths(NullContext(), [path])
        (series,) = study.series
        return open_series(NullContext(), series, decode_worker)

    return open_folder
