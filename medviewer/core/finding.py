"""What a model says about a whole image, and what is doubtful about its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import uuid4

from medviewer.core.provenance import MANUAL, Provenance
from medviewer.core.terminology import CodedConcept
from medviewer.core.volume import Volume


@dataclass(frozen=True, slots=True)
class Finding:
    """A concept and how probable it is, 0..1."""

    concept: CodedConcept
    probability: float


@dataclass(frozen=True, slots=True)
class QualityFlag:
    """A reason to look at a result twice, found by the program itself.

    Attributes
    ----------
    code : str
        Stable, for example ``Q_BORDER``.
    text : str
        A short sentence for people.
    segment : int
        Label value in the result that it is about; 0 for the whole result.
    """

    code: str
    text: str
    segment: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assessment:
    """What one run says of a whole image, beside the segments and boxes that it made.

    Attributes
    ----------
    name : str
    findings : tuple of Finding
        Most probable first.
    maps : tuple of Volume
        Heat map, probability, uncertainty; shown over the image, each on its own grid (LPS mm).
    flags : tuple of QualityFlag
        About the result as a whole.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    maps: tuple[Volume, ...] = ()
    flags: tuple[QualityFlag, ...] = ()
    provenance: Provenance = MANUAL
    id: str = field(default_factory=lambda: uuid4().hex)
