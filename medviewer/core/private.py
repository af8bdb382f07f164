"""Values of patients, so that they can be kept out of what is written beside the library: the log."""

from __future__ import annotations

import re
import threading
from typing import Final

#: Shorter ones are parts of ordinary words.
_SHORTEST: Final = 3
_PARTS: Final = re.compile(r"[\^=\s,]+")
_words: set[str] = set()
_lock = threading.Lock()


def keep_private(*values: str) -> None:
    """Remember values (names, ids, dates of birth) that `redacted` takes out of texts."""
    found = {value for value in values if len(value) >= _SHORTEST}
    found |= {part for value in found for part in _PARTS.split(value) if len(part) >= _SHORTEST}
    with _lock:
        _words.update(found)


def redacted(text: str) -> str:
    """Return text in which every remembered value is replaced."""
    with _lock:
        found = [word for word in _words if word in text]
    for word in sorted(found, key=len, reverse=True):
        text = text.replace(word, "[patient]")
    return text
