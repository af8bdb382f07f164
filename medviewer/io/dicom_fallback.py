"""Headers that the fast parser leaves to pydicom: big endian, no preamble, odd encodings, broken elements.

The result is the same `Header`; inflating is capped before pydicom sees a byte.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from medviewer.core.errors import InputError
from medviewer.io.dicom_header import GUESSED_SYNTAX, NO_META, Header
from medviewer.io.dicom_tags import (
    DEFLATED_LITTLE_ENDIAN,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    PIXEL_TAGS,
    SEQUENCES,
    WANTED,
    Tag,
)
from medviewer.io.dicom_walk import UNDEFINED
from medviewer.io.inflate import inflated_dicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LONG_VR = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"UN"})
_TELLING = (Tag.MEDIA_STORAGE_SOP_CLASS_UID, Tag.SOP_CLASS_UID, Tag.STUDY_INSTANCE_UID, Tag.MODALITY, Tag.ROWS)
_EXPLICIT = {EXPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN}


def parse_with_pydicom(path: Path, status: os.stat_result) -> Header:
    """Read a header with pydicom.

    Raises
    ------
    InputError
        ``E_NOT_DICOM``, ``E_DICOM``, ``E_TOO_DEEP`` or ``E_BOMB``.
    """
    from pydicom import config
    from pydicom.errors import InvalidDicomError

    # Its warnings quote the values they are about, and values of patients do not belong into a log.
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with path.open("rb") as file:
            source = inflated_dicom(file, path.name)
            return _parse(source, path, status, deflated=source is not file)
    except InvalidDicomError as error:
        raise InputError(f"{path.name} is not a DICOM file.", code="E_NOT_DICOM") from error
    except RecursionError as error:
        raise InputError(f"{path.name} nests its sequences too deeply to be read.", code="E_TOO_DEEP") from error
    except InputError:
        raise
    # A broken file breaks pydicom in many ways, with errors of many kinds; they all mean the same.
    except Exception as error:
        raise InputError(
            f"{path.name} is a broken DICOM file ({type(error).__name__}).",
            hint="Fetch the file again from where it came.",
            code="E_DICOM",
        ) from error


def _parse(source: BinaryIO, path: Path, status: os.stat_result, *, deflated: bool) -> Header:
    from pydicom import dcmread

    dataset = dcmread(source, stop_before_pixels=True, force=True, specific_tags=sorted(WANTED))
    values = {tag: value for tag in WANTED if (value := _raw_value(dataset, tag)) is not None}
    if not dataset.preamble and not any(values.get(tag) for tag in _TELLING):
        # Read by force, and nothing of an image or a report in it: not DICOM.
        raise InputError(f"{path.name} is not a DICOM file.", code="E_NOT_DICOM")
    is_implicit, is_little = dataset.original_encoding
    big_endian = is_little is False
    told = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
    syntax = DEFLATED_LITTLE_ENDIAN if deflated else _true_syntax(told, bool(is_implicit), big_endian)
    values[Tag.TRANSFER_SYNTAX_UID] = syntax.encode("ascii", "replace")
    pixel = _pixel_element(source, implicit=bool(is_implicit), big_endian=big_endian)
    offset, length, pixel_tag, in_words = pixel or (None, None, None, False)
    declared = None if length == UNDEFINED else length
    notes = (NO_META,) if not dataset.preamble else () if told else (GUESSED_SYNTAX,)
    return Header(
        path, status.st_size, status.st_mtime_ns, syntax, values, big_endian, offset, declared, pixel_tag,
        in_words=in_words, notes=notes,
    )  # fmt: skip


def _true_syntax(declared: str, implicit: bool, big_endian: bool) -> str:
    """Return how a data set really was encoded when the declared native syntax is missing or wrong."""
    if declared and declared not in {*_EXPLICIT, IMPLICIT_LITTLE_ENDIAN}:
        return declared
    if big_endian:
        return EXPLICIT_BIG_ENDIAN
    return IMPLICIT_LITTLE_ENDIAN if implicit else EXPLICIT_LITTLE_ENDIAN


def _raw_value(dataset: Dataset, tag: int) -> bytes | None:
    """Return the bytes of an element as they stand in the file; None when it is absent."""
    from pydicom.dataelem import RawDataElement

    where: Dataset = dataset.file_meta if tag >> 16 == 0x0002 else dataset
    if tag not in where:
        return None
    if tag in SEQUENCES:
        return b""
    element = where.get_item(tag)
    value: object = element.value
    if isinstance(value, bytes):
        return value
    if value is None or isinstance(element, RawDataElement):
        return b""
    parts = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return "\\".join(str(part) for part in parts).encode("latin-1", "replace")


def _pixel_element(source: BinaryIO, *, implicit: bool, big_endian: bool) -> tuple[int, int, int, bool] | None:
    """Return (offset, length, tag, in words) of the pixel data element at which pydicom stopped."""
    start = source.tell()
    head = source.read(12)
    if len(head) < 8:
        return None
    order = ">" if big_endian else "<"
    group, element = struct.unpack_from(order + "HH", head)
    tag = group << 16 | element
    if tag not in PIXEL_TAGS:
        return None
    if implicit:
        return start + 8, struct.unpack_from(order + "I", head, 4)[0], tag, False
    if head[4:6] not in _LONG_VR or len(head) < 12:
        raise ValueError("pixel data with an unexpected VR")
    return start + 12, struct.unpack_from(order + "I", head, 8)[0], tag, big_endian and head[4:6] == b"OW"
