"""Write a phantom as a DICOM series, one uncompressed file per slice."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medviewer.core.geometry import Geometry
from medviewer.phantoms.model import Phantom, Progress

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CT_INTERCEPT = -1024
_DESCRIPTION = {
    "CT": ("Synthetic chest", "Chest 2.5 soft tissue, synthetic", "CHEST"),
    "MR": ("Synthetic brain", "Brain T1 3D, synthetic", "BRAIN"),
}


def demo_uid(*parts: object) -> str:
    """Return a UID that depends on nothing but `parts` (UUID-derived, DICOM PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(map(str, ("medviewer-phantom", *parts))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_series(
    phantom: Phantom, folder: Path, seed: int = 0, *, implicit: bool = False, progress: Progress | None = None
) -> list[Path]:
    """Write the volume of a phantom as CT or MR images.

    Parameters
    ----------
    phantom : Phantom
        Modality CT (HU, -1024..3071) or MR (0..4095). Any orientation: see `Phantom.oblique`.
    folder : Path
        Made if missing; gets ``IM0001.dcm`` …, the first slice being the one with the highest index, as scanners
        number from the head down.
    seed : int
        The UIDs follow from it, the patient ID, the modality and the grid, so writing again gives the same files.
    implicit : bool
        Implicit VR Little Endian instead of explicit.

    Returns
    -------
    list of Path
        In the order of InstanceNumber.

    Raises
    ------
    ValueError
        If the modality is neither CT nor MR, or values do not fit 12 bits.
    """
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    volume = phantom.volume
    if volume.modality not in _DESCRIPTION:
        raise ValueError(f"modality must be CT or MR, got {volume.modality!r}")
    intercept = _CT_INTERCEPT if volume.modality == "CT" else 0
    stored = volume.array.astype(np.int32) - intercept
    if int(stored.min()) < 0 or int(stored.max()) > 4095:
        raise ValueError("values do not fit 12 bits")
    folder.mkdir(parents=True, exist_ok=True)
    key = (seed, volume.patient_id, volume.modality, volume.geometry)
    count = volume.geometry.size[2]
    files = []
    for number, k in enumerate(range(count - 1, -1, -1), 1):
        ds = _header(phantom, key, seed)
        _place(ds, volume.geometry, k, number)
        ds.SOPInstanceUID = demo_uid(*key, "instance", number)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        _pixels(ds, stored[k].astype("<u2"))
        path = folder / f"IM{number:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        files.append(path)
        if progress is not None:
            progress(number / count, "Writing DICOM")
    return files


def _header(phantom: Phantom, key: tuple[object, ...], seed: int) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, MRImageStorage

    volume = phantom.volume
    study, series, part = _DESCRIPTION[volume.modality]
    day = (date(2024, 1, 1) + timedelta(days=seed % 365)).strftime("%Y%m%d")
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = CTImageStorage if volume.modality == "CT" else MRImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.ImplementationClassUID = UID(demo_uid("implementation"))
    ds.file_meta.ImplementationVersionName = "MEDVIEWER_DEMO"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = volume.patient_name, volume.patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "19600101", "O", "064Y"
    ds.StudyInstanceUID = demo_uid(seed, volume.patient_id, "study")
    ds.StudyID, ds.StudyDate, ds.StudyTime = f"{seed % 10**6}", day, "090000"
    ds.AccessionNumber, ds.ReferringPhysicianName = f"DEMO{seed % 10**6}", ""
    ds.StudyDescription, ds.SeriesDescription = study, series
    ds.Modality, ds.BodyPartExamined, ds.PatientPosition = volume.modality, part, "HFS"
    ds.SeriesInstanceUID = demo_uid(*key, "series")
    ds.SeriesNumber, ds.SeriesDate, ds.SeriesTime = 1, day, "090100"
    ds.FrameOfReferenceUID = demo_uid(*key, "frame")
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer, ds.ManufacturerModelName = "MedViewer", "Phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions, ds.InstitutionName = "1", "1", "Synthetic data"
    ds.AcquisitionNumber, ds.AcquisitionDate, ds.AcquisitionTime = 1, day, "090100"
    ds.ContentDate, ds.ContentTime = day, "090100"
    ds.ProtocolName = series
    ds.WindowCenter, ds.WindowWidth = (_ds(v) for v in volume.window or (40.0, 400.0))
    ds.BurnedInAnnotation = "NO"
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "Synthetic image"
    if volume.modality == "CT":
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_CT_INTERCEPT), "1", "HU"
        ds.KVP, ds.XRayTubeCurrent, ds.ConvolutionKernel = "120", 200, "STANDARD"
        ds.GantryDetectorTilt = "0"
        ds.ContrastBolusAgent = "Synthetic"
    else:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = ["GR", "IR"], ["SK", "MP"], ""
        ds.MRAcquisitionType, ds.MagneticFieldStrength = "3D", "3"
        ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.FlipAngle = "2300", "2.98", "900", "9"
        ds.EchoTrainLength = 1
    return ds


def _place(ds: Dataset, geometry: Geometry, k: int, number: int) -> None:
    direction = geometry.direction_matrix
    ds.ImageOrientationPatient = [_ds(v) for v in (*direction[:, 0], *direction[:, 1])]
    position = geometry.index_to_lps((0, 0, k))
    ds.ImagePositionPatient = [_ds(v) for v in position]
    ds.PixelSpacing = [_ds(geometry.spacing[1]), _ds(geometry.spacing[0])]
    ds.SliceThickness = _ds(geometry.spacing[2])
    if ds.Modality == "MR":
        ds.SpacingBetweenSlices = _ds(geometry.spacing[2])
    ds.SliceLocation = _ds(float(position @ np.cross(direction[:, 0], direction[:, 1])))
    ds.InstanceNumber = number


def _pixels(ds: Dataset, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"


def _ds(value: float) -> str:
    """Return a number as a decimal string of at most 16 characters, as exact as that allows."""
    # pydicom's own formatter gives 17 characters for some small negative numbers.
    number = float(value) + 0.0
    texts = (f"{number:.{digits}g}" for digits in range(16, 0, -1))
    return next(text for text in texts if len(text) <= 16)
