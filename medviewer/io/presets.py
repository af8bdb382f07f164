"""Presets of segments: files that say which segments a piece of work has, with their values, colours and codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medviewer.core.errors import InputError
from medviewer.core.segmentation import MAX_VALUE, Segment
from medviewer.io.atomic import atomic_write
from medviewer.io.places import bundled, user_folder
from medviewer.io.terminology import Term, term_from_json, term_to_json

VERSION = 1
#: A file that is larger is no preset.
_MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Preset:
    """Segments by their label values.

    Attributes
    ----------
    name : str
    terms : mapping of int to Term
        Label value -> what it is.
    about : str
        One sentence.
    """

    name: str
    terms: dict[int, Term]
    about: str = ""

    @property
    def vocabulary(self) -> dict[str, int]:
        """Name -> label value, lowest first."""
        return {self.terms[value].name: value for value in sorted(self.terms)}

    def describes(self, segments: Sequence[Segment]) -> bool:
        """Whether every segment is one of it, by name and type; instances share the name of their kind."""
        types = {term.name: term.type.code_value for term in self.terms.values()}
        return bool(segments) and all(types.get(s.label) == s.type.code_value for s in segments)


def user_presets() -> Path:
    """Return the folder of the user's own presets; it need not exist."""
    return user_folder() / "presets"


def all_presets() -> tuple[Preset, ...]:
    """Return the presets that came with the program and the user's own, by name; files that are none are left out."""
    found = []
    for folder in (bundled("resources") / "presets", user_presets()):
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            try:
                found.append(read_preset(path))
            except InputError:
                continue
    return tuple(sorted(found, key=lambda preset: preset.name.lower()))


def read_preset(path: Path) -> Preset:
    """Read a preset.

    Raises
    ------
    InputError
        When it cannot be read, is none, or gives a name or a value twice.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("too large")
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["kind"] != "segments" or int(data["version"]) > VERSION:
            raise ValueError("another kind of file")
        terms = _terms(data["segments"])
        return Preset(str(data["name"]).strip() or path.stem, terms, str(data.get("about", "")))
    except OSError as error:
        raise InputError(f"{path.name} cannot be read.", hint=str(error.strerror or "")) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path.name} is no preset of segments.", hint="Choose another file.") from error


def write_preset(path: Path, preset: Preset) -> None:
    """Write a preset; an older file stays until the new one is complete.

    Raises
    ------
    InputError
        When it cannot be written.
    """
    segments = [{"value": value} | term_to_json(preset.terms[value]) for value in sorted(preset.terms)]
    data = {
        "kind": "segments", "version": VERSION, "name": preset.name, "about": preset.about, "segments": segments
    }  # fmt: skip
    with atomic_write(path, InputError) as file:
        file.write((json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))


def _terms(entries: Any) -> dict[int, Term]:
    terms: dict[int, Term] = {}
    for entry in entries:
        value = int(entry["value"])
        if value in terms or not 1 <= value <= MAX_VALUE:
            raise ValueError("a label value twice, or out of range")
        terms[value] = term_from_json(entry)
    if not terms or len({term.name for term in terms.values()}) != len(terms):
        raise ValueError("no segments, or a name twice")
    return terms
