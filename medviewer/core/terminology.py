"""Coded concepts (DICOM PS3.3 section 8.8)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodedConcept:
    """CodeValue (0008,0100), CodingSchemeDesignator (0008,0102), CodeMeaning (0008,0104)."""

    code_value: str
    coding_scheme_designator: str
    code_meaning: str


#: What a segment is in coded concepts, as its fields are called; the first two are always there.
TERMS = ("category", "type", "type_modifier", "region", "region_modifier")

#: SNOMED CT category and type used when nothing more exact is known (DICOM CID 7150, 7151).
TISSUE = CodedConcept("85756007", "SCT", "Tissue")
ANATOMICAL_STRUCTURE = CodedConcept("123037004", "SCT", "Anatomical Structure")
MORPHOLOGICALLY_ALTERED_STRUCTURE = CodedConcept("49755003", "SCT", "Morphologically Altered Structure")
