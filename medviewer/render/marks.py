"""What is drawn over a slice as lines and words: crosshair, findings, letters, scale bar, corner texts.

Marks are values in device pixels; whoever paints them needs no model, whoever makes them needs no painter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from medviewer.core.annotation import Box3D
from medviewer.core.geometry import Points, Vec3
from medviewer.core.prompt import Prompt
from medviewer.core.segmentation import Color, Segmentation
from medviewer.core.shown_text import person_name, shown
from medviewer.core.view_state import TRUE_COLOR, LabelLook, MaskDifference, Plane, WindowLevel
from medviewer.core.volume import Volume
from medviewer.editing.tool import CursorLine
from medviewer.render.crosshair import HANDLE_RADIUS, crosshair_rays
from medviewer.render.difference_overlay import COLORS as DIFFERENCE_COLORS
from medviewer.render.plane import PlaneFrame, cut_box, opposite_letters, orientation_letters
from medviewer.render.slice_scene import SliceScene

#: As in 3D Slicer: what the views and their lines are known by.
PLANE_COLORS: dict[Plane, Color] = {"axial": (240, 90, 80), "coronal": (110, 190, 90), "sagittal": (235, 200, 70)}
TEXT: Color = (226, 230, 234)
_EDGE: Color = (0, 0, 0)
DIM: Color = (150, 158, 166)
REVIEW_COLORS: dict[str, Color] = {"open": (255, 170, 60), "accepted": (90, 210, 120)}
SELECTED: Color = (255, 240, 120)
#: Clicks into an object, and those that take away from it.
INSIDE: Color = (90, 230, 110)
OUTSIDE: Color = (255, 90, 80)
_TOOL: Color = (255, 255, 255)
_LONGEST_NAME = 28
_SCALE_STEPS = (1.0, 2.0, 5.0)

Point = tuple[float, float]
Place = Literal["top left", "top right", "bottom left", "bottom right", "left", "right", "top", "bottom", "point"]


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line between two display coordinates; `width` in device-independent pixels."""

    start: Point
    end: Point
    color: Color
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline through display coordinates."""

    points: tuple[Point, ...]
    color: Color
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Circle:
    """An outline of an ellipse with upright axes, in display coordinates."""

    center: Point
    radius: Point
    color: Color
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Words:
    """Lines of text in a corner, at the middle of an edge, or beside a point."""

    text: tuple[str, ...]
    place: Place
    color: Color = TEXT
    at: Point = (0.0, 0.0)
    bold: bool = False


Mark = Line | Polygon | Circle | Words


def marks(scene: SliceScene, ratio: float = 1.0) -> list[Mark]:
    """Return everything that lies over the picture of a scene.

    Parameters
    ----------
    scene : SliceScene
        The view.
    ratio : float
        Device pixels for one pixel of the desktop.
    """
    frame, volume = scene.frame, scene.volume
    if frame is None or volume is None:
        return []
    view = scene.workspace.view
    boxes = [box for box in scene.workspace.boxes(volume.id) if view.shows(box)]
    found: list[Mark] = list(finding_marks(frame, boxes, view.selected_box))
    if view.look.style != "fill" and scene.difference is None:
        found.extend(contour_marks(frame, scene.workspace.segmentation(volume.id), view.look, 3 * ratio))
    if view.crosshair_visible and volume.has_depth:
        found.extend(crosshair_marks(frame, view.crosshair_lps, 14 * ratio, ratio))
    if volume.in_patient:
        left, right, top, bottom = frame.grid.letters
        places: tuple[tuple[str, Place], ...] = ((left, "left"), (right, "right"), (top, "top"), (bottom, "bottom"))
        found.extend(Words((letters,), place, TEXT, bold=True) for letters, place in places)
    found.extend(scale_bar(frame, ratio, in_mm=volume.in_mm))
    if scene.difference is not None:
        found.extend(difference_legend(frame, scene.difference, ratio))
    found.extend(corner_texts(frame, volume, view.window, scene.zoom, scene.fusion_text))
    return found


def crosshair_marks(frame: PlaneFrame, lps: Vec3, gap: float, ratio: float = 1.0) -> Iterator[Line | Circle]:
    """Yield the lines of the other two planes through a point, open around it by `gap` device pixels.

    Planes that are turned against the grid have handles to turn them further.
    """
    plane = frame.grid.plane
    colors = {
        "down": PLANE_COLORS["coronal" if plane == "sagittal" else "sagittal"],
        "across": PLANE_COLORS["coronal" if plane == "axial" else "axial"],
    }
    for ray in crosshair_rays(frame, lps, gap):
        yield Line(ray.at(ray.first), ray.at(ray.last), colors[ray.along])
        distance = ray.handle_distance(ratio) if frame.grid.image is not None else None
        if distance is not None:
            handle = ray.at(distance)
            yield Circle(handle, (HANDLE_RADIUS * ratio + 1, HANDLE_RADIUS * ratio + 1), _EDGE)
            yield Circle(handle, (HANDLE_RADIUS * ratio, HANDLE_RADIUS * ratio), colors[ray.along], 2.0)


def box_section(frame: PlaneFrame, box: Box3D) -> Points | None:
    """Return where the slice cuts a box: corners (n, 2) of a convex outline in display coordinates, or None."""
    geometry, normal = frame.grid.geometry, frame.grid.normal
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    lower, upper = np.array(box.lower), np.array(box.upper)
    index = geometry.lps_to_index(lower + corners * (upper - lower))
    height = index[:, normal] - frame.slice_index
    # A box thinner than the slices still shows in the slice that holds its middle.
    middle = (height.min() + height.max()) / 2
    if height.max() - height.min() < 1.0 and abs(middle) <= 0.5:
        height = height - middle
    points = cut_box(index, height)
    if len(points) < 3:
        return None
    flat = np.array([frame.index_to_display(p[frame.grid.across], p[frame.grid.down]) for p in points])
    offset = flat - flat.mean(axis=0)
    ring: Points = flat[np.argsort(np.arctan2(offset[:, 1], offset[:, 0]))]
    return ring


def finding_marks(frame: PlaneFrame, boxes: Sequence[Box3D], selected: str) -> Iterator[Mark]:
    """Yield the outlines of findings in this slice; rejected ones are hidden, the selected one has its name."""
    for box in boxes:
        ring = box_section(frame, box) if box.review != "rejected" else None
        if ring is None:
            continue
        chosen = box.id == selected
        color = SELECTED if chosen else REVIEW_COLORS[box.review]
        yield Polygon(tuple((float(x), float(y)) for x, y in ring), color, 2.0 if chosen else 1.0)
        if chosen:
            size = f" {box.diameter_mm:.0f} mm" if box.diameter_mm is not None else ""
            corner = (float(ring[:, 0].max()), float(ring[:, 1].min()))
            yield Words((f"{box.label}{size}",), "point", color, corner)


def prompt_marks(frame: PlaneFrame, prompts: Sequence[Prompt], radius: float) -> Iterator[Circle]:
    """Yield rings of `radius` device pixels around the clicks of this slice, green inside the object, red outside."""
    geometry, normal = frame.grid.geometry, frame.grid.normal
    for prompt in prompts:
        for lps in prompt.points if prompt.kind == "point" else ():
            if abs(float(geometry.lps_to_index(lps)[normal]) - frame.slice_index) <= 0.5:
                point = frame.lps_to_display(lps)
                yield Circle(point, (radius + 1, radius + 1), _EDGE)
                yield Circle(point, (radius, radius), INSIDE if prompt.positive else OUTSIDE, 2.0)


def tool_lines(frame: PlaneFrame, lines: Sequence[CursorLine], radius: float) -> Iterator[Mark]:
    """Yield what a tool draws in this slice: its lines, and rings of `radius` device pixels to take hold of."""
    geometry, normal = frame.grid.geometry, frame.grid.normal
    for line in lines:
        if not line.points_lps or line.in_3d:
            continue
        depths = np.asarray(geometry.lps_to_index(line.points_lps))[..., normal] - frame.slice_index
        if np.abs(depths).max() > 0.5:
            continue
        yield from line_marks(line, tuple(frame.lps_to_display(lps) for lps in line.points_lps), radius)


def line_marks(line: CursorLine, points: tuple[Point, ...], radius: float) -> Iterator[Mark]:
    """Yield a tool's line through display coordinates, and rings of `radius` device pixels to take hold of."""
    if line.closed and len(points) > 2:
        yield Polygon(points, _EDGE, 3.0)
        yield Polygon(points, _TOOL)
    else:
        for color, width in ((_EDGE, 3.0), (_TOOL, 1.0)):
            yield from (Line(a, b, color, width) for a, b in pairwise(points))
    for point in points if line.handles else ():
        yield Circle(point, (radius + 1, radius + 1), _EDGE)
        yield Circle(point, (radius, radius), _TOOL, 1.5)


def difference_legend(frame: PlaneFrame, difference: MaskDifference, ratio: float) -> Iterator[Words]:
    """Yield what the colours of a difference mean, one line each, at the left edge."""
    first, second = (shown(name, _LONGEST_NAME) for name in difference.names)
    for row, (text, color) in enumerate(
        zip((f"only {first}", f"only {second}", "both"), DIFFERENCE_COLORS, strict=True)
    ):
        yield Words((text,), "point", color, (4 * ratio, 0.62 * frame.height + 17 * ratio * row))


def contour_marks(frame: PlaneFrame, segmentation: Segmentation, look: LabelLook, radius: float) -> Iterator[Mark]:
    """Yield the contours of this slice as their file has them, of segments that are shown and not edited."""
    active = segmentation.active
    shown = {s.value: s for s in segmentation.segments if look.shows(s, active) and not s.edited}
    grid = frame.grid
    for group in segmentation.groups:
        contours = group.contours
        drawn = contours.on_slice(grid.geometry, grid.normal, frame.slice_index) if contours is not None else []
        for contour, ijk in drawn:
            segment = shown.get(contour.segment)
            if segment is None or segment.group != group.id:
                continue
            points = [frame.index_to_display(p[grid.across], p[grid.down]) for p in ijk]
            if contour.kind == "POINT":
                yield from (Circle(point, (radius, radius), segment.color) for point in points)
            elif contour.kind.startswith("OPEN"):
                yield from (Line(a, b, segment.color) for a, b in pairwise(points))
            else:
                yield Polygon(tuple(points), segment.color)


#: From this width in pixels on the words of both lower corners leave room for a line between them.
_ROOMY = 430
#: Windows as wide as this are set in whole numbers.
_WHOLE_NUMBERS = 100.0
#: Characters of centre, width and unit that fit on one line beside the scale bar.
_LONGEST_VALUES = 17


def scale_length_mm(mm_per_pixel: float, available: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20, … mm that fits into `available` pixels."""
    longest = max(mm_per_pixel * available, 1e-6)
    power = float(10.0 ** np.floor(np.log10(longest)))
    return max(step * power for step in (0.5, *_SCALE_STEPS) if step * power <= longest * (1 + 1e-9))


def scale_bar(frame: PlaneFrame, ratio: float, *, in_mm: bool = True) -> Iterator[Mark]:
    """Yield a bar with ends and its length, above the bottom edge; in pixels of the image where no length is known."""
    available = min(0.3 * frame.width, 200 * ratio)
    length = scale_length_mm(frame.mm_per_pixel, available)
    pixels = length / frame.mm_per_pixel
    # In a narrow view the window stands where the length would; beside the zoom there is room.
    y = frame.height - (24 if frame.width >= _ROOMY * ratio else 10) * ratio
    x0 = round((frame.width - pixels) / 2) + 0.5
    x1 = round(x0 + pixels) + 0.5
    lines = (((x0, y), (x1, y)), *(((x, y - 4 * ratio), (x, y + 4 * ratio)) for x in (x0, x1)))
    yield from (Line(start, end, _EDGE, 3.0) for start, end in lines)  # to be seen on white
    yield from (Line(start, end, TEXT) for start, end in lines)
    text = f"{length:g} px"
    if in_mm:
        text = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    yield Words((text,), "point", TEXT, (x1 + 4 * ratio, y - 8 * ratio))


def slice_position(frame: PlaneFrame) -> str:
    """Return where the slice lies along its normal, as ``H 12.5 mm``."""
    position = frame.grid.position_mm(frame.slice_index)
    letters = orientation_letters(frame.grid.normal_lps)
    return f"{letters if position >= 0 else opposite_letters(letters)} {abs(position):.1f} mm"


#: Longest line in a corner, in characters.
_MOST = 60
#: What the images of a stack are called, one by one.
_NAMES = {"place": "", "time": "frame ", "number": "picture "}


def slice_texts(frame: PlaneFrame, volume: Volume) -> tuple[str, ...]:
    """Return which image of how many is shown, and where in the patient or when it was taken, as far as known."""
    count, index = frame.grid.count, frame.slice_index
    texts = [f"{_NAMES[volume.stacking]}{index + 1} / {count}"] if count > 1 or volume.stacking == "place" else []
    if volume.stacking == "place" and volume.in_patient:
        texts.append(slice_position(frame))
    if frame.grid.image is not None:
        texts.append(f"oblique {frame.grid.tilt_degrees:.0f}°")
    if volume.stacking == "time" and index < len(volume.frame_times_ms):
        texts.append(f"{volume.frame_times_ms[index] / 1000:.2f} s")
    return tuple(texts)


def corner_texts(
    frame: PlaneFrame, volume: Volume, window: WindowLevel, zoom: float, over: str = ""
) -> Iterator[Words]:
    """Yield who and what is shown, where, and how."""
    who = (person_name(volume.patient_name), volume.patient_id, _date(volume.study_date))
    patient = tuple(shown(text, _MOST) for text in who if text)
    if patient:
        yield Words(patient, "top left")
    point = volume.time.text if volume.time is not None else ""
    # A series without a name has that of its modality.
    about = dict.fromkeys((volume.name, volume.modality, point, over))
    series = tuple(shown(text, _MOST) for text in about if text)
    if series:
        yield Words(series, "top right")
    which = slice_texts(frame, volume)
    if which:
        yield Words(which, "bottom left", PLANE_COLORS[frame.grid.plane] if volume.has_depth else TEXT)
    digits = ".0f" if window.width >= _WHOLE_NUMBERS else ".4g"
    values = [f"C {window.center:{digits}}", f"W {window.width:{digits}}"]
    if volume.suv is not None:
        values.append(volume.unit)
    if volume.colors is not None and window == TRUE_COLOR:
        values = ["colours as stored"]
    # One long line would run into the scale bar.
    line = "  ".join(values)
    lines = values if len(line) > _LONGEST_VALUES else [line]
    yield Words((*lines, f"{zoom:.0%}"), "bottom right", DIM)


def _date(study_date: str) -> str:
    """Return DICOM DA ``20250131`` as ``2025-01-31``; anything else as it is."""
    if len(study_date) == 8 and study_date.isdigit():
        return f"{study_date[:4]}-{study_date[4:6]}-{study_date[6:]}"
    return study_date
