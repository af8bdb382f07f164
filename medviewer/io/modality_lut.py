"""The Modality LUT: a table from stored values to real ones, which takes the place of slope and intercept.

References
----------
DICOM PS3.3 C.11.1.1 (Modality LUT attributes).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.io.dicom_elements import read_elements, refused
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True, eq=False)
class ModalityLut:
    """A table of real values.

    Attributes
    ----------
    first : int
        Stored value of the first entry; smaller ones get the first entry, values beyond the end the last.
    values : shape (n,), float64
    unit : str
        ModalityLUTType, for example ``HU``, ``OD``, ``US`` (unspecified).
    """

    first: int
    values: npt.NDArray[np.float64]
    unit: str

    def __call__(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the real values of stored ones, same shape."""
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(self.values) - 1)
        return self.values[index]


def modality_lut(header: Header) -> ModalityLut | None:
    """Return the table of a file; None when it has none.

    Raises
    ------
    DecodeError
        ``E_RESCALE`` when its table cannot be used.
    """
    if Tag.MODALITY_LUT_SEQUENCE not in header.values:
        return None
    signed = header.integer(Tag.PIXEL_REPRESENTATION) == 1
    return _read(header.path, header.mtime_ns, signed, header.big_endian)


@lru_cache(maxsize=16)
def _read(path: Path, mtime_ns: int, signed: bool, big_endian: bool) -> ModalityLut | None:
    """Read the table of a file, once for all its frames; the time of its last change is part of the key."""
    with refused(path, "has a Modality LUT that cannot be used", "E_RESCALE"):
        items = read_elements(path, ["ModalityLUTSequence", "PixelRepresentation"]).get("ModalityLUTSequence")
        return _table(items[0], signed=signed, big_endian=big_endian) if items else None


def _table(item: Dataset, *, signed: bool, big_endian: bool) -> ModalityLut:
    count, first, bits = (int(v) for v in item["LUTDescriptor"].value)
    count = count % 65536 or 65536
    if signed:
        first = (first + 32768) % 65536 - 32768
    else:
        first %= 65536
    data = item["LUTData"].value
    if isinstance(data, bytes):
        order = ">" if big_endian else "<"
        # Eight-bit entries may lie in bytes or in words.
        wide = bits > 8 or len(data) >= 2 * count
        values = np.frombuffer(data, f"{order}u2" if wide else "u1")
    else:
        values = np.atleast_1d(np.array(data, np.int64)) % 65536
    if not 8 <= bits <= 16 or len(values) < count:
        raise ValueError("table too short")
    return ModalityLut(first, values[:count].astype(np.float64), str(item.get("ModalityLUTType", "") or ""))
