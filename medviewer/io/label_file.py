"""Files of segments on an image's grid: what every kind of them becomes, and label maps of image formats.

Runs in the decode worker, which hands over arrays on the grid of the image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.contours import Contours
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import MAX_VALUE, Color, LabelArray
from medviewer.core.terminology import ANATOMICAL_STRUCTURE, TISSUE, CodedConcept
from medviewer.io.derived import fractional
from medviewer.io.label_names import names_beside, single_name
from medviewer.io.reader import lister_of
from medviewer.io.readers import analyze, metaimage, mgh, nifti, nrrd, photo
from medviewer.jobs.job import JobContext

#: More different values than any set of segments has: an image.
MOST_LABELS: Final = 2000
#: More colours than any map of labels has.
MOST_COLORS: Final = 256
_NOT_LABELS_HINT: Final = "Open it as an image instead."
_4D_HINT: Final = "Split it into one file for each volume first."
_RANGE_HINT: Final = "Renumber the labels first, or open it as an image."
_LAYER: Final = re.compile(r"(Segment\d+)_LabelValue")


@dataclass(frozen=True, slots=True)
class NamedSegment:
    """A segment of a file: its value in one layer, its name, and, where the file says them, colour and codes."""

    value: int
    name: str
    layer: int = 0
    color: Color | None = None
    category: CodedConcept = TISSUE
    type: CodedConcept = ANATOMICAL_STRUCTURE
    type_modifier: CodedConcept | None = None
    region: CodedConcept | None = None
    region_modifier: CodedConcept | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelFile:
    """Segments as they come from a file.

    Attributes
    ----------
    geometry : Geometry
        Grid of the layers, LPS mm.
    layers : tuple of uint16 (k, j, i)
        Segments of one layer exclude each other; layers may overlap.
    warnings : tuple of str
        What the user must know: a threshold, what was left out.
    contours : Contours or None
        What the layers were filled from.
    """

    geometry: Geometry
    layers: tuple[LabelArray, ...]
    segments: tuple[NamedSegment, ...]
    warnings: tuple[str, ...] = ()
    contours: Contours | None = None


def to_labels(array: npt.NDArray[Any], name: str, threshold: float | None = None) -> LabelArray:
    """Return whole, positive values as uint16; fractions of 0 to 1 from a threshold on as 1.

    Raises
    ------
    InputError
        ``E_FRACTIONAL`` for fractions without a threshold, ``E_LABEL_RANGE`` or ``E_NOT_LABELS``.
    """
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (np.rint(array) == array)
        if not whole.all():
            lowest, highest = np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None)
            if not (lowest >= 0 and highest <= 1):
                raise InputError(
                    f"{name} holds values that are not whole numbers ({int((~whole).sum())} voxels), so no labels.",
                    hint=_NOT_LABELS_HINT,
                    code="E_NOT_LABELS",
                )
            if threshold is None:
                raise fractional(name, f"fractions of 0 to {float(highest):.3g}")
            return (array >= threshold).astype(np.uint16)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > MAX_VALUE:
        raise InputError(
            f"{name} holds values from {low} to {high}; labels are 0 to {MAX_VALUE}.",
            hint=_RANGE_HINT,
            code="E_LABEL_RANGE",
        )
    return array.astype(np.uint16)


def values_in(labels: LabelArray, name: str) -> list[int]:
    """Return the values that occur, without 0.

    Raises
    ------
    InputError
        ``E_NOT_LABELS`` when there are too many: it is an image.
    """
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    if len(found) > MOST_LABELS:
        raise InputError(
            f"{name} holds {len(found)} different values: that is an image, not a label map.",
            hint=_NOT_LABELS_HINT,
            code="E_NOT_LABELS",
        )
    return [int(value) for value in found if value]


def is_label_format(path: Path) -> bool:
    """Whether a file has the name of an image format that may hold a label map."""
    return lister_of(path) is not None


def label_geometry(path: Path) -> Geometry:
    """Return the grid of a label map from its header only, LPS mm; the window's process may ask."""
    return _header_of(path).geometry


def is_photo(path: Path) -> bool:
    """Whether a label map is a picture file, whose grid counts pixels."""
    return path.name.lower().endswith(photo.SUFFIXES)


_Header = (
    nifti.NiftiHeader | nrrd.NrrdHeader | metaimage.MetaHeader | photo.PhotoHeader | mgh.MghHeader
    | analyze.AnalyzeHeader
)  # fmt: skip
#: What reads the voxels of those that have nothing but voxels.
_READERS: Final[Mapping[type, Callable[[JobContext, object], Any]]] = {
    nifti.NiftiHeader: nifti.read_voxels, metaimage.MetaHeader: metaimage.read_voxels, mgh.MghHeader: mgh.read_voxels,
    analyze.AnalyzeHeader: analyze.read_voxels,
}  # fmt: skip


def _header_of(path: Path) -> _Header:
    name = path.name.lower()
    if is_photo(path):
        return photo.read_header(path)
    if name.endswith(nrrd.SUFFIXES):
        return nrrd.read_header(path)
    if name.endswith(metaimage.SUFFIXES):
        return metaimage.read_header(path)
    if name.endswith(mgh.SUFFIXES):
        return mgh.read_header(path)
    if name.endswith(analyze.SUFFIXES) and not analyze.is_nifti(path):
        return analyze.read_header(path)
    return nifti.read_nifti_header(path)


def read_label_map(ctx: JobContext, path: Path, threshold: float | None = None) -> LabelFile:
    """Read a label map with the names that its file, or one beside it, gives; fractions from a threshold on.

    Raises
    ------
    InputError
        When it is no label map, with the reason.
    """
    header = _header_of(path)
    if isinstance(header, photo.PhotoHeader):
        return _read_photo(ctx, path, header.geometry, threshold)
    points = len(header.times.labels)
    if points and not (isinstance(header, nrrd.NrrdHeader) and header.is_segmentation):
        raise InputError(f"{path.name} holds {points} volumes, not one label map.", hint=_4D_HINT, code="E_4D")
    if isinstance(header, nrrd.NrrdHeader):
        layers = [to_labels(layer, path.name, threshold) for layer in nrrd.read_layers(header)]
        if header.is_segmentation:
            return _slicer_segments(path.name, header, layers)
    else:
        layers = [to_labels(_READERS[type(header)](ctx, path).array, path.name, threshold)]
    values = values_in(layers[0], path.name)
    return LabelFile(header.geometry, tuple(layers), _named(path, values))


def _read_photo(ctx: JobContext, path: Path, geometry: Geometry, threshold: float | None) -> LabelFile:
    """Read a picture whose numbers, or else whose colours, are labels; black is background."""
    pixels, palette = photo.read_label_pixels(ctx, path)
    colors: dict[int, Color] = dict(enumerate(palette))
    if pixels.ndim == 4:
        packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        found = np.unique(packed)
        if len(found) > MOST_COLORS:
            raise InputError(
                f"{path.name} has {len(found)} colours: that is a picture, not a label map.",
                hint=_NOT_LABELS_HINT,
                code="E_NOT_LABELS",
            )
        found = np.concatenate([[0], found[found > 0]])
        pixels = np.searchsorted(found, packed)
        colors = {n: (int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for n, c in enumerate(found)}
    labels = to_labels(pixels, path.name, threshold)
    segments = _named(path, values_in(labels, path.name))
    return LabelFile(geometry, (labels,), tuple(replace(s, color=colors.get(s.value)) for s in segments))


def _named(path: Path, values: Sequence[int]) -> tuple[NamedSegment, ...]:
    """Return segments with the names beside the file; a single one without is called as its file."""
    names = names_beside(path)
    if len(values) == 1 and values[0] not in names:
        return (NamedSegment(values[0], single_name(path)),)
    return tuple(NamedSegment(value, names.get(value, f"Label {value}")) for value in values)


def _slicer_segments(name: str, header: nrrd.NrrdHeader, layers: Sequence[LabelArray]) -> LabelFile:
    """Return Slicer's segments; those of one layer share its label map."""
    segments: list[NamedSegment] = []
    warnings: list[str] = []
    for key, text in header.pairs.items():
        match = _LAYER.fullmatch(key)
        if match is None:
            continue
        value, layer = _integer(text), _integer(header.pairs.get(f"{match[1]}_Layer", "0"))
        if not 1 <= value <= MAX_VALUE or not 0 <= layer < len(layers):
            warnings.append(f"{name}: {match[1]} has no valid label value or layer and was left out.")
            continue
        segments.append(_slicer_segment(header.pairs, match[1], value, layer))
    if not segments:
        # Written before Slicer 4.11: one layer for each segment, its voxels 1.
        segments = [
            _slicer_segment(header.pairs, f"Segment{n}", 1, n) for n in range(len(layers)) if layers[n].any()
        ]  # fmt: skip
    known = {(segment.layer, segment.value) for segment in segments}
    for layer, labels in enumerate(layers):
        for value in values_in(labels, name):
            if (layer, value) not in known:
                segments.append(NamedSegment(value, f"Label {value}", layer))
                warnings.append(f"{name}: value {value} belongs to no segment; it was called Label {value}.")
    return LabelFile(header.geometry, tuple(layers), tuple(segments), tuple(warnings))


def _slicer_segment(pairs: Mapping[str, str], key: str, value: int, layer: int) -> NamedSegment:
    color: Color | None = None
    parts = pairs.get(f"{key}_Color", "").split()
    if len(parts) == 3:
        try:
            r, g, b = (round(255 * min(1.0, max(0.0, float(part)))) for part in parts)
            color = (r, g, b)
        except ValueError:
            color = None
    # "<context>~<category: scheme^code^meaning>~<type>~<modifier>~<context>~<region>~<modifier>"
    entry = pairs.get(f"{key}_Tags", "").partition("TerminologyEntry:")[2].partition("|")[0].split("~")
    category, kind, modifier, _, region, region_modifier = (_concept(text) for text in (entry[1:] + [""] * 6)[:6])
    name = pairs.get(f"{key}_Name", "").strip() or f"Label {value}"
    return NamedSegment(
        value, name, layer, color, category or TISSUE, kind or ANATOMICAL_STRUCTURE, modifier, region, region_modifier
    )


def _concept(text: str) -> CodedConcept | None:
    parts = text.split("^")
    return CodedConcept(parts[1], parts[0], parts[2]) if len(parts) == 3 and all(parts) else None


def _integer(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else -1
