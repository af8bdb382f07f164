"""RTSTRUCT to label maps: closed planar contours, filled on the slices they were drawn on. Runs in the decode worker.

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

Points = npt.NDArray[np.float64]


def read_structures(
    ctx: JobContext, dataset: Dataset, target: Geometry, name: str, *, warnings: Sequence[str] = ()
) -> LabelFile:
    """Return the structures of an RTSTRUCT on the grid of an image.

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
    notes = _Notes(name)
    for n, roi in enumerate(rois):
        ctx.progress(n / len(rois), "Filling contours")
        number = int(roi.get("ReferencedROINumber", n + 1))
        slices = _filled(roi, target, name, notes)
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
    if not segments:
        raise InputError(
            f"{name} holds no closed contour that lies inside the image.",
            hint="Open the series that its structures were drawn on.",
            code="E_RTSTRUCT",
        )
    return LabelFile(target, tuple(layers), tuple(segments), (*warnings, *notes.texts()))


class _Notes:
    """What must be told about contours, once for many."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.left_out: Counter[str] = Counter()
        self.off_slice = 0.0

    def texts(self) -> Iterable[str]:
        """Yield sentences."""
        for kind, count in sorted(self.left_out.items()):
            yield f"{self._name}: {count} contours were left out ({kind})."
        if self.off_slice:
            yield (
                f"{self._name}: contours lie up to {self.off_slice:.2f} of a slice beside the slices; "
                "each slice took the nearest ones."
            )


def _filled(roi: Dataset, target: Geometry, name: str, notes: _Notes) -> dict[int, npt.NDArray[np.bool_]]:
    """Return the mask (j, i) of each slice that a structure has contours on."""
    planes: dict[float, list[Points]] = {}
    for contour in roi.get("ContourSequence") or ():
        kind = str(contour.get("ContourGeometricType", "")).upper()
        points = _points(contour)
        if kind not in _CLOSED or points is None:
            notes.left_out[kind.lower().replace("_", " ") if kind not in _CLOSED else "fewer than three points"] += 1
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
    return _on_slices(planes, target, notes)


def _on_slices(
    planes: Mapping[float, Sequence[Points]], target: Geometry, notes: _Notes
) -> dict[int, npt.NDArray[np.bool_]]:
    """Fill the planes; of several that lie next to one slice, the nearest counts."""
    columns, rows, count = target.size
    nearest: dict[int, float] = {}
    for plane in planes:
        k = int(np.floor(plane + 0.5))
        if not 0 <= k < count:
            notes.left_out["outside the image"] += len(planes[plane])
        elif k not in nearest or abs(plane - k) < abs(nearest[k] - k):
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
    """Return a contour's points (n, 3), LPS mm; None when there are fewer than three or one is no number."""
    data: Any = contour.get("ContourData") or ()
    try:
        points = np.array([float(value) for value in data], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if points.size < 9 or points.size % 3 or not np.isfinite(points).all():
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
