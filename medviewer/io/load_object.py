"""What the decode worker does for objects that are neither images nor segments: read them as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from medviewer.core.errors import InputError
from medviewer.io.derived import read_dataset
from medviewer.io.dicom_kinds import object_kind
from medviewer.io.dicom_pr import Presentation, read_presentation
from medviewer.io.dicom_reg import SpatialRegistration, read_registration
from medviewer.io.dicom_sr import read_report
from medviewer.io.encapsulated import EncapsulatedDocument, read_document
from medviewer.io.report import Report
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

READ_OBJECT = "medviewer.io.load_object:read_object"

DerivedObject = Report | Presentation | SpatialRegistration | EncapsulatedDocument

_READERS: Final[Mapping[str, Callable[[Dataset, str], DerivedObject]]] = {
    "sr": read_report,
    "key_images": read_report,
    "presentation": read_presentation,
    "registration": read_registration,
    "document": read_document,
}


def read_object(ctx: JobContext, path: object) -> DerivedObject:
    """Return what a report, key object selection, presentation state, registration or document says.

    Raises
    ------
    InputError
        ``E_NOT_SUPPORTED`` for any other object.
    """
    assert isinstance(path, Path)
    dataset = read_dataset(path)
    reader = _READERS.get(object_kind(str(dataset.get("SOPClassUID", ""))))
    if reader is None:
        raise InputError(f"{path.name} is of a type that cannot be shown.", code="E_NOT_SUPPORTED")
    return reader(dataset, path.name)
