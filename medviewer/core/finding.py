"""What a classifier says about a whole image."""

from __future__ import annotations

from dataclasses import dataclass

from medviewer.core.terminology import CodedConcept


@dataclass(frozen=True, slots=True)
class Finding:
    """A concept and how probable it is, 0..1."""

    concept: CodedConcept
    probability: float
