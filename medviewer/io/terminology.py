"""What segments can be called in codes: the context groups of DICOM, and the structures of TotalSegmentator.

References
----------
DICOM PS3.16, CID 7150, 7151 and what they include, CID 244, CID 4031.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from medviewer.core.segmentation import Color, Segment
from medviewer.core.terminology import ANATOMICAL_STRUCTURE, TERMS, TISSUE, CodedConcept
from medviewer.io.places import bundled


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One thing a segment can be.

    Attributes
    ----------
    name : str
        For people; what a segment is called by it.
    color : (int, int, int) or None
        sRGB 0..255, where the vocabulary gives one.
    """

    name: str
    color: Color | None = None
    category: CodedConcept = TISSUE
    type: CodedConcept = ANATOMICAL_STRUCTURE
    type_modifier: CodedConcept | None = None
    region: CodedConcept | None = None
    region_modifier: CodedConcept | None = None

    @classmethod
    def of(cls, segment: Segment) -> Term:
        """Return what a segment is."""
        return cls(name=segment.label, color=segment.color, **{name: getattr(segment, name) for name in TERMS})

    @property
    def codes(self) -> dict[str, Any]:
        """The coded concepts or None, as fields of a segment."""
        return {name: getattr(self, name) for name in TERMS}


@dataclass(frozen=True, slots=True)
class TermGroup:
    """Terms that belong together."""

    name: str
    terms: tuple[Term, ...]


def term_to_json(term: Term) -> dict[str, Any]:
    """Return JSON-ready values; a concept is its value, scheme and meaning."""
    data: dict[str, Any] = {"name": term.name}
    if term.color is not None:
        data["color"] = list(term.color)
    for name, concept in term.codes.items():
        if concept is not None:
            data[name] = [concept.code_value, concept.coding_scheme_designator, concept.code_meaning]
    return data


def term_from_json(data: Mapping[str, Any]) -> Term:
    """Build from `term_to_json`; raises KeyError, TypeError or ValueError for what is no term."""
    color: Color | None = None
    if data.get("color") is not None:
        red, green, blue = (int(part) for part in data["color"])
        color = (red, green, blue)
        if not all(0 <= part <= 255 for part in color):
            raise ValueError("a colour has three parts of 0 to 255")
    name = str(data["name"]).strip()
    if not name:
        raise ValueError("a term without a name")
    codes: dict[str, Any] = {key: _concept(data[key]) for key in TERMS if data.get(key) is not None}
    return Term(name=name, color=color, **codes)


@cache
def term_groups() -> tuple[TermGroup, ...]:
    """Return every group, TotalSegmentator's first."""
    structures = [term_from_json(term) for term in _load("totalsegmentator")["terms"]]
    return (TermGroup("TotalSegmentator", tuple(structures)), *_context_groups())


@cache
def categories() -> tuple[CodedConcept, ...]:
    """Return the categories there are."""
    return tuple(_concept(entry["code"]) for entry in _load("dicom")["categories"])


@cache
def modifiers() -> tuple[CodedConcept, ...]:
    """Return the sides: left, right, both."""
    return tuple(map(_concept, _load("dicom")["groups"][_load("dicom")["modifiers"]]["codes"]))


@cache
def regions() -> tuple[CodedConcept, ...]:
    """Return the common regions of the body."""
    return tuple(map(_concept, _load("dicom")["groups"][_load("dicom")["regions"]]["codes"]))


def _context_groups() -> Iterator[TermGroup]:
    """Yield the context groups; a type is of the first category that lists it."""
    data = _load("dicom")
    others = {data["modifiers"], data["regions"]}
    category_of: dict[tuple[str, str], CodedConcept] = {}
    for entry in data["categories"]:
        for value, scheme, _ in data["groups"][entry["group"]]["codes"]:
            category_of.setdefault((value, scheme), _concept(entry["code"]))
    for cid, group in data["groups"].items():
        if cid in others:
            continue
        terms = []
        for code in group["codes"]:
            concept = _concept(code)
            category = category_of.get((concept.code_value, concept.coding_scheme_designator), TISSUE)
            terms.append(Term(name=concept.code_meaning, category=category, type=concept))
        yield TermGroup(f"{group['name']} (CID {cid})", tuple(terms))


def _concept(entry: Any) -> CodedConcept:
    value, scheme, meaning = (str(part) for part in entry)
    if not (value and scheme and meaning):
        raise ValueError("a code has a value, a scheme and a meaning")
    return CodedConcept(value, scheme, meaning)


@cache
def _load(name: str) -> dict[str, Any]:
    text = (bundled("resources") / "terminology" / f"{name}.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
