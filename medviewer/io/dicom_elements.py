"""Elements that only few kinds of files need, read by pydicom; and numbers written as elements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.core.errors import DecodeError, InputError
from medviewer.io.inflate import inflated_dicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@contextmanager
def refused(path: Path, what: str = "has broken sequences", code: str = "E_DICOM") -> Iterator[None]:
    """Turn whatever a broken file makes of the block into one refusal.

    pydicom parses a value when it is first looked at, so that any look may raise, and in many ways.

    Raises
    ------
    InputError
        ``E_FILE``, ``E_TOO_DEEP``, or `code` with what is wrong with the file.
    """
    try:
        yield
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{path.name} nests its sequences too deeply.", code="E_TOO_DEEP") from error
    except Exception as error:
        # pydicom has errors of its own that are an OSError; only the system numbers them.
        if isinstance(error, OSError) and error.errno is not None:
            raise DecodeError(f"{path.name} cannot be read: {error.strerror}.", code="E_FILE") from error
        raise DecodeError(f"{path.name} {what} ({type(error).__name__}).", code=code) from error


def read_elements(path: Path, wanted: list[str] | list[int] | None) -> Dataset:
    """Return some elements of a file, by keyword or tag, or all of them, without its pixels.

    Their values are parsed when they are looked at: look at them in a block of `refused`.

    Raises
    ------
    InputError
        ``E_FILE``, ``E_TOO_DEEP`` or ``E_DICOM``, naming the file.
    """
    from pydicom import dcmread

    with refused(path), path.open("rb") as file:
        source = inflated_dicom(file, path.name)
        return dcmread(source, stop_before_pixels=True, force=True, specific_tags=wanted)


def decimal_string(values: Iterable[float]) -> bytes:
    """Return numbers as the value of an element, with all their digits."""
    return "\\".join(repr(float(value)) for value in values).encode()
