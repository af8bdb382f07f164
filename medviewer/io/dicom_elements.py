"""Elements that only few kinds of files need, read by pydicom; and numbers written as elements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from medviewer.core.errors import DecodeError, InputError
from medviewer.io.dicom_header import Header
from medviewer.io.inflate import inflated_dicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def read_elements(header: Header, wanted: list[str] | list[int]) -> Dataset:
    """Return some elements of a file, by keyword or tag, without its pixels.

    Raises
    ------
    InputError
        ``E_FILE``, ``E_TOO_DEEP`` or ``E_DICOM``, naming the file.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    name = header.path.name
    try:
        with header.path.open("rb") as file:
            source = inflated_dicom(file, name)
            return dcmread(source, stop_before_pixels=True, force=True, specific_tags=wanted)
    except OSError as error:
        raise DecodeError(f"{name} cannot be read: {error.strerror}.", code="E_FILE") from error
    except RecursionError as error:
        raise InputError(f"{name} nests its sequences too deeply.", code="E_TOO_DEEP") from error
    except (InvalidDicomError, AttributeError, KeyError, NotImplementedError, TypeError, ValueError, EOFError) as error:
        raise InputError(f"{name} has broken sequences ({type(error).__name__}).", code="E_DICOM") from error


def decimal_string(values: Iterable[float]) -> bytes:
    """Return numbers as the value of an element, with all their digits."""
    return "\\".join(repr(float(value)) for value in values).encode()
