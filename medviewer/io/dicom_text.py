"""Names and descriptions in their character sets.

References
----------
DICOM PS3.3 C.12.1.1.2 (Specific Character Set), PS3.5 section 6.1.
"""

from __future__ import annotations

import re

from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag

_ESCAPE = 0x1B
_ESCAPE_SEQUENCE = re.compile(r"\x1b[$()*+,\-./]{1,2}[0-~]")


def decoded_text(header: Header, tag: int) -> str:
    """Return a text value in Unicode; bytes that its character set does not know become replacement characters."""
    value = header.values.get(tag)
    if not value:
        return ""
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii").strip(" \0\r\n\t")
    from pydicom.charset import decode_bytes

    encodings = _encodings(header)
    if not encodings:
        return _guessed(value)
    if _ESCAPE not in value:
        return value.decode(encodings[0], "replace").strip(" \0\r\n\t")
    delimiters = {0x5E, 0x3D} if tag == Tag.PATIENT_NAME else {0x0A, 0x0C, 0x0D, 0x09}
    # What is left of escape sequences belongs to no text.
    return _ESCAPE_SEQUENCE.sub("", decode_bytes(value, encodings, delimiters)).strip(" \0\r\n\t")


def has_bad_text(header: Header, tag: int) -> bool:
    """Whether a text value does not follow its declared character set."""
    return "�" in decoded_text(header, tag)


def _encodings(header: Header) -> list[str]:
    """Return Python's names of the declared character sets; none when only the default repertoire is declared."""
    from pydicom.charset import python_encoding

    terms = [term.strip() for term in header.text(Tag.SPECIFIC_CHARACTER_SET).split("\\")]
    known = [python_encoding[term] for term in terms if term in python_encoding]
    return [] if len(terms) == 1 and terms[0] in ("", "ISO_IR 6") else known


def _guessed(value: bytes) -> str:
    """Return bytes beyond ASCII with no declared character set: UTF-8 when they are, otherwise Latin-1."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.strip(" \0\r\n\t")
