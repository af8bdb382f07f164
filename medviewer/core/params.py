"""What a parameter's annotation may say, so that a form can be made from it.

``upper: Annotated[float, Range(-1000, 0, 10), Unit("HU"), Doc("Highest value of air")] = -400.0``
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest value, and the step of the arrows."""

    minimum: float
    maximum: float
    step: float = 1.0


@dataclass(frozen=True, slots=True)
class Unit:
    """Unit shown behind the value."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The allowed values of a text."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """A text that is the id of a task; the host offers those of a kind that there are."""

    kind: str


@dataclass(frozen=True, slots=True)
class Doc:
    """One sentence of help."""

    text: str


@dataclass(frozen=True, slots=True)
class SegmentChoice:
    """A whole number that is the label value of a segment, chosen from the list of those there are; 0 is none."""
