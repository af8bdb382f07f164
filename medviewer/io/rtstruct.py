"""RTSTRUCT to label maps: closed contours, filled on the slices they were drawn on. Runs in the decode worker.

References
----------
DICOM PS3.3 C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.contours import KINDS, Contour, Contours
from medviewer.core.errors import GeometryError, InputError
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Color, LabelArray
from medviewer.imaging.polygon import fill_even_odd
from medviewer.io.label_file import LabelFile, NamedSegment
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CLOSED: Final = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
#: A contour may tilt by this much of a slice; one that lies further off a slice is told.
_FLAT: Final = 0.1
#: Contours of one plane are written with few digits.
_SAME_PLANE: Final = 0.02
#: Contours on every second slice or so: from this many slices between planes on, when nearly all lie so far apart.
_SPARSE: Final = 1.25
_NEARLY_ALL: Final = 0.8

Points = npt.NDArray[np.float64]
#: Kind and points (n, 3), LPS mm.
Drawn = tuple[str, Points]


def read_structures(
    ctx: JobContext,
    dataset: Dataset,
    target: Geometry,
    name: str,
    *,
    between: bool = True,
    warnings: Sequence[str] = (),
) -> LabelFile:
    """Return the structures of an RTSTRUCT on the grid of an image, with the contours as they were drawn.

    Slices `between` sparse contours take the nearest ones.

    A pixel belongs to a structure when its centre lies inside an odd number of the contours of its slice: inner
    contours, keyholes and CLOSEDPLANAR_XOR all make holes.

    Raises
    ------
    InputError
        ``E_RTSTRUCT`` when it holds no closed contours.
    GeometryError
        ``E_CONTOUR_PLANE`` when its contours lie across the slices.
    """
    names = {int(roi.ROINumber): str(roi.get("ROIName", "")) for roi in dataset.get("StructureSetROISequence") or ()}
    rois = list(dataset.get("ROIContourSequence") or ())
    layers: list[LabelArray] = []
    segments: list[NamedSegment] = []
    kept: list[Contour] = []
    notes = _Notes(name)
    for n, roi in enumerate(rois):
        ctx.progress(n / len(rois), "Filling contours")
        number = int(roi.get("ReferencedROINumber", n + 1))
        drawn = _drawn(roi, notes)
        planes = _planes(drawn, target, name)
        slices = _on_slices(planes, target, _reach(planes, notes) if between else 0.5, notes)
        if not slices:
            continue
        value = len(segments) + 1
        layer = next((m for m, labels in enumerate(layers) if not _overlaps(labels, slices)), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(target.shape, dtype=np.uint16))
        for k, mask in slices.items():
            layers[layer][k][mask] = value
        label = names.get(number, "").strip() or f"ROI {number}"
        segments.append(NamedSegment(value, label, layer, _color(roi)))
        kept += [Contour(value, kind, points) for kind, points in drawn]
    if not segments:
        raise InputError(
            f"{name} holds no closed contour that lies inside the image.",
            hint="Open the series that its structures were drawn on.",
            code="E_RTSTRUCT",
        )
    told = (*warnings, *notes.texts())
    return LabelFile(target, tuple(layers), tuple(segments), told, Contours.of(kept))


class _Notes:
    """What must be told about contours, once for many."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.left_out: Counter[str] = Counter()
        self.off_slice = 0.0
        self.apart = 0.0

    def texts(self) -> Iterable[str]:
        """Yield sentences."""
        for kind, count in sorted(self.left_out.items()):
            yield f"{self._name}: {count} contours were left out ({kind})."
        if self.apart:
            yield (f"{self._name}: contours lie {self.apart:.3g} slices apart; slices between took the nearest ones.")
        elif self.off_slice:
            yield (
                f"{self._name}: contours lie up to {self.off_slice:.2f} of a slice beside the slices; "
                "each slice took the nearest ones."
            )


def _drawn(roi: Dataset, notes: _Notes) -> list[Drawn]:
    """Return the contours of a structure; what no mask can be filled from is told."""
    found: list[Drawn] = []
    for contour in roi.get("ContourSequence") or ():
        kind = str(contour.get("ContourGeometricType", "")).upper()
        points = _points(contour)
        if kind not in _CLOSED:
            notes.left_out[kind.lower().replace("_", " ") or "no kind"] += 1
        elif points is None or len(points) < 3:
            notes.left_out["fewer than three points"] += 1
        if points is not None and kind in KINDS:
            found.append((kind, points))
    return found


def _planes(drawn: Iterable[Drawn], target: Geometry, name: str) -> dict[float, list[Points]]:
    """Return the closed contours of each plane, by its continuous k, as (i, j)."""
    planes: dict[float, list[Points]] = {}
    for kind, points in drawn:
        if kind not in _CLOSED or len(points) < 3:
            continue
        # Rounded far below what is written in files, so that a vertex on a pixel's centre stays on it.
        index = np.round(target.lps_to_index(points), 5)
        depth = index[:, 2]
        if float(np.ptp(depth)) > 2 * _FLAT:
            raise GeometryError(
                f"{name} has contours that lie across the slices of the image.",
                hint="Open the series that its structures were drawn on.",
                code="E_CONTOUR_PLANE",
            )
        plane = float(depth.mean())
        known = next((other for other in planes if abs(other - plane) < _SAME_PLANE), plane)
        planes.setdefault(known, []).append(index[:, :2])
    return planes


def _reach(planes: Iterable[float], notes: _Notes) -> float:
    """Return how far from a plane slices still take its contours: half a slice, or half the way between planes."""
    apart = np.diff(sorted(planes))
    if len(apart) < 2 or apart.min() < _SPARSE:
        return 0.5
    gap = float(np.median(apart))
    if np.mean(np.abs(apart - gap) < _FLAT) < _NEARLY_ALL:
        return 0.5
    notes.apart = max(notes.apart, gap)
    return gap / 2


def _on_slices(
    planes: Mapping[float, Sequence[Points]], target: Geometry, reach: float, notes: _Notes
) -> dict[int, npt.NDArray[np.bool_]]:
    """Fill the planes; a slice takes the nearest one within reach."""
    columns, rows, count = target.size
    nearest: dict[int, float] = {}
    for plane in sorted(planes):
        first, stop = int(np.floor(plane - reach)) + 1, int(np.floor(plane + reach)) + 1
        inside = range(max(0, first), min(count, stop))
        if not inside:
            notes.left_out["outside the image"] += len(planes[plane])
        for k in inside:
            if k not in nearest or abs(plane - k) < abs(nearest[k] - k):
                nearest[k] = plane
    filled: dict[int, npt.NDArray[np.bool_]] = {}
    for k, plane in nearest.items():
        if abs(plane - k) > _FLAT:
            notes.off_slice = max(notes.off_slice, abs(plane - k))
        mask = fill_even_odd(planes[plane], (rows, columns))
        if mask.any():
            filled[k] = mask
    return filled


def _points(contour: Dataset) -> Points | None:
    """Return a contour's points (n, 3), LPS mm; None when there is none or one is no number."""
    data: Any = contour.get("ContourData") or ()
    try:
        points = np.array([float(value) for value in data], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if points.size < 3 or points.size % 3 or not np.isfinite(points).all():
        return None
    return points.reshape(-1, 3)


def _overlaps(labels: LabelArray, slices: Mapping[int, npt.NDArray[np.bool_]]) -> bool:
    return any(bool((labels[k][mask] != 0).any()) for k, mask in slices.items())


def _color(roi: Dataset) -> Color | None:
    """Return ROIDisplayColor."""
    value = roi.get("ROIDisplayColor")
    if value is None or len(value) != 3:
        return None
    red, green, blue = (min(255, max(0, int(part))) for part in value)
    return red, green, blue
