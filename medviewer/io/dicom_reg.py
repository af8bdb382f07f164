"""Spatial registration objects as transforms between frames of reference. Runs in the decode worker.

References
----------
DICOM PS3.3 A.39.1, C.20.2 (Spatial Registration Module).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medviewer.core.errors import InputError
from medviewer.core.transform import AffineTransform
from medviewer.io.dicom_sr import items_of, text_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class RegisteredFrame:
    """A frame of reference, or series, whose points `matrix` takes to the registered frame of reference, LPS mm."""

    frame_of_reference_uid: str
    series_uids: tuple[str, ...]
    matrix: AffineTransform


@dataclass(frozen=True, slots=True)
class SpatialRegistration:
    """What a registration object says; the registered frame of reference comes first."""

    name: str
    frames: tuple[RegisteredFrame, ...]
    patient_id: str = field(default="", repr=False)


def read_registration(dataset: Dataset, name: str) -> SpatialRegistration:
    """Return the frames of a registration object.

    Raises
    ------
    InputError
        ``E_REGISTRATION`` when a matrix is missing, singular or not to be put together without doubt.
    """
    series = {
        text_of(image, "ReferencedSOPInstanceUID"): text_of(item, "SeriesInstanceUID")
        for item in items_of(dataset, "ReferencedSeriesSequence")
        for image in (*items_of(item, "ReferencedInstanceSequence"), *items_of(item, "ReferencedSOPSequence"))
    }
    frames: list[RegisteredFrame] = []
    for item in items_of(dataset, "RegistrationSequence"):
        images = (text_of(image, "ReferencedSOPInstanceUID") for image in items_of(item, "ReferencedImageSequence"))
        uids = dict.fromkeys(series[uid] for uid in images if uid in series)
        frames.append(RegisteredFrame(text_of(item, "FrameOfReferenceUID"), tuple(uids), _matrix(item, name)))
    registered = text_of(dataset, "FrameOfReferenceUID")
    if registered and all(frame.frame_of_reference_uid != registered for frame in frames):
        frames.append(RegisteredFrame(registered, (), AffineTransform.identity()))
    frames.sort(key=lambda frame: frame.frame_of_reference_uid != registered)
    title = text_of(dataset, "ContentDescription") or text_of(dataset, "SeriesDescription") or name
    return SpatialRegistration(title, tuple(frames), text_of(dataset, "PatientID"))


def _matrix(item: Dataset, name: str) -> AffineTransform:
    found: list[np.ndarray] = []
    for registration in items_of(item, "MatrixRegistrationSequence"):
        for entry in items_of(registration, "MatrixSequence"):
            try:
                values = [float(v) for v in entry.get("FrameOfReferenceTransformationMatrix") or ()]
                found.append(np.array(values).reshape(4, 4))
            except (TypeError, ValueError) as error:
                raise _broken(name, "has a matrix that is not sixteen numbers") from error
    if not found:
        raise _broken(name, "says no matrix")
    forwards, backwards = np.eye(4), np.eye(4)
    for matrix in found:
        forwards, backwards = forwards @ matrix, matrix @ backwards
    if not np.isfinite(forwards).all() or not np.allclose(forwards[3], (0, 0, 0, 1), atol=1e-6):
        raise _broken(name, "has a matrix that is no affine transform")
    if abs(float(np.linalg.det(forwards[:3, :3]))) < 1e-6:
        raise _broken(name, "has a matrix that cannot be inverted")
    # Programs differ in the order in which they apply several matrices.
    if not np.allclose(forwards, backwards, atol=1e-4):
        raise _broken(name, "has several matrices whose order is in doubt")
    return AffineTransform.from_matrix(forwards)


def _broken(name: str, what: str) -> InputError:
    return InputError(
        f"{name} {what}; the registration was not used.",
        hint="Register the two images here, in the Register panel.",
        code="E_REGISTRATION",
    )
