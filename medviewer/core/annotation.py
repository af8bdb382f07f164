"""Marks in LPS millimetres."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from medviewer.core.geometry import Vec3
from medviewer.core.provenance import MANUAL, Provenance

Review = Literal["open", "accepted", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point3D:
    """A point in LPS mm."""

    lps: Vec3
    label: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box3D:
    """A finding: an axis-aligned box in LPS mm, with where its centre is and how big it is.

    Attributes
    ----------
    lower, upper : (float, float, float)
        Opposite corners, LPS mm.
    label : str
        What it is.
    score : float or None
        0..1, as the detector gave it.
    diameter_mm : float or None
        Equivalent-sphere diameter.
    review : "open", "accepted" or "rejected"
        What the reader decided.
    segment : int or None
        Value of the segment made from it.
    """

    lower: Vec3
    upper: Vec3
    label: str = ""
    score: float | None = None
    diameter_mm: float | None = None
    review: Review = "open"
    segment: int | None = None
    provenance: Provenance = MANUAL
    id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def center_lps(self) -> Vec3:
        """Middle of the box, LPS mm."""
        x, y, z = ((a + b) / 2 for a, b in zip(self.lower, self.upper, strict=True))
        return (x, y, z)
