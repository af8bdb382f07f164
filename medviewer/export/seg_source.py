"""The original DICOM series that a segmentation refers to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import ExportError, InputError
from medviewer.core.geometry import Geometry
from medviewer.export.case import Case
from medviewer.export.seg_frames import frame_facts, keep_frames
from medviewer.io.dicom_geometry import TOLERANCE_MM
from medviewer.io.dicom_resample import planes_of

if TYPE_CHECKING:
    from pydicom import Dataset

#: Attributes that must be there but may be empty (type 2); research data often lacks them altogether.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_OPEN_AGAIN = "Open the study again from where it lies now."
_NIFTI_HINT = "Export as NIfTI instead, which needs no series."
_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def true_slices(case: Case) -> Sequence[int]:
    """Return which slice k of the volume each original slice is: all of them, unless the volume was resampled.

    Raises
    ------
    ExportError
        ``E_NO_SOURCE`` when the original slices of a resampled volume are gone.
    """
    series = case.volume.series
    if series is None or not series.interpolation:
        return range(case.geometry.size[2])
    try:
        return planes_of(series)
    except InputError as error:
        raise ExportError(
            f"The original series of {case.id} is not there any more.", hint=_OPEN_AGAIN, code="E_NO_SOURCE"
        ) from error


def source_datasets(case: Case, slices: Sequence[int]) -> list[Dataset]:
    """Return the headers of the case's series, one for each of its `true_slices`, or the one of its multi-frame file.

    Raises
    ------
    ExportError
        ``E_NO_POSITION`` for pictures and films, which are no slices in the patient; ``E_NO_SOURCE`` when the image has
        no DICOM series of single slices, its files are gone, have no identifiers, or do not lie where the volume says.
    """
    series = case.series
    if series is not None and not (case.volume.in_patient and case.volume.stacking == "place"):
        raise ExportError(
            f"{case.id} is no stack of slices in the patient, and a DICOM SEG says where its segments lie.",
            hint=_NIFTI_HINT,
            code="E_NO_POSITION",
        )
    if series is None or series.kind != "dicom":
        raise ExportError(f"{case.id} has no DICOM series to refer to.", hint=_NIFTI_HINT, code="E_NO_SOURCE")
    if len(series.files) != len(slices):
        raise ExportError(
            f"{case.id} has {len(slices)} slices and its series {len(series.files)} files.",
            hint=_OPEN_AGAIN,
            code="E_NO_SOURCE",
        )
    if series.frames:
        return [_multi_frame(case, series, slices)]
    datasets = [_read(case, path) for path in series.files]
    for k, dataset in zip(slices, datasets, strict=True):
        _check_identity(case, dataset)
        _check_place(case, case.geometry, k, dataset)
        if not dataset.get("SliceThickness"):
            dataset.SliceThickness = case.geometry.spacing[2]
    return datasets


def _multi_frame(case: Case, series: SeriesRef, slices: Sequence[int]) -> Dataset:
    """Return the header of the enhanced file that the slices are frames of."""
    dataset = _read(case, series.files[0])
    if len(set(series.files)) > 1 or "PerFrameFunctionalGroupsSequence" not in dataset:
        raise ExportError(
            f"{case.id} comes from mosaics, several multi-frame files, or one without functional groups; "
            "DICOM SEG export cannot refer to these yet.",
            hint=_NIFTI_HINT,
            code="E_NO_SOURCE",
        )
    _check_identity(case, dataset)
    for k, frame in zip(slices, series.frames, strict=True):
        try:
            facts = frame_facts(dataset, frame)
        except (AttributeError, IndexError, KeyError) as error:
            raise _no_place(case) from error
        _check_place(case, case.geometry, k, facts)
    keep_frames(dataset, series.frames)
    return dataset


def _read(case: Case, path: Path) -> Dataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        # Files without preamble and meta information were opened as well; others are found out by their identifiers.
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except (OSError, InvalidDicomError) as error:
        raise ExportError(
            f"The original series of {case.id} is not there any more.",
            hint=_OPEN_AGAIN,
            code="E_NO_SOURCE",
        ) from error


def _check_identity(case: Case, dataset: Dataset) -> None:
    """Refuse to refer to an image without identifiers, as some tools that remove names leave them; fill in the rest."""
    missing = [keyword for keyword in _IDENTIFIERS if not dataset.get(keyword)]
    if missing:
        raise ExportError(
            f"The original series of {case.id} has no {missing[0]}, so that nothing can refer to it.",
            hint=_NIFTI_HINT,
            code="E_NO_SOURCE",
        )
    for keyword in _MAY_BE_EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, "")


def _no_place(case: Case) -> ExportError:
    return ExportError(
        f"The original series of {case.id} lacks its position in the patient.", hint=_NIFTI_HINT, code="E_NO_SOURCE"
    )


def _check_place(case: Case, geometry: Geometry, k: int, dataset: Dataset) -> None:
    """Refuse to refer to a slice that does not lie where the volume has it."""
    i, j, _ = geometry.size
    try:
        position = np.array(dataset.ImagePositionPatient, dtype=np.float64)
        orientation = np.array(dataset.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
        row_mm, column_mm = (float(v) for v in dataset.PixelSpacing)
        same_size = (dataset.Columns, dataset.Rows) == (i, j)
        uid = str(dataset.FrameOfReferenceUID)
    except (AttributeError, ValueError, TypeError) as error:
        raise _no_place(case) from error
    corner = position + orientation[0] * column_mm * (i - 1) + orientation[1] * row_mm * (j - 1)
    expected = geometry.index_to_lps([(0, 0, k), (i - 1, j - 1, k)])
    error_mm = float(np.abs(np.array([position, corner]) - expected).max())
    if not same_size or not uid or error_mm > TOLERANCE_MM:
        raise ExportError(
            f"The original series of {case.id} does not fit its volume (slice {k + 1}, {error_mm:.3f} mm apart).",
            hint=_NIFTI_HINT,
            code="E_NO_SOURCE",
        )
