"""Objects derived from a series (SEG, RTSTRUCT): what they belong to, and whether they may be laid over a volume."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import DecodeError, InputError
from medviewer.core.geometry import Geometry
from medviewer.io.dicom_header import looks_like_dicom
from medviewer.io.inflate import inflated_dicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Kind = Literal["labels", "seg", "rtstruct"]

_SEG: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_RTSTRUCT: Final = "1.2.840.10008.5.1.4.1.1.481.3"
#: Code of a refusal that the user may overrule.
OTHER_SERIES: Final = "E_OTHER_SERIES"
MISFIT: Final = "E_GEOMETRY"
#: Code of a refusal that a threshold settles.
FRACTIONS: Final = "E_FRACTIONAL"


@dataclass(frozen=True, slots=True)
class DerivedRef:
    """What a file of segments says about the image it was made for.

    Attributes
    ----------
    series_uids : tuple of str
        SeriesInstanceUID of the images it refers to; empty for a label map.
    geometry : Geometry or None
        Grid of a label map; the DICOM objects are put together when they are read.
    """

    kind: Kind
    name: str
    patient_id: str = field(default="", repr=False)
    frame_of_reference_uid: str = ""
    series_uids: tuple[str, ...] = ()
    geometry: Geometry | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The open volume that segments are for.

    Attributes
    ----------
    accepted : collection of str
        Codes of refusals that the user has overruled.
    threshold : float or None
        For values that are fractions, 0..1: from which on a voxel belongs to the segment; None when nobody has said it.
    series : SeriesRef or None
        Files of the volume, for segments that name images and not places.
    """

    geometry: Geometry
    series_instance_uid: str = ""
    frame_of_reference_uid: str = ""
    patient_id: str = field(default="", repr=False)
    accepted: Collection[str] = ()
    threshold: float | None = None
    series: SeriesRef | None = None


def read_dataset(path: Path) -> Dataset:
    """Read a whole DICOM file, inflated within measure; runs in the decode worker.

    Raises
    ------
    InputError
        ``E_DICOM`` and the like, naming the file.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as file:
            headless = looks_like_dicom(file.read(64))
            file.seek(0)
            return dcmread(inflated_dicom(file, path.name), force=headless)
    except InvalidDicomError as error:
        raise InputError(f"{path.name} is neither a DICOM file nor a label map.", code="E_NOT_DICOM") from error
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.", code="E_FILE") from error
    except InputError:
        raise
    # A broken file breaks pydicom in many ways; here, in the worker, each of them means the same.
    except Exception as error:
        raise DecodeError(f"{path.name} is broken ({type(error).__name__}).", code="E_DICOM") from error


def describe(dataset: Dataset, path: Path) -> DerivedRef:
    """Return what a SEG or an RTSTRUCT belongs to.

    Raises
    ------
    InputError
        ``E_NOT_SEGMENTS`` for any other object.
    """
    sop_class = str(dataset.get("SOPClassUID", ""))
    name = str(dataset.get("SeriesDescription", "") or dataset.get("StructureSetLabel", "") or path.name)
    patient_id = str(dataset.get("PatientID", "") or "").strip()
    if sop_class in _SEG:
        series = [str(item.get("SeriesInstanceUID", "")) for item in dataset.get("ReferencedSeriesSequence") or ()]
        frame = str(dataset.get("FrameOfReferenceUID", ""))
        return DerivedRef("seg", name, patient_id, frame, tuple(uid for uid in series if uid))
    if sop_class == _RTSTRUCT:
        frame, uids = _structure_set_references(dataset)
        return DerivedRef("rtstruct", name, patient_id, frame, uids)
    raise InputError(
        f"{path.name} holds no segments that can be read ({dataset.get('Modality', '') or 'no modality'}).",
        hint="Choose a DICOM SEG, an RTSTRUCT or a label map.",
        code="E_NOT_SEGMENTS",
    )


def fractional(name: str, what: str) -> InputError:
    """Return the refusal of fractions without a threshold."""
    return InputError(
        f"{name} holds {what}, not whole labels; where a segment ends is not said.",
        hint="Load it again and say from which fraction on a voxel belongs to the segment.",
        code=FRACTIONS,
    )


def _structure_set_references(dataset: Dataset) -> tuple[str, tuple[str, ...]]:
    frame = str(dataset.get("FrameOfReferenceUID", ""))
    uids: list[str] = []
    for reference in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        frame = str(reference.get("FrameOfReferenceUID", "")) or frame
        for study in reference.get("RTReferencedStudySequence") or ():
            series = study.get("RTReferencedSeriesSequence") or ()
            uids += [str(item.get("SeriesInstanceUID", "")) for item in series]
    for roi in dataset.get("StructureSetROISequence") or ():
        frame = frame or str(roi.get("ReferencedFrameOfReferenceUID", ""))
    return frame, tuple(uid for uid in uids if uid)


def check_belongs(ref: DerivedRef, target: Target, name: str) -> tuple[str, ...]:
    """Check that segments were made for a volume; return what must be said all the same.

    Raises
    ------
    InputError
        ``E_WRONG_PATIENT``, never to be overruled; ``E_OTHER_SERIES`` when neither series nor frame of reference agree.
    """
    if ref.patient_id and target.patient_id and ref.patient_id != target.patient_id.strip():
        raise InputError(
            f"{name} was made for another patient; it was not loaded.",
            hint="Open the study of that patient first.",
            code="E_WRONG_PATIENT",
        )
    if target.series_instance_uid in ref.series_uids:
        return ()
    frame = ref.frame_of_reference_uid
    if frame and frame == target.frame_of_reference_uid:
        return (f"{name} was made for another series in the same frame of reference.",)
    if OTHER_SERIES in target.accepted:
        return (f"{name} was made for another series; it was laid over this one by its position only.",)
    made_for = f"series …{ref.series_uids[0][-12:]}" if ref.series_uids else "a series that it does not name"
    raise InputError(
        f"{name} was made for {made_for}, not for this one.",
        hint="Open that series first, or load it by position if both lie in the same coordinates.",
        code=OTHER_SERIES,
    )
