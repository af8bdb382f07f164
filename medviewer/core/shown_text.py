"""Text that comes out of files, made fit to be looked at: one line, bounded, nothing in it that plays tricks.

References
----------
DICOM PS3.5 section 6.2.1 (Person Name: alphabetic, ideographic and phonetic groups).
"""

from __future__ import annotations

from typing import Final

#: No legal name or description is half as long.
MOST_CHARACTERS: Final = 1000
#: Zero-width non-joiner and joiner: Persian and Indian names are written with them.
_JOINERS: Final = "\u200c\u200d"


def shown(text: str, most: int = MOST_CHARACTERS) -> str:
    r"""Return text on one line, its end left out when it is very long.

    Controls and marks that cannot be seen, or that turn the direction of writing, are spelled out (``\u202e``): text
    looks like what it is. Blanks of any kind become one.
    """
    cut = text[: most + 1]
    if not cut.isprintable():
        cut = "".join(map(_visible, cut))
    line = " ".join(cut.split())
    return line if len(text) <= most else f"{line[: most - 1]}…"


def visible(text: str) -> str:
    """Return text of any length for a terminal: line breaks stay, everything else is treated as `shown` does."""
    return "\n".join("".join(map(_visible, line)) for line in text.split("\n"))


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")


def person_name(name: str) -> str:
    """Return a DICOM person name for people: ``Yamada, Tarou (山田 太郎, やまだ たろう)``; empty for none.

    Parameters
    ----------
    name : str
        Up to three groups parted by ``=`` (alphabetic, ideographic, phonetic), each of components parted by ``^``.
    """
    groups = [_components(group) for group in name.split("=", 2)]
    family, *given = groups[0]
    alphabetic = ", ".join(part for part in (family, " ".join(given)) if part)
    others = [" ".join(group) for group in groups[1:] if any(group)]
    if not alphabetic:
        alphabetic, others = (others[0], others[1:]) if others else ("", [])
    return f"{alphabetic} ({', '.join(others)})" if others else alphabetic


def _components(group: str) -> list[str]:
    """Return family name and whatever follows it; the family name may be empty."""
    family, *rest = (part.strip() for part in group.split("^"))
    return [family, *(part for part in rest if part)]


def dicom_date(date: str) -> str:
    """Return a DICOM date (``20240131``) as ``2024-01-31``; anything else as it is."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date


def counted(number: int, word: str) -> str:
    """Return a number with its word: ``1 file``, ``3 files``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def percent(probability: float) -> str:
    """Return a probability for people; what is not certain is not called so."""
    if 0.0 < probability < 0.005:
        return "< 1 %"
    if 0.995 <= probability < 1.0:
        return "> 99 %"
    return f"{probability:.0%}".replace("%", " %")
