"""What a DICOM object is, by its SOP class.

References
----------
DICOM PS3.4 B.5 (standard SOP classes), PS3.6 annex A (registry of UIDs).
"""

from __future__ import annotations

from functools import cache
from typing import Final

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_IMAGE: Final = ("dicom", "an image")
#: End of a storage SOP class UID, or the start of one -> (kind of object, what people call it); the longest start wins.
#: What is not here is an image.
_TYPES: Final = {
    "4.2": ("spectroscopy", "spectroscopy"),
    "9": ("waveform", "a waveform"),
    "11": ("presentation", "a presentation state"),
    "30": ("parametric_map", "a parametric map"),
    "66": ("raw", "raw data"),
    "66.1": ("registration", "a registration"),
    "66.2": ("fiducials", "a set of fiducials"),
    "66.3": ("deformation", "a deformable registration, which is not applied"),
    "66.4": ("seg", "a segmentation"),
    "66.5": ("surface", "a surface segmentation"),
    "66.7": ("seg", "a segmentation"),
    "67": ("real_world_mapping", "a real world value mapping"),
    "88": ("sr", "a structured report"),
    "88.59": ("key_images", "a list of key images"),
    "91": ("annotation", "an annotation"),
    "104": ("document", "a document"),
    "104.1": ("document", "a PDF document"),
    "104.2": ("document", "a CDA document"),
    "104.3": ("document", "an STL model"),
    "104.4": ("document", "an OBJ model"),
    "104.5": ("document", "an MTL material"),
    "481": ("rt", "a radiotherapy plan or record"),
    "481.1": _IMAGE,
    "481.2": ("rtdose", "a dose distribution"),
    "481.3": ("rtstruct", "a structure set"),
    "481.5": ("rt", "a radiotherapy plan"),
}


@cache
def _type(sop_class_uid: str) -> tuple[str, str]:
    if sop_class_uid.startswith(_STORAGE):
        parts = sop_class_uid.removeprefix(_STORAGE).split(".")
        for length in range(len(parts), 0, -1):
            found = _TYPES.get(".".join(parts[:length]))
            if found is not None:
                return found
    return _IMAGE


def object_kind(sop_class_uid: str) -> str:
    """Return the `SeriesRef.kind` of a SOP class: ``dicom`` for images, a name for everything else."""
    return _type(sop_class_uid)[0]


def type_name(sop_class_uid: str) -> str:
    """Return what people call an object that is no image: ``a structured report``."""
    return _type(sop_class_uid)[1]


def other_type(sop_class_uid: str) -> str:
    """Return the type of an object without pixels, when it is one that never has any; empty for an image."""
    from pydicom.uid import UID

    uid = UID(sop_class_uid)
    # A UID that the registry does not know has no name but itself.
    name = uid.name if uid.name != uid else ""
    if "Image" in name or not sop_class_uid:
        return ""
    return f"the type {name.removesuffix(' Storage')}" if name else "an unknown or private type"
