"""DICOM files written in code: single slices and enhanced multi-frame objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1, generate_uid

SHAPE = (32, 40)
FrameGroups = Callable[[int], dict[str, Any]]


def pixels(n: int = 0, dtype: Any = np.int16, high: int = 2000) -> np.ndarray:
    """Return the picture with number n: noise below `high`, of `SHAPE`."""
    return np.random.default_rng(n).integers(0, high, SHAPE).astype(dtype)


def write_slice(path: Path, picture: np.ndarray, position: Sequence[float] = (0.0, 0.0, 0.0), **elements: Any) -> Path:
    """Write one CT-like slice; keywords are data elements, None removes one, `syntax` is the transfer syntax."""
    syntax = elements.pop("syntax", ExplicitVRLittleEndian)
    uid = elements.pop("SOPInstanceUID", generate_uid())
    signed = picture.dtype.kind == "i"
    bits = picture.dtype.itemsize * 8
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
        "Rows": picture.shape[0],
        "Columns": picture.shape[1],
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
    dataset.PixelData = picture.astype(picture.dtype.newbyteorder(">" if big else "<")).tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(
        path, enforce_file_format=True, little_endian=not big, implicit_vr=str(syntax).endswith("10008.1.2")
    )
    return path


def as_lossless_jpeg(source: Path, target: Path) -> Path:
    """Write a file of 16-bit pixels compressed as JPEG Lossless, which pydicom does not write."""
    import imagecodecs

    dataset = dcmread(source)
    stream = imagecodecs.jpeg8_encode(dataset.pixel_array.view(np.uint16), lossless=True)
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(target)
    return target


def write_dose(path: Path, **elements: Any) -> Path:
    """Write a dose of 3 planes, 2 mm apart from (1, 1, 1), in the frame of reference of `write_slice`."""
    stored = np.random.default_rng(0).integers(0, 60000, (3, 6, 8), dtype=np.uint16)
    values = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2", "Modality": "RTDOSE", "NumberOfFrames": 3, "Rows": 6,
        "Columns": 8, "PixelSpacing": [3.0, 3.0], "DoseUnits": "GY", "DoseGridScaling": "0.001", "RescaleSlope": None,
        "GridFrameOffsetVector": [0.0, 2.0, 4.0], "SeriesInstanceUID": "1.2.3.4.9", "SeriesDescription": "Dose",
        "SeriesNumber": 2, "RescaleIntercept": None,
    }  # fmt: skip
    return write_slice(path, stored, (1.0, 1.0, 1.0), **(values | elements))


def item(**values: Any) -> Dataset:
    """Return a data set with elements by keyword; dicts become sequences of one item, None leaves one out."""
    dataset = Dataset()
    for keyword, value in values.items():
        if value is None:
            continue
        if isinstance(value, dict):
            value = DicomSequence([item(**value)])
        setattr(dataset, keyword, value)
    return dataset


def write_enhanced(
    path: Path,
    pixels: np.ndarray,
    positions: Sequence[Sequence[float] | None],
    *,
    groups: FrameGroups | None = None,
    shared: dict[str, Any] | None = None,
    **elements: Any,
) -> Path:
    """Write an enhanced MR image of shape (frames, rows, columns), uncompressed.

    `groups(n)` adds functional groups to frame n (sequence keyword -> its item), `shared` to those of all frames;
    a position of None leaves out PlanePositionSequence. Other keywords are data elements.
    """
    syntax = elements.pop("syntax", ExplicitVRLittleEndian)
    bits = elements.pop("bits", pixels.dtype.itemsize * 8)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta.TransferSyntaxUID = syntax
    values: dict[str, Any] = {
        "SOPClassUID": EnhancedMRImageStorage,
        "SOPInstanceUID": dataset.file_meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3.9",
        "SeriesInstanceUID": "1.2.3.9.1",
        "FrameOfReferenceUID": "1.2.3.9.2",
        "Modality": "MR",
        "SeriesDescription": "Enhanced",
        "PatientID": "0815",
        "InstanceNumber": 1,
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "NumberOfFrames": len(pixels),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    for keyword, value in (values | elements).items():
        if value is not None:
            setattr(dataset, keyword, value)
    common: dict[str, Any] = {
        "PixelMeasuresSequence": {"PixelSpacing": [0.5, 0.75], "SliceThickness": 9.0},
        "PlaneOrientationSequence": {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]},
    }
    dataset.SharedFunctionalGroupsSequence = DicomSequence([item(**(common | (shared or {})))])
    per_frame = []
    for n, position in enumerate(positions):
        own: dict[str, Any] = {} if position is None else {
            "PlanePositionSequence": {"ImagePositionPatient": [float(v) for v in position]}
        }  # fmt: skip
        per_frame.append(item(**(own | (groups(n) if groups else {}))))
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(per_frame)
    if bits == 1:
        packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    else:
        dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_many(
    folder: Path, series: int, slices: int, shape: tuple[int, int] = SHAPE, *, sparse: bool = False
) -> list[Path]:
    """Write series of slices 2 mm apart, fast: bytes of one file with other UIDs and positions.

    A `sparse` file has its full length and no pixels on the disk; what is read of it are zeros.
    """
    position, folder = "-0000.00", Path(folder)
    model = write_slice(
        folder / "model",
        np.zeros(shape, np.int16),
        SOPInstanceUID="1.2.3.4.5.000.00000",
        SeriesInstanceUID="1.2.3.4.5.000",
        SeriesNumber="000",
        ImagePositionPatient=["0", "0", position],
    )
    data = model.read_bytes()
    model.unlink()
    assert data.count(position.encode()) == 1
    head = data[: data.rindex(b"\xe0\x7f\x10\x00") + 12] if sparse else data
    paths = []
    for s in range(series):
        (folder / f"{s:03d}").mkdir()
        own = head.replace(b"1.2.3.4.5.000", f"1.2.3.4.5.{s:03d}".encode()).replace(
            b"IS\x04\x00000", b"IS\x04\x00%03d" % s
        )
        for k in range(slices):
            path = folder / f"{s:03d}" / f"{k:05d}.dcm"
            place = f"{2 * k:08.2f}".encode()
            path.write_bytes(own.replace(b".00000", f".{k:05d}".encode(), 2).replace(position.encode(), place))
            if sparse:
                os.truncate(path, len(data))
            paths.append(path)
    return paths
