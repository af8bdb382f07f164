"""Parallel slices of one series with their places in the patient, and a part of a series that is listed."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np

from medviewer.core.dicom_ref import Interpolation, SeriesWarning, Stacking
from medviewer.core.geometry import Geometry, Points
from medviewer.io.dicom_geometry import (
    SAME_PLACE_MM,
    SliceFrame,
    StackFit,
    fit_stack,
    single_slice_spacing,
)
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag

_DOUBLES: Final = frozenset({Tag.DIFFUSION_B_VALUE, Tag.DIFFUSION_GRADIENT_ORIENTATION})


@dataclass(frozen=True, eq=False)
class Slices:
    """Parallel slices, sorted by place along their normal (and by InstanceNumber at one place).

    Attributes
    ----------
    headers, frames : tuples
        One per slice.
    positions : shape (n, 3)
        LPS mm of the first pixel.
    """

    headers: tuple[Header, ...]
    frames: tuple[SliceFrame, ...]
    positions: Points

    @classmethod
    def sorted(cls, headers: Sequence[Header], frames: Sequence[SliceFrame], positions: Points) -> Slices:
        """Sort slices given in any order."""
        along = positions @ frames[0].normal
        numbers = np.array([header.number(Tag.INSTANCE_NUMBER) or 0.0 for header in headers])
        frames_of_files = np.array([header.frame or 0 for header in headers])
        order = np.lexsort((frames_of_files, numbers, np.round(along / SAME_PLACE_MM)))
        return cls(tuple(headers[n] for n in order), tuple(frames[n] for n in order), positions[order])

    def __len__(self) -> int:
        return len(self.headers)

    def take(self, indices: Iterable[int]) -> Slices:
        """Return some of the slices, in the given order."""
        chosen = list(indices)
        return Slices(
            tuple(self.headers[n] for n in chosen), tuple(self.frames[n] for n in chosen), self.positions[chosen]
        )

    @cached_property
    def along(self) -> Points:
        """Millimetres along the normal."""
        return self.positions @ self.frames[0].normal

    @cached_property
    def gaps(self) -> Points:
        """Millimetres from each slice to the next, shape (n - 1,)."""
        gaps: Points = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        return gaps

    @cached_property
    def place_numbers(self) -> tuple[int, ...]:
        """For each slice, which place it lies at, counted along the normal."""
        if len(self) == 1:
            return (0,)
        return (0, *(int(n) for n in np.cumsum(np.diff(self.along) > SAME_PLACE_MM)))

    @cached_property
    def most_at_one_place(self) -> int:
        """Largest number of slices at one place."""
        return int(np.bincount(self.place_numbers).max())

    @cached_property
    def fit(self) -> StackFit:
        """How well the slices make one grid."""
        return fit_stack(self.frames, self.positions, single_slice_spacing(self.headers[0]))

    def apart_by(self, tag: int) -> dict[str, Slices]:
        """Return the slices for each value of a tag, in the order in which the values first appear."""
        indices: dict[str, list[int]] = {}
        for n, header in enumerate(self.headers):
            indices.setdefault(_value_text(header, tag), []).append(n)
        return {value: self.take(chosen) for value, chosen in indices.items()}


def _value_text(header: Header, tag: int) -> str:
    """Return the value of an element as text; those of diffusion are stored as binary doubles."""
    value = header.values.get(tag, b"")
    if tag not in _DOUBLES or len(value) % 8:
        return header.text(tag)
    numbers = struct.unpack(f"{'>' if header.big_endian else '<'}{len(value) // 8}d", value)
    return "\\".join(f"{number:.4g}" for number in numbers)


#: What tells a stack from others at its place: tag, name, value of each step.
Apart = tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a series as it is listed: a volume, or pictures, when it has a geometry.

    Attributes
    ----------
    headers : tuple of Header
        In the order of the slices.
    geometry : Geometry or None
    warnings : tuple of SeriesWarning
        Without a geometry the first says why.
    label : str
        What tells the part from the others of its series.
    refusal : str
        Code of the refusal when it is not opened.
    interpolation : "linear", "nearest" or empty
        For slices that are opened on a regular grid through them (`medviewer.io.dicom_resample`).
    stacking : "place", "time" or "number"
        What the headers count; a volume only for "place".
    in_mm : bool
        Whether the geometry is in millimetres.
    by_itself : bool
        Whether it is opened by a reader of its own, which finds the geometry.
    apart : tuple of (tag, name, value)
        What tells it from other stacks at its place.
    time_labels : tuple of str
        One for each point of a time axis; `headers` are then those of the first point, of the second, and so on.
    time_name : str
        What tells the points apart.
    """

    headers: tuple[Header, ...]
    geometry: Geometry | None
    warnings: tuple[SeriesWarning, ...] = ()
    label: str = ""
    refusal: str = ""
    interpolation: Interpolation | Literal[""] = ""
    stacking: Stacking = "place"
    in_mm: bool = True
    by_itself: bool = False
    apart: Apart = ()
    time_labels: tuple[str, ...] = ()
    time_name: str = ""
