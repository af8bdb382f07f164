"""Parallel slices -> evenly spaced stacks.

Several images at one place are told apart by time point, echo, b-value, acquisition and the like. What is then not
evenly spaced is split into its evenly spaced runs, each exact; nothing is ever stacked at invented places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, get_args

import numpy as np

from medviewer.core.dicom_ref import Interpolation, SeriesWarning
from medviewer.core.geometry import Geometry, Points
from medviewer.io.dicom_duplicates import without_copies
from medviewer.io.dicom_geometry import tilt_degrees
from medviewer.io.dicom_resample import regular_grid
from medviewer.io.dicom_slices import Apart, Part, Slices
from medviewer.io.dicom_tags import Tag
from medviewer.io.dicom_time import TURN, clock_s, joined_in_time, label_of

#: More evenly spaced runs than this are not offered one by one; the series is listed whole, not as a volume.
MOST_RUNS: Final = 6
#: What may tell images at one place apart, with the name shown.
DISCRIMINATORS: Final = (
    (Tag.STACK_ID, "stack"),
    (Tag.TEMPORAL_POSITION_IDENTIFIER, "time point"),
    (Tag.ECHO_NUMBERS, "echo"),
    (Tag.ECHO_TIME, "echo time"),
    (Tag.DIFFUSION_B_VALUE, "b-value"),
    (Tag.DIFFUSION_GRADIENT_ORIENTATION, "direction"),
    (Tag.INVERSION_TIME, "inversion time"),
    (Tag.FLIP_ANGLE, "flip angle"),
    (Tag.REPETITION_TIME, "repetition time"),
    (Tag.ACQUISITION_NUMBER, "acquisition"),
    (Tag.CONVOLUTION_KERNEL, "kernel"),
    (Tag.IMAGE_TYPE, "image type"),
    (Tag.TRIGGER_TIME, "trigger time"),
    (Tag.FRAME_REFERENCE_TIME, "frame time"),
    (Tag.SLICE_THICKNESS, "slice thickness"),
    (Tag.RESCALE_TYPE, "rescale type"),
    (Tag.ACQUISITION_TIME, "acquisition time"),
    (Tag.CONTENT_TIME, "content time"),
    (Tag.DIMENSION_INDEX_VALUES, "dimension"),
)
#: Gaps that differ by less than this, mm, belong to one run; the fit then decides to a tenth of a millimetre.
_SAME_GAP_MM: Final = 0.1
_TILT_NAMED_DEGREES: Final = 0.01


def stacks(slices: Slices, *, may_be_mixed: bool) -> list[Part]:
    """Return the evenly spaced stacks of parallel slices, and where values may be mixed, what is computed from all."""
    parts: list[Part] = []
    groups = _one_per_place(slices)
    for part_slices, warnings, apart in groups:
        # A film of uneven stacks would be listed three times over.
        for part in _even(part_slices, with_computed=may_be_mixed and len(groups) <= MOST_RUNS):
            label = ", ".join(text for text in (label_of(apart), part.label) if text)
            # What is not evenly spaced is no point of a time axis.
            known = () if part.label else apart
            parts.append(replace(part, warnings=(*part.warnings, *warnings), label=label, apart=known))
    return joined_in_time(parts)


_Labelled = tuple[Slices, list[SeriesWarning], Apart]


def _one_per_place(slices: Slices) -> list[_Labelled]:
    """Split slices so that no two lie at one place."""
    most = slices.most_at_one_place
    if most == 1:
        return [(slices, [], ())]

    def tells_apart(part: Slices) -> bool:
        return part.most_at_one_place < most

    found = _apart(slices, 2 * most, tells_apart)
    if found is not None:
        tag, name, groups = found
        parts: list[_Labelled] = []
        for value, group in groups.items():
            parts += [(s, w, ((tag, name, value), *apart)) for s, w, apart in _one_per_place(group)]
        return parts
    turns = _by_turn(slices)
    if turns:
        return turns
    fewer, warnings = without_copies(slices)
    if warnings:
        return [(s, [*w, *warnings], apart) for s, w, apart in _one_per_place(fewer)]
    return _by_occurrence(slices)


def _by_turn(slices: Slices) -> list[_Labelled]:
    """Split by time where every place has its own: a heart beats at another rate while the next slice is imaged.

    Each place must have been imaged equally often, at times that differ. The first images of all places are one point,
    the second ones another. Nothing is returned where that is not so.
    """
    places = np.array(slices.place_numbers)
    counts = np.bincount(places)
    if (counts != counts[0]).any():
        return []
    for tag in _CLOCKS:
        times = [clock_s(header, tag) for header in slices.headers]
        if None in times or len(set(zip(places.tolist(), times, strict=True))) < len(times):
            continue
        order = np.lexsort((np.array(times, dtype=np.float64), places)).reshape(len(counts), counts[0])
        return [(slices.take(column), [], ((TURN, "phase", str(n + 1)),)) for n, column in enumerate(order.T.tolist())]
    return []


#: What says when an image at a place was taken.
_CLOCKS: Final = (Tag.TRIGGER_TIME, Tag.FRAME_REFERENCE_TIME, Tag.ACQUISITION_TIME)


def _by_occurrence(slices: Slices) -> list[_Labelled]:
    """Split by InstanceNumber alone: the first image at each place, the second, and so on."""
    seen: dict[int, int] = {}
    turns: dict[int, list[int]] = {}
    for n, place in enumerate(slices.place_numbers):
        turn = seen.get(place, 0)
        seen[place] = turn + 1
        turns.setdefault(turn, []).append(n)
    text = "Several images lie at one place and nothing but InstanceNumber tells them apart; check that they belong."
    warning = SeriesWarning("W_AMBIGUOUS", text)
    return [
        (slices.take(n), [warning], ((Tag.INSTANCE_NUMBER, "image", str(turn + 1)),)) for turn, n in turns.items()
    ]  # fmt: skip


def _apart(
    slices: Slices, most_parts: int, good: Callable[[Slices], bool]
) -> tuple[int, str, dict[str, Slices]] | None:
    """Return the first tag that divides the slices into a few parts that are all good."""
    for tag, name in DISCRIMINATORS:
        groups = slices.apart_by(tag)
        if 1 < len(groups) <= most_parts and all(good(group) for group in groups.values()):
            return tag, name, groups
    return None


def _even(slices: Slices, *, with_computed: bool) -> list[Part]:
    """Split slices, one per place, into evenly spaced stacks; offer all of them on one computed grid besides."""
    if slices.fit.geometry is not None:
        return [_part(slices)]
    exact, computed = _exact(slices), _computed(slices) if with_computed else []
    if not computed:
        return exact
    return [*(replace(part, warnings=_with_offer(part.warnings)) for part in exact), *computed]


def _with_offer(warnings: Sequence[SeriesWarning]) -> tuple[SeriesWarning, ...]:
    """Say beside what is wrong with the spacing, the first warning, what else can be opened."""
    text = f"{warnings[0].text} All slices can be opened together as well, resampled onto one grid."
    return (replace(warnings[0], text=text), *warnings[1:])


def _exact(slices: Slices) -> list[Part]:
    """Return the evenly spaced parts of slices that are not evenly spaced."""

    def is_stack(part: Slices) -> bool:
        return len(part) > 1 and part.fit.geometry is not None

    found = _apart(slices, max(1, len(slices) // 2), is_stack)
    if found is not None:
        tag, name, groups = found
        warning = _gap_warning(slices)
        warning = replace(warning, text=f"{warning.text} Opened as {len(groups)} evenly spaced parts by {name}.")
        return [
            _part(group, warning, label=label_of(((tag, name, value),))) for value, group in groups.items()
        ]  # fmt: skip
    return _runs(slices)


def _runs(slices: Slices) -> list[Part]:
    """Split into runs of even spacing, or refuse when there would be too many."""
    bounds = _run_bounds(slices.gaps)
    warning = _gap_warning(slices)
    if len(bounds) > MOST_RUNS:
        text = f"{warning.text} That makes {len(bounds)} parts, so it is not offered as a volume."
        return [Part(slices.headers, None, (replace(warning, text=text),), refusal="E_UNEVEN_SPACING")]
    runs = [slices.take(range(start, stop)) for start, stop in bounds]
    if any(run.fit.geometry is None for run in runs):
        worst = max(run.fit.deviation_mm for run in runs)
        text = f"{warning.text} A slice lies {worst:.2f} mm from any even grid, so it is not offered as a volume."
        return [Part(slices.headers, None, (replace(warning, text=text),), refusal="E_UNEVEN_SPACING")]
    warning = replace(warning, text=f"{warning.text} Opened as {len(runs)} evenly spaced parts.")
    return [
        _part(run, warning, label=f"slices {start + 1} to {stop}" if stop - start > 1 else f"slice {stop}")
        for run, (start, stop) in zip(runs, bounds, strict=True)
    ]  # fmt: skip


def _computed(slices: Slices) -> list[Part]:
    """Return all slices as one volume on a regular grid, once for each interpolation; nothing where there is none."""
    grid = regular_grid(slices.frames, slices.positions)
    if grid is None:
        return []
    step, planes = grid.geometry.spacing[2], grid.geometry.size[2]
    parts = []
    for interpolation in get_args(Interpolation):
        text = (
            f"Resampled along the stack to {step:.2f} mm by {_WORDS[interpolation]}. {len(slices)} of {planes} planes "
            f"are true slices, unchanged and within {grid.deviation_mm:.2f} mm of their places; the others are "
            f"computed{_wide_gaps(slices)}."
        )
        warnings = [SeriesWarning("W_RESAMPLED", text), _gap_warning(slices), *_about_tilt(grid.geometry)]
        label = f"all slices, resampled to {step:.2f} mm, {interpolation}"
        parts.append(Part(slices.headers, grid.geometry, tuple(warnings), label, interpolation=interpolation))
    return parts


_WORDS: Final = {
    "linear": "linear interpolation between the true slices",
    "nearest": "repeating the nearest true slice",
}


def _wide_gaps(slices: Slices) -> str:
    """Say where computed planes fill more than the usual gap."""
    usual, widest = float(np.median(slices.gaps)), int(slices.gaps.argmax())
    wide = int((slices.gaps > usual + _SAME_GAP_MM).sum())
    if not wide:
        return ""
    places = f"{wide} gap{'s' if wide > 1 else ''} wider than the usual {usual:.2f} mm"
    where = f"{slices.gaps[widest]:.2f} mm at {slices.along[widest]:.1f} mm along the normal"
    return f", also in {places} (the widest {where})"


def _run_bounds(gaps: Points) -> list[tuple[int, int]]:
    """Return half-open slice ranges in which the gaps between neighbours are alike."""
    bounds: list[tuple[int, int]] = []
    start = 0
    count = len(gaps) + 1
    while start < count:
        stop = start + 1
        # A gap much wider than the next one stands alone: its slice does not begin a run across it.
        if stop < count and not (stop < len(gaps) and gaps[start] > gaps[stop] + _SAME_GAP_MM):
            stop += 1
            while stop < count and abs(gaps[stop - 1] - gaps[start]) <= _SAME_GAP_MM:
                stop += 1
        bounds.append((start, stop))
        start = stop
    return bounds


def _gap_warning(slices: Slices) -> SeriesWarning:
    """Say what is wrong with the spacing, with numbers."""
    gaps = slices.gaps
    usual = float(np.median(gaps))
    smallest = float(gaps.min())
    multiples = gaps / usual
    missing = np.round(multiples) - 1
    if np.abs(multiples - np.round(multiples)).max() < 0.05 and smallest > 0.95 * usual and missing.sum() > 0:
        where = [n for n in range(len(gaps)) if missing[n] > 0]
        places = "; ".join(
            f"after slice {n + 1}, at {slices.along[n]:.1f} mm along the normal (gap {gaps[n]:.2f} mm)"
            for n in where[:3]
        )
        more = f" and {len(where) - 3} more places" if len(where) > 3 else ""
        count = int(missing.sum())
        text = f"{count} slice{'s' if count > 1 else ''} missing: {places}{more}; spacing {usual:.2f} mm."
        return SeriesWarning("W_MISSING_SLICE", text)
    text = f"Uneven spacing: gaps from {smallest:.2f} to {float(gaps.max()):.2f} mm between {len(slices)} slices."
    return SeriesWarning("W_UNEVEN_SPACING", text)


def _part(slices: Slices, *warnings_before: SeriesWarning, label: str = "") -> Part:
    """Return slices that fit a grid, with what must be known about it."""
    warnings = list(warnings_before)
    if slices.fit.geometry is not None:
        warnings += _about_tilt(slices.fit.geometry)
    if len(slices) == 1:
        text = "A single slice: it has no depth, and 3-D steps make little sense."
        warnings.append(SeriesWarning("W_SINGLE_SLICE", text))
    return Part(slices.headers, slices.fit.geometry, tuple(warnings), label)


def _about_tilt(geometry: Geometry) -> list[SeriesWarning]:
    tilt = tilt_degrees(geometry)
    if tilt <= _TILT_NAMED_DEGREES:
        return []
    text = f"Tilted gantry: the slices are sheared by {tilt:.1f} degrees; every place shown is the true one."
    return [SeriesWarning("W_TILT", text)]
