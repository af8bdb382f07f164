"""DICOM SEG to label maps: binary, fractional and label map, sparse, overlapping. Runs in the decode worker.

Every frame is placed by its own position. Frames that lie on slices of the image go there; a segmentation on another
grid is put together by itself and resampled when that is wanted.

References
----------
DICOM PS3.3 A.51, A.91, C.8.20.2 (Segmentation Image Module), C.7.6.16 (functional groups).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import GeometryError, InputError
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.segmentation import Color, LabelArray
from medviewer.core.terminology import ANATOMICAL_STRUCTURE, TISSUE, CodedConcept
from medviewer.imaging.cielab import lab_to_rgb
from medviewer.io.label_file import LabelFile, NamedSegment
from medviewer.io.label_fit import fit_layers, misfit, tolerance_mm
from medviewer.io.seg_pixels import SegPixels
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_THRESHOLD: Final = 0.5
_PARALLEL: Final = 1e-4
_ONE_VOXEL: Final = 0.05
_IN_PLANE: Final = (np.array([[1, 0], [0, 1], [0, 0]]), np.array([[0, 1], [1, 0], [0, 0]]))
#: CodeValue of the DICOM concept Background, which a label map lists as a segment.
_BACKGROUND: Final = "125040"

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """Where a frame lies: its first pixel and the steps along columns (i) and rows (j), LPS mm."""

    position: Points
    column_step: Points
    row_step: Points
    segment: int


def read_seg(
    ctx: JobContext, dataset: Dataset, target: Geometry, name: str, *, resample: bool, warnings: Sequence[str] = ()
) -> LabelFile:
    """Return the segments of a SEG on the grid of an image.

    Raises
    ------
    InputError
        ``E_TILED``, ``E_NO_POSITION``, ``E_GEOMETRY``, or what `SegPixels` refuses.
    """
    kind = str(dataset.get("SegmentationType", ""))
    pixels = SegPixels(dataset, name)
    planes = _planes(dataset, pixels.frames, name, labelmap=kind == "LABELMAP")
    notes = list(warnings)
    if kind == "FRACTIONAL":
        meaning = str(dataset.get("SegmentationFractionalType", "")).lower() or "fraction"
        notes.append(f"{name} holds fractions ({meaning}); voxels of {_THRESHOLD:.0%} and more were taken.")
    described = _described(dataset)
    source = target
    places = _places(planes, target, pixels)
    if places is None:
        source = _own_grid(planes, pixels, name)
        places = _places(planes, source, pixels)
        if places is None or not resample:
            raise misfit(source, target, name)
    builder = _Builder(source, _threshold(dataset, kind))
    ctx.progress(None, "Reading segments")
    if kind == "LABELMAP":
        _fill_labelmap(ctx, builder, pixels, places, _ignored(dataset, described))
    else:
        _fill_masks(ctx, builder, pixels, planes, places)
    layers = fit_layers(builder.layers, source, target, name, resample=resample)
    segments, unnamed = _segments(builder, described, name)
    return LabelFile(target, layers, segments, (*notes, *unnamed))


def _threshold(dataset: Dataset, kind: str) -> float:
    if kind != "FRACTIONAL":
        return 1.0
    return max(1.0, _THRESHOLD * float(dataset.get("MaximumFractionalValue", 255) or 255))


def _planes(dataset: Dataset, frames: int, name: str, *, labelmap: bool) -> list[_Plane]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if str(dataset.get("DimensionOrganizationType", "")).startswith("TILED") or "TotalPixelMatrixColumns" in dataset:
        raise InputError(
            f"{name} is a segmentation of a slide in tiles, which cannot be laid over a volume.",
            hint="Choose a segmentation of a CT, MR or PET series.",
            code="E_TILED",
        )
    if len(own) != frames:
        raise InputError(
            f"{name} says where {len(own)} frames lie, but has {frames}.",
            hint="Ask for the original segmentation.",
            code="E_NO_POSITION",
        )
    try:
        return [_plane(shared, item, labelmap=labelmap) for item in own]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} does not say where its frames lie in the patient.",
            hint="Ask for a segmentation with plane positions.",
            code="E_NO_POSITION",
        ) from error


def _plane(shared: Dataset | None, own: Dataset, *, labelmap: bool) -> _Plane:
    def macro(keyword: str) -> Any:
        item = own if keyword in own else shared
        if item is None:
            raise KeyError(keyword)
        return item[keyword].value[0]

    position = np.array(macro("PlanePositionSequence").ImagePositionPatient, dtype=np.float64)
    cosines = np.array(macro("PlaneOrientationSequence").ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    row_mm, column_mm = (float(value) for value in macro("PixelMeasuresSequence").PixelSpacing)
    steps = cosines * np.array([[column_mm], [row_mm]])
    if position.shape != (3,) or not (np.isfinite(position).all() and np.isfinite(steps).all()):
        raise ValueError("position")
    segment = 0 if labelmap else int(macro("SegmentIdentificationSequence").ReferencedSegmentNumber)
    return _Plane(position, steps[0], steps[1], segment)


@dataclass(frozen=True, slots=True)
class _Place:
    """Slice of a frame and where its first pixel lies in it; `turn` makes the frame's axes those of the slice."""

    k: int
    j: int
    i: int
    transposed: bool
    flip_j: bool
    flip_i: bool

    def turn(self, frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the frame along the axes of the slice."""
        turned = frame.T if self.transposed else frame
        return turned[:: -1 if self.flip_j else 1, :: -1 if self.flip_i else 1]


def _places(planes: Sequence[_Plane], grid: Geometry, pixels: SegPixels) -> list[_Place] | None:
    """Return the place of every frame on a grid; None when one does not lie on its voxels."""
    places: list[_Place] = []
    for plane in planes:
        place = _place(plane, grid, pixels)
        if place is None:
            return None
        places.append(place)
    return places


def _place(plane: _Plane, grid: Geometry, pixels: SegPixels) -> _Place | None:
    corners = [
        plane.position + plane.column_step * c + plane.row_step * r
        for c, r in ((0, 0), (pixels.columns - 1, pixels.rows - 1))
    ]
    ends = grid.lps_to_index(corners)
    whole = np.rint(ends)
    if float(np.abs(grid.index_to_lps(whole) - corners).max()) > tolerance_mm(grid):
        return None
    steps = grid.lps_to_index_matrix[:3, :3] @ np.array([plane.column_step, plane.row_step]).T
    # Columns and rows step by one voxel along i and j, or along j and i, forwards or backwards.
    lengths = np.abs(steps)
    if not any(np.abs(lengths - unit).max() <= _ONE_VOXEL for unit in _IN_PLANE):
        return None
    transposed = abs(steps[0, 0]) < 0.5
    lower = whole.min(axis=0).astype(int)
    upper = whole.max(axis=0).astype(int)
    along_i, along_j = (steps[0, 1], steps[1, 0]) if transposed else (steps[0, 0], steps[1, 1])
    if min(lower) < 0 or any(upper >= grid.size):
        return None
    return _Place(int(lower[2]), int(lower[1]), int(lower[0]), bool(transposed), bool(along_j < 0), bool(along_i < 0))


def _own_grid(planes: Sequence[_Plane], pixels: SegPixels, name: str) -> Geometry:
    """Return the regular grid that all frames lie on; slices without a frame are empty."""
    first = planes[0]
    steps = np.array([first.column_step, first.row_step])
    if any(np.abs(np.array([p.column_step, p.row_step]) - steps).max() > _PARALLEL for p in planes):
        raise GeometryError(f"{name} has frames of several orientations.", code="E_SEG_GRID")
    normal = np.cross(first.column_step, first.row_step)
    normal /= np.linalg.norm(normal)
    along = np.array([plane.position @ normal for plane in planes])
    depths = np.unique(np.round(along, 3))
    gap = float(np.diff(depths).min()) if len(depths) > 1 else 1.0
    order = np.argsort(along)
    origin = planes[int(order[0])].position
    count = round(float(along.max() - along.min()) / gap) + 1
    if count > 100_000:
        raise GeometryError(f"{name} has frames at irregular depths.", code="E_SEG_GRID")
    spacing = (*(float(np.linalg.norm(step)) for step in steps), gap)
    direction = np.column_stack([steps[0] / spacing[0], steps[1] / spacing[1], normal])
    return Geometry((pixels.columns, pixels.rows, count), vec3(spacing), vec3(origin), tuple(direction.ravel()))


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


def _window(place: _Place, mask: npt.NDArray[Any]) -> tuple[int, slice, slice]:
    return place.k, slice(place.j, place.j + mask.shape[0]), slice(place.i, place.i + mask.shape[1])


def _fill_masks(
    ctx: JobContext, builder: _Builder, pixels: SegPixels, planes: Sequence[_Plane], places: Sequence[_Place]
) -> None:
    """Fill from frames of one segment each."""
    frames: dict[int, list[int]] = {}
    for n, plane in enumerate(planes):
        frames.setdefault(plane.segment, []).append(n)
    for done, (segment, numbers) in enumerate(sorted(frames.items())):
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
    ctx: JobContext, builder: _Builder, pixels: SegPixels, places: Sequence[_Place], ignored: frozenset[int]
) -> None:
    """Fill from frames that hold label values."""
    labels = builder.layer(0)
    for n, place in enumerate(places):
        ctx.check_cancelled()
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
        found[number] = NamedSegment(
            number,
            str(item.get("SegmentLabel", "")).strip() or f"Segment {number}",
            color=_color(item),
            category=_concept(item, "SegmentedPropertyCategoryCodeSequence") or TISSUE,
            type=_concept(item, "SegmentedPropertyTypeCodeSequence") or ANATOMICAL_STRUCTURE,
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
    return NamedSegment(segment.value, segment.name, layer, segment.color, segment.category, segment.type)


def _concept(item: Dataset, keyword: str) -> CodedConcept | None:
    for code in _items(item, keyword):
        value = str(code.get("CodeValue", "") or code.get("LongCodeValue", "") or code.get("URNCodeValue", ""))
        scheme, meaning = str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeMeaning", ""))
        if value and scheme and meaning:
            return CodedConcept(value, scheme, meaning)
    return None


def _items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    yield from dataset.get(keyword) or ()


def _color(item: Dataset) -> Color | None:
    """Return RecommendedDisplayCIELabValue as sRGB."""
    value = item.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
        return None
    lightness, a, b = (int(v) for v in value)
    return lab_to_rgb(lightness / 65535 * 100, a / 65535 * 255 - 128, b / 65535 * 255 - 128)
