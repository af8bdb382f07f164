"""The 128 bytes before a DICOM file, in which a program of another kind can hide (CVE-2019-11687).

Nothing here is ever run. What begins like a program is opened with a warning, and no file leaves with those bytes.

References
----------
DICOM PS3.10 section 7.1 (a preamble that is not used is all zero).
"""

from __future__ import annotations

from typing import Final

from medviewer.core.dicom_ref import SeriesWarning

LENGTH: Final = 128
_MARK: Final = b"DICM"
#: PE, ELF, Mach-O (32 and 64 bits, both byte orders, fat), scripts, JSON, archives, PDF. A TIFF there is lawful.
_PROGRAMS: Final = (
    b"MZ", b"\x7fELF", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe", b"#!", b"{", b"PK\x03\x04", b"\x1f\x8b", b"%PDF",
)  # fmt: skip
FOREIGN_PREAMBLE: Final = SeriesWarning(
    "W_PREAMBLE",
    "A file begins like a program or a document of another kind; only its DICOM part is read and sent.",
)


def is_foreign(head: bytes) -> bool:
    """Whether the first bytes of a DICOM file begin something else as well."""
    return head.startswith(_PROGRAMS) and head[LENGTH : LENGTH + 4] == _MARK


def without_preamble(data: bytes) -> bytes:
    """Return a whole DICOM file with nothing in its preamble."""
    if data[LENGTH : LENGTH + 4] != _MARK:
        return data
    return bytes(LENGTH) + data[LENGTH:]
