"""Documents inside DICOM files: taken out as they are, never opened here. Runs in the decode worker.

References
----------
DICOM PS3.3 A.45, A.85, C.24.2 (Encapsulated Document Module).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from medviewer.core.errors import InputError
from medviewer.io.dicom_sr import text_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: End of the SOP class UID -> (what it is, ending of its file, what its bytes start with).
_TYPES: Final = {
    "104.1": ("PDF document", ".pdf", b"%PDF-"),
    "104.2": ("CDA document", ".xml", b""),
    "104.3": ("STL model", ".stl", b""),
    "104.4": ("OBJ model", ".obj", b""),
    "104.5": ("MTL material", ".mtl", b""),
}


@dataclass(frozen=True, slots=True)
class EncapsulatedDocument:
    """A document and what it is.

    Attributes
    ----------
    what : str
        For people: ``PDF document``.
    suffix : str
        Ending of a file name for it, by its SOP class and never by what the file says.
    viewable : bool
        Whether its bytes are of a kind that the system's viewer may be given.
    """

    title: str
    what: str
    suffix: str
    data: bytes = field(repr=False)
    viewable: bool = False


def read_document(dataset: Dataset, name: str) -> EncapsulatedDocument:
    """Return the document of a file.

    Raises
    ------
    InputError
        ``E_DOCUMENT`` when there is none.
    """
    sop_class = text_of(dataset, "SOPClassUID")
    known = (values for end, values in _TYPES.items() if sop_class.endswith(f".{end}"))
    what, suffix, magic = next(known, ("document", ".bin", b""))
    value = dataset.get("EncapsulatedDocument")
    data = bytes(value) if isinstance(value, bytes) else b""
    length = dataset.get("EncapsulatedDocumentLength")
    if isinstance(length, int) and 0 < length <= len(data):
        data = data[:length]
    if not data:
        raise InputError(f"{name} holds no document.", hint="Ask for it again where it was made.", code="E_DOCUMENT")
    title = text_of(dataset, "DocumentTitle") or text_of(dataset, "SeriesDescription") or name
    return EncapsulatedDocument(title, what, suffix, data, bool(magic) and data.startswith(magic))
