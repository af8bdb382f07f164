"""Names and descriptions in their character sets.

References
----------
DICOM PS3.3 C.12.1.1.2 (Specific Character Set), PS3.5 section 6.1 and annexes H to K.
"""

from __future__ import annotations

import re
from typing import Final

from medviewer.core.shown_text import shown
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag

_ESCAPE: Final = 0x1B
_PARTS: Final = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
#: "ISO IR 100", "ISO-IR 100" and the like are common.
_MISSPELLED: Final = re.compile(r"ISO(?:[ _-]*(2022))?[ _-]*IR[ _-]*(\d+)", re.IGNORECASE)
#: Latin alphabet No. 9, which came into the standard after pydicom's table.
_LATIN_9: Final = {"ISO_IR 203": "iso8859_15", "ISO 2022 IR 203": "iso8859_15"}
#: Codecs that read the escape sequences themselves.
_READ_ESCAPES: Final = ("iso2022_jp", "iso2022_jp_2")
_BAD: Final = "\ufffd"
#: After these the first character set holds again (PS3.5 6.1.2.5.3).
_NAME_DELIMITERS: Final = re.compile(rb"(?=[\^=])")
_DELIMITERS: Final = re.compile(rb"(?=[\n\f\r\t])")


def decoded_text(header: Header, tag: int) -> str:
    """Return a text value in Unicode, fit to be shown (`shown`).

    Bytes that its character set does not know become replacement characters.
    """
    return shown(_decoded(header, tag)[0])


def plain_text(header: Header, tag: int) -> str:
    """Return a value of the default repertoire, such as a code or a date, fit to be shown."""
    return shown(header.text(tag))


def has_bad_text(header: Header, tag: int) -> bool:
    """Whether a text value does not follow its declared character set, so that some of it is lost or guessed."""
    text, is_certain = _decoded(header, tag)
    return not is_certain or _BAD in text


def _decoded(header: Header, tag: int) -> tuple[str, bool]:
    """Return a text value in Unicode, and whether its encoding is declared."""
    value = header.values.get(tag, b"").rstrip(b" \0")
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii"), True
    encodings, all_known = _encodings(header)
    if not encodings:
        return _guessed(value), False
    if _ESCAPE not in value:
        return value.decode(encodings[0], "replace"), all_known
    delimiters = _NAME_DELIMITERS if tag == Tag.PATIENT_NAME else _DELIMITERS
    parts: list[bytes] = _PARTS.findall(value)
    return "".join(_decoded_part(part, encodings[0], delimiters) for part in parts), all_known


def _decoded_part(part: bytes, first: str, delimiters: re.Pattern[bytes]) -> str:
    """Return text from one escape sequence to the next."""
    from pydicom.charset import CODES_TO_ENCODINGS

    if part[0] != _ESCAPE:
        return part.decode(first, "replace")
    code = part[: 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3]
    encoding = CODES_TO_ENCODINGS.get(code)
    if encoding in _READ_ESCAPES:
        return part.decode(encoding, "replace")
    body, *rest = delimiters.split(part[len(code) :], maxsplit=1)
    # An unknown sequence itself is no text.
    text = body.decode(encoding, "replace") if encoding else _BAD + body.decode(first, "replace")
    return text + "".join(after.decode(first, "replace") for after in rest)


def _encodings(header: Header) -> tuple[list[str], bool]:
    """Return Python's names of the declared character sets, and whether each term is known.

    None when only the default repertoire is declared.
    """
    from pydicom.charset import python_encoding

    terms = [_MISSPELLED.sub(_spelled, term.strip()) for term in header.text(Tag.SPECIFIC_CHARACTER_SET).split("\\")]
    found = [_LATIN_9.get(term) or python_encoding.get(term) for term in terms]
    if set(terms) <= {"", "ISO_IR 6", "ISO 2022 IR 6"}:
        return [], True
    return [encoding for encoding in found if encoding], None not in found


def _spelled(match: re.Match[str]) -> str:
    return f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"


def _guessed(value: bytes) -> str:
    """Return bytes beyond ASCII with no declared character set: UTF-8 when they are, otherwise Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
