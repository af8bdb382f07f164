"""DICOM SEG to label maps: binary, fractional and label map, sparse, overlapping, tiled. Runs in the decode worker.

Every frame is placed by its own position. Frames that lie on slices of the image go there; a segmentation on another
grid is put together by itself and resampled when that is wanted.

References
----------
DICOM PS3.3 A.51, A.91, C.8.20.2 (Segmentation Image Module).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Color, LabelArray
from medviewer.core.terminology import ANATOMICAL_STRUCTURE, TISSUE, CodedConcept
from medviewer.imaging.cielab import lab_to_rgb
from medviewer.io.derived import MISFIT, Target, fractional
from medviewer.io.dicom_geometry import TOLERANCE_MM
from medviewer.io.dicom_resample import planes_of, repeat_between
from medviewer.io.dicom_slide import slide_grid
from medviewer.io.image_index import image_slices
from medviewer.io.label_file import LabelFile, NamedSegment
from medviewer.io.label_fit import fit_layers, misfit
from medviewer.io.seg_pixels import SegPixels
from medviewer.io.seg_planes import OUTSIDE, Place, SegPlane, find_places, own_grid, read_planes
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: CodeValue of the DICOM concept Background, which a label map lists as a segment.
_BACKGROUND: Final = "125040"
#: A frame that lies further than this off the pixels of a slice is not one of that slice.
_OF_A_PIXEL: Final = 0.25


def read_seg(
    ctx: JobContext, dataset: Dataset, target: Target, name: str, *, warnings: Sequence[str] = ()
) -> LabelFile:
    """Return the segments of a SEG on the grid of an image.

    Raises
    ------
    InputError
        ``E_FRACTIONAL``, ``E_TILED``, ``E_NO_POSITION``, ``E_GEOMETRY``, or what `SegPixels` refuses.
    """
    kind = str(dataset.get("SegmentationType", ""))
    notes = list(warnings)
    threshold = 1.0
    if kind == "FRACTIONAL":
        meaning = str(dataset.get("SegmentationFractionalType", "")).lower() or "fraction"
        if target.threshold is None:
            raise fractional(name, f"fractions ({meaning})")
        threshold = max(1.0, target.threshold * float(dataset.get("MaximumFractionalValue", 255) or 255))
        notes.append(f"{name} holds fractions ({meaning}); voxels of {target.threshold:.0%} and more were taken.")
    pixels = SegPixels(dataset, name)
    planes = read_planes(dataset, pixels.frames, name)
    described = _described(dataset)
    source, places = _grid_and_places(dataset, planes, target, name)
    outside = sum(place is OUTSIDE for place in places)
    if outside:
        notes.append(f"{name}: {outside} of {len(places)} frames lie outside the image and were left out.")
    builder = _Builder(source, threshold)
    ctx.progress(None, "Reading segments")
    if kind == "LABELMAP":
        _fill_labelmap(ctx, builder, pixels, places, _ignored(dataset, described))
    else:
        _fill_masks(ctx, builder, pixels, planes, places)
    if source is target.geometry:
        notes += _between(builder.layers, places, target, name)
    layers = fit_layers(builder.layers, source, target.geometry, name, resample=MISFIT in target.accepted)
    segments, unnamed = _segments(builder, described, name)
    return LabelFile(target.geometry, layers, segments, (*notes, *unnamed))


def _grid_and_places(
    dataset: Dataset, planes: Sequence[SegPlane], target: Target, name: str
) -> tuple[Geometry, list[Place]]:
    """Return the grid that the frames are put on, the image's or, to be resampled, their own; and their places."""
    if "TotalPixelMatrixColumns" in dataset:
        return target.geometry, _tiles_on_slide(planes, target, name)
    by_image = any(plane.position is None for plane in planes)
    slices = image_slices(target.series) if by_image and target.series else None
    places = find_places(planes, target.geometry, slices, _off_mm(target))
    if places is not None:
        return target.geometry, places
    if by_image:
        raise InputError(
            f"{name} was drawn on images that are not those shown.",
            hint="Open the images that it was drawn on first.",
            code="E_NO_POSITION",
        )
    source = own_grid(planes, name)
    places = find_places(planes, source)
    if places is None or MISFIT not in target.accepted:
        raise misfit(source, target.geometry, name)
    return source, places


def _off_mm(target: Target) -> float | None:
    """Return how far the slices of a series may lie off its grid; None for an image that is a grid by itself."""
    if target.series is None or target.series.kind != "dicom":
        return None
    return min(TOLERANCE_MM, _OF_A_PIXEL * min(target.geometry.spacing[:2]))


def _between(layers: Sequence[LabelArray], places: Sequence[Place], target: Target, name: str) -> list[str]:
    """Fill the computed planes of a resampled image when a file was drawn on its true slices alone; say so."""
    series = target.series
    if series is None or not series.interpolation:
        return []
    planes = planes_of(series)
    if not {place.k for place in places if place is not OUTSIDE} <= {*planes}:
        return []
    for labels in layers:
        repeat_between(labels, planes)
    return [f"{name} was drawn on the {len(planes)} original slices; the planes between them repeat the nearest one."]


def _tiles_on_slide(planes: Sequence[SegPlane], target: Target, name: str) -> list[Place]:
    """Return the places of tiles on the picture of a slide, by where both lie on the slide."""
    grid = slide_grid(target.series) if target.series is not None else target.geometry
    places = find_places(planes, grid) if grid is not None and grid.size == target.geometry.size else None
    if places is None:
        raise InputError(
            f"{name} is a segmentation of a slide in tiles, and this image is not that slide, or lies elsewhere on it.",
            hint="Open the slide it was made for, or choose a segmentation of a CT, MR or PET series.",
            code="E_TILED",
        )
    return places


class _Builder:
    """Label maps that grow as segments come; one that overlaps goes into the first layer where it does not."""

    def __init__(self, geometry: Geometry, threshold: float) -> None:
        self.geometry = geometry
        self.threshold = threshold
        self.layers: list[LabelArray] = []
        self.layer_of: dict[int, int] = {}

    def layer(self, number: int) -> LabelArray:
        """Return a layer, new when it is the next one."""
        if number == len(self.layers):
            self.layers.append(np.zeros(self.geometry.shape, dtype=np.uint16))
        return self.layers[number]


def _window(place: Place, mask: npt.NDArray[Any]) -> tuple[int, slice, slice]:
    return place.k, slice(place.j, place.j + mask.shape[0]), slice(place.i, place.i + mask.shape[1])


def _fill_masks(
    ctx: JobContext, builder: _Builder, pixels: SegPixels, planes: Sequence[SegPlane], places: Sequence[Place]
) -> None:
    """Fill from frames of one segment each."""
    frames: dict[int, list[int]] = {}
    for n, plane in enumerate(planes):
        frames.setdefault(plane.segment, []).append(n)
    for done, (segment, listed) in enumerate(sorted(frames.items())):
        numbers = [n for n in listed if places[n] is not OUTSIDE]
        ctx.progress(done / len(frames), "Reading segments")
        masks = [places[n].turn(pixels.frame(n) >= builder.threshold) for n in numbers]
        spots = [_window(places[n], mask) for n, mask in zip(numbers, masks, strict=True)]
        layer = _free_layer(builder, masks, spots)
        labels = builder.layer(layer)
        for mask, spot in zip(masks, spots, strict=True):
            labels[spot][mask] = segment
        builder.layer_of[segment] = layer


def _free_layer(
    builder: _Builder, masks: Sequence[npt.NDArray[np.bool_]], spots: Sequence[tuple[int, slice, slice]]
) -> int:
    for number, labels in enumerate(builder.layers):
        if not any((labels[spot][mask] != 0).any() for mask, spot in zip(masks, spots, strict=True)):
            return number
    return len(builder.layers)


def _fill_labelmap(
    ctx: JobContext, builder: _Builder, pixels: SegPixels, places: Sequence[Place], ignored: frozenset[int]
) -> None:
    """Fill from frames that hold label values."""
    labels = builder.layer(0)
    for n, place in enumerate(places):
        ctx.check_cancelled()
        if place is OUTSIDE:
            continue
        frame = place.turn(pixels.frame(n)).astype(np.uint16)
        frame[np.isin(frame, list(ignored))] = 0
        labels[_window(place, frame)] = frame
        for value in np.unique(frame):
            if value:
                builder.layer_of[int(value)] = 0


def _ignored(dataset: Dataset, described: Mapping[int, NamedSegment]) -> frozenset[int]:
    """Return the values that mean background."""
    padding = dataset.get("PixelPaddingValue")
    background = {number for number, segment in described.items() if segment.type.code_value == _BACKGROUND}
    return frozenset({0, *background, *(() if padding is None else (int(padding),))})


def _described(dataset: Dataset) -> dict[int, NamedSegment]:
    found: dict[int, NamedSegment] = {}
    for item in dataset.get("SegmentSequence") or ():
        number = int(item.get("SegmentNumber", 0))
        kind, region = "SegmentedPropertyTypeCodeSequence", "AnatomicRegionSequence"
        found[number] = NamedSegment(
            number,
            str(item.get("SegmentLabel", "")).strip() or f"Segment {number}",
            color=_color(item),
            category=_concept(item, "SegmentedPropertyCategoryCodeSequence") or TISSUE,
            type=_concept(item, kind) or ANATOMICAL_STRUCTURE,
            type_modifier=_modifier(item, kind, "SegmentedPropertyTypeModifierCodeSequence"),
            region=_concept(item, region),
            region_modifier=_modifier(item, region, "AnatomicRegionModifierSequence"),
        )
    return found


def _segments(
    builder: _Builder, described: Mapping[int, NamedSegment], name: str
) -> tuple[tuple[NamedSegment, ...], tuple[str, ...]]:
    """Return the segments that have voxels or a name, and what must be said about them."""
    found: list[NamedSegment] = []
    notes: list[str] = []
    for value in sorted({*builder.layer_of, *described} - {0}):
        known = described.get(value)
        if known is None:
            notes.append(f"{name} does not describe its segment {value}.")
            known = NamedSegment(value, f"Segment {value}")
        elif value not in builder.layer_of:
            if known.type.code_value != _BACKGROUND:
                notes.append(f"{name}: segment {known.name} is empty.")
            continue
        found.append(_on_layer(known, builder.layer_of[value]))
    return tuple(found), tuple(notes)


def _on_layer(segment: NamedSegment, layer: int) -> NamedSegment:
    return replace(segment, layer=layer)


def _concept(item: Dataset, keyword: str) -> CodedConcept | None:
    for code in _items(item, keyword):
        value = str(code.get("CodeValue", "") or code.get("LongCodeValue", "") or code.get("URNCodeValue", ""))
        scheme, meaning = str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeMeaning", ""))
        if value and scheme and meaning:
            return CodedConcept(value, scheme, meaning)
    return None


def _modifier(item: Dataset, keyword: str, modifier: str) -> CodedConcept | None:
    """Return what modifies a concept; it lies inside it."""
    return next((found for code in _items(item, keyword) if (found := _concept(code, modifier))), None)


def _items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    yield from dataset.get(keyword) or ()


def _color(item: Dataset) -> Color | None:
    """Return RecommendedDisplayCIELabValue as sRGB."""
    value = item.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
        return None
    lightness, a, b = (int(v) for v in value)
    return lab_to_rgb(lightness / 65535 * 100, a / 65535 * 255 - 128, b / 65535 * 255 - 128)
