"""Words of the catalogue: folded the same way when they are stored and when they are looked for.

Case, accents and the spelling of umlauts make no difference: ``mueller``, ``Muller`` and ``MÜLLER`` all find Müller.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: Letters that Unicode does not take apart into a letter and an accent.
_PLAIN: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th", "ħ": "h"}
)
#: The other common spelling of the same letters.
_SPELLED_OUT: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
#: Scripts that write without gaps begin here: a word of them is found by any of its characters.
_WITHOUT_GAPS: Final = "\u2e80"
_LONGEST: Final = 64


def fold(text: str) -> str:
    """Return text without case and accents."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold().translate(_PLAIN))
    kept = "".join(c for c in apart if not unicodedata.combining(c))
    return unicodedata.normalize("NFKC", kept).casefold()


def words(text: str) -> list[str]:
    """Return the folded words of a text, in order; everything that is neither letter nor number parts words."""
    parted = "".join(c if c.isalnum() else " " for c in fold(text))
    return [word[:_LONGEST] for word in parted.split()]


def indexed_words(texts: Sequence[str]) -> str:
    """Return all words under which a study is found, separated by blanks."""
    found: dict[str, None] = {}
    for text in texts:
        composed = unicodedata.normalize("NFKC", text).casefold()
        for word in (*words(text), *words(composed.translate(_SPELLED_OUT))):
            found[word] = None
            if max(word) >= _WITHOUT_GAPS:
                found.update(dict.fromkeys(word[n:] for n in range(1, len(word))))
    return " ".join(found)


def token(value: str) -> str:
    """Return a value that is filtered by, such as a modality, as one word; empty stays empty."""
    return "".join(words(value))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, in the two ways in which it is looked for.

    Attributes
    ----------
    match : str
        FTS5 expression; empty when nothing is asked.
    terms : tuple of str
        Parts that `study_terms` of a hit contain.
    """

    match: str
    terms: tuple[str, ...]


def wanted(text: str, columns: Mapping[str, str]) -> Wanted:
    """Return the query for all words typed so far and exact values of columns.

    Parameters
    ----------
    text : str
        What the user typed; each word may be the start of one in the study.
    columns : mapping
        Column -> value that it must have; empty values do not count.
    """
    typed = words(text)
    values = {column: token(value) for column, value in columns.items() if token(value)}
    parts = [f'text : "{word}" *' for word in typed] + [f'{c} : "{v}"' for c, v in values.items()]
    terms = [f" {word}" for word in typed] + [f" ={column}:{value} " for column, value in values.items()]
    return Wanted(" AND ".join(parts), tuple(terms))


def study_terms(text: str, columns: Mapping[str, str]) -> str:
    """Return all words of a study and the values of its columns as one text, which `Wanted.terms` are parts of.

    Values begin with a sign that no word has, so that no word typed finds the name of a column.
    """
    values = [f"={column}:{value}" for column, found in columns.items() for value in found.split()]
    return f" {' '.join([text, *values])} "
