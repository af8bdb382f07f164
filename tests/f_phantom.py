"""An asymmetric phantom as a DICOM series on any grid: a letter F in every plane, so that no flip can hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Mask
from medviewer.core.volume import Volume

SIZE = (11, 9, 7)
SPACING = (0.7, 0.9, 2.5)
ORIGIN = (-12.5, 31.25, -100.125)


def _frame(row: tuple[float, ...], column: tuple[float, ...], flip: bool = False) -> tuple[float, ...]:
    normal = np.cross(row, column) * (-1 if flip else 1)
    return tuple(float(v) for v in np.stack([row, column, normal], axis=1).ravel())


def _turned(x: float, y: float, z: float) -> tuple[float, ...]:
    """Direction of a grid turned about the three axes, in degrees."""
    a, b, c = np.deg2rad([x, y, z])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tuple(float(v) for v in (rz @ ry @ rx).ravel())


#: Direction cosines (columns) of grids as scanners give them.
ORIENTATIONS = {
    "axial, head first supine": _frame((1, 0, 0), (0, 1, 0)),
    "axial, slices downward": _frame((1, 0, 0), (0, 1, 0), flip=True),
    "axial, head first prone": _frame((-1, 0, 0), (0, -1, 0)),
    "axial, decubitus left": _frame((0, -1, 0), (1, 0, 0)),
    "coronal": _frame((1, 0, 0), (0, 0, -1)),
    "sagittal": _frame((0, 1, 0), (0, 0, -1)),
    "oblique": _turned(10, -20, 30),
    "double oblique, slices downward": tuple(
        float(v) for v in (np.array(_turned(35, 15, -50)).reshape(3, 3) * [1, 1, -1]).ravel()
    ),
}


def grid(name: str) -> Geometry:
    """Return the phantom's grid in one of the `ORIENTATIONS`."""
    return Geometry(SIZE, SPACING, ORIGIN, ORIENTATIONS[name])


def letter_f() -> Mask:
    """Return an F in the first slices, bent into the third axis: no mirror image of it is itself. Shape (k, j, i)."""
    mask = np.zeros(SIZE[::-1], dtype=np.bool_)
    mask[1:3, 1:8, 2] = True
    mask[1:3, 1, 2:8] = True
    mask[1:3, 4, 2:6] = True
    mask[1:6, 7, 2] = True
    return mask


def make_series(folder: Path, geometry: Geometry, *, uid: str = "1.2.826.0.1.3680043.8.498.77") -> Volume:
    """Write a CT series on a grid and return the volume a reader would make of it: ``files[k]`` is slice k."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 1000, geometry.shape).astype(np.int16)
    array[letter_f()[tuple(slice(n) for n in geometry.shape)]] = 2000
    files = []
    for k in range(geometry.size[2]):
        files.append(folder / f"{k:03d}.dcm")
        _slice(array[k], geometry, k, uid).save_as(files[-1], enforce_file_format=True)
    series = SeriesRef(
        key=uid,
        series_instance_uid=uid,
        study_instance_uid=f"{uid}.1",
        frame_of_reference_uid=f"{uid}.2",
        modality="CT",
        size=geometry.size,
        spacing=geometry.spacing,
        files=tuple(files),
    )
    return Volume(array, geometry, "phantom", "CT", "HU", series)


def _slice(pixels: np.ndarray, geometry: Geometry, k: int, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(f"{uid}.3.{k + 1}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = f"{uid}.1", uid, f"{uid}.2"
    ds.Modality, ds.PatientName, ds.PatientID = "CT", "Müller^Ä", "P1"
    ds.PatientBirthDate, ds.PatientSex, ds.StudyDate, ds.StudyTime = "19500102", "O", "20260102", "030405"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber, ds.ImageType = "Phantom", 3, k + 1, ["ORIGINAL", "PRIMARY"]
    direction = geometry.direction_matrix
    # A decimal string holds sixteen characters.
    ds.ImageOrientationPatient = [f"{v:.12f}"[:16] for v in (*direction[:, 0], *direction[:, 1])]
    ds.ImagePositionPatient = [f"{v:.10f}"[:16] for v in geometry.index_to_lps((0, 0, k))]
    ds.PixelSpacing = [f"{geometry.spacing[1]:.8f}", f"{geometry.spacing[0]:.8f}"]
    ds.SliceThickness = f"{geometry.spacing[2]:.6f}"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleIntercept, ds.RescaleSlope = "0", "1"
    ds.PixelData = pixels.tobytes()
    return ds
