"""Surfaces of segments: made anywhere, shown in the 3D view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals, vtkSurfaceNets3D
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray, Segment, Segmentation
from medviewer.core.view_state import LabelLook
from medviewer.imaging.statistics import label_boxes
from medviewer.render.vtk_image import share_array, thinning

#: A larger part is taken at every second, third … voxel: more triangles than this gives are not seen, or, without a
#: graphics card, not fluent.
MAX_VOXELS, MAX_VOXELS_SOFTWARE = 6_000_000, 1_000_000
_SLAB = 16
#: A change in more voxels than this is not looked at on the spot, which takes longer than a frame.
_LOOK_VOXELS = 2_000_000
#: As many segments are looked for each by itself.
_FEW = 8
#: A segment that fills its box (bones do not), and whose box holds the box of another, at most this part as big, is
#: drawn as a shell that one sees through.
_SHELL_FILL, _SHELL_RATIO, _SHELL_OPACITY = 0.25, 0.6, 0.25


def extract_surface(labels_crop: npt.NDArray[Any], geometry: Geometry, value: int) -> vtkPolyData:
    """Return the smoothed surface of a label.

    Pure, and safe in any thread.

    Parameters
    ----------
    labels_crop : integer, shape (k, j, i)
        Label values; what touches the border is closed there.
    geometry : Geometry
        Of `labels_crop`, LPS mm; may be left-handed or sheared.
    value : int
        The label.

    Returns
    -------
    vtkPolyData
        Triangles in LPS mm with point normals; empty when the label is absent.

    References
    ----------
    Frisken, "SurfaceNets for Multi-Label Segmentations with Preservation of Sharp Boundaries", JCGT 11(1), 2022.
    """
    if geometry.shape != labels_crop.shape:
        raise ValueError(f"labels {labels_crop.shape} do not fit the grid {geometry.shape}")
    mask = np.pad(labels_crop == value, 1).astype(np.uint8)
    image = share_array(mask)
    image.SetSpacing(geometry.spacing)  # smoothing is in mm
    nets = vtkSurfaceNets3D()
    nets.SetInputData(image)
    nets.SetValue(0, 1)
    nets.SetSmoothing(True)
    nets.SetOutputMeshTypeToTriangles()
    nets.Update()
    surface = nets.GetOutput()
    if surface.GetNumberOfPoints() == 0:
        return vtkPolyData()
    flat: npt.NDArray[Any] = vtk_to_numpy(surface.GetPoints().GetData())  # type: ignore[no-untyped-call]  # no types
    # Off by the voxel of padding; then from the axes of the grid to the patient.
    along = flat.astype(np.float64) - np.array(geometry.spacing)
    lps = along @ geometry.direction_matrix.T + np.array(geometry.origin)
    points = vtkPoints()
    points.SetData(numpy_to_vtk(lps.astype(np.float32), deep=True))  # type: ignore[no-untyped-call]  # no types
    surface.SetPoints(points)
    normals = vtkPolyDataNormals()
    normals.SetInputData(surface)
    normals.SplittingOff()
    normals.SetConsistency(False)
    # A left-handed grid turns the triangles inside out.
    normals.SetFlipNormals(bool(np.linalg.det(geometry.direction_matrix) < 0))
    normals.Update()
    result: vtkPolyData = normals.GetOutput()
    return result


def find_region(labels: LabelArray, value: int, within: Region | None = None) -> Region | None:
    """Return the smallest region that holds a label, looked for in `within`; None when it is absent."""
    area = within or Region.whole(labels.shape)
    found: Region | None = None
    (k0, j0, i0), (k1, _, _) = area.lower, area.upper
    for k in range(k0, k1, _SLAB):  # in slabs: a mask of everything would take as much memory as the labels
        slab = Region((k, j0, i0), (min(k + _SLAB, k1), *area.upper[1:]))
        part = Region.of_mask(labels[slab.slices] == value)
        if part is not None:
            a, b = part.lower, part.upper
            moved = Region((a[0] + k, a[1] + j0, a[2] + i0), (b[0] + k, b[1] + j0, b[2] + i0))
            found = moved if found is None else found.union(moved)
    return found


def _present(labels: LabelArray, region: Region, values: Sequence[int]) -> set[int]:
    """Return which of `values` the region may hold; all of them where looking would keep the window waiting."""
    if region.size > _LOOK_VOXELS:
        return set(values)
    part = labels[region.slices]
    if len(values) <= _FEW:
        return {value for value in values if np.any(part == value)}
    return {int(value) for value in np.flatnonzero(np.bincount(part.ravel()))}.intersection(values)


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceResult:
    """A surface, where its label lies, and which part, 0..1, of that box it fills.

    Attributes
    ----------
    boxes : dict of int to Region, or None
        Where all labels of the label map lie, if the task was to find them.
    """

    task: SurfaceTask
    region: Region | None
    surface: vtkPolyData
    fill: float
    boxes: dict[int, Region] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceTask:
    """One surface to be made, in any thread: it reads the labels as they are and writes nothing.

    A stroke may fall into its reading; then the segment is out of date again, and a next task follows.

    Attributes
    ----------
    finds_all : bool
        Whether it also finds where all other labels lie, which takes little longer than to find one.
    """

    value: int
    labels: LabelArray
    geometry: Geometry
    within: Region | None
    most: int = MAX_VOXELS
    finds_all: bool = False

    def run(self) -> SurfaceResult:
        """Make the surface."""
        boxes = label_boxes(self.labels) if self.finds_all else None
        region = find_region(self.labels, self.value, self.within) if boxes is None else boxes.get(self.value)
        if region is None:
            return SurfaceResult(self, None, vtkPolyData(), 0.0, boxes)
        k, j, i = thinning(region.shape, self.geometry.spacing[::-1], self.most)
        crop = self.labels[region.slices][::k, ::j, ::i]
        start = (region.lower[2], region.lower[1], region.lower[0])
        grid = Geometry(
            (crop.shape[2], crop.shape[1], crop.shape[0]),
            vec3(np.array(self.geometry.spacing) * (i, j, k)),
            vec3(self.geometry.index_to_lps(start)),
            self.geometry.direction,
        )
        fill = float(np.mean(crop == self.value))
        return SurfaceResult(self, region, extract_surface(crop, grid, self.value), fill, boxes)


class SurfaceScene:
    """The surfaces of a segmentation in a renderer.

    It does not compute: `next_task` gives what is to be done, `apply` takes what came out.
    """

    def __init__(
        self,
        renderer: vtkRenderer,
        segmentation: Segmentation,
        look: Callable[[], LabelLook],
        *,
        most: int = MAX_VOXELS,
    ) -> None:
        self._renderer = renderer
        self._look = look
        self.segmentation = segmentation
        self._most = most
        self._actors: dict[int, vtkActor] = {}
        self._regions: dict[int, Region | None] = {}
        self._fill: dict[int, float] = {}
        # Value -> where to look for it: None is everywhere.
        self._stale: dict[int, Region | None] = {s.value: None for s in segmentation.segments}
        self._running: SurfaceTask | None = None
        #: What has changed in its label map since it began.
        self._meanwhile: Region | None = None

    def labels_changed(self, region: Region, group_id: int) -> None:
        """Voxels have changed: segments that are, or were, in the region are out of date."""
        if not self.segmentation.has_group(group_id):
            return
        if self._running is not None and self._running.labels is self.segmentation.group(group_id).labels:
            self._meanwhile = region if self._meanwhile is None else self._meanwhile.union(region)
        members = [segment for segment in self.segmentation.segments if segment.group == group_id]
        present = _present(self.segmentation.group(group_id).labels, region, [s.value for s in members])
        for segment in members:
            known = self._regions.get(segment.value)
            if segment.value not in present and (known is None or known.clip(region).is_empty):
                continue
            if segment.value in self._stale and self._stale[segment.value] is None:
                continue  # looked for everywhere already
            before = self._stale.get(segment.value) or known
            self._stale[segment.value] = region if before is None else before.union(region)

    def segments_changed(self) -> None:
        """The list, or the looks of a segment, changed."""
        values = {segment.value for segment in self.segmentation.segments}
        for gone in [value for value in self._actors if value not in values]:
            self._renderer.RemoveActor(self._actors.pop(gone))
            self._regions.pop(gone, None)
            self._fill.pop(gone, None)
        for segment in self.segmentation.segments:
            if segment.value not in self._regions and segment.value not in self._stale:
                self._stale[segment.value] = None
        self._dress_all()

    def next_task(self) -> SurfaceTask | None:
        """Return the next surface to make, the active segment's first; None when all are up to date or one is made."""
        if self._running is not None:
            return None
        for value in sorted(self._stale, key=lambda value: value != self.segmentation.active):
            segment = self.segmentation.find(value)
            if segment is None:
                del self._stale[value]
            elif self._shows(segment):
                within = self._stale.pop(value)
                labels = self.segmentation.group(segment.group).labels
                finds_all = within is None and len(self._unknown(segment.group)) > _FEW
                self._running = SurfaceTask(value, labels, self.segmentation.geometry, within, self._most, finds_all)
                self._meanwhile = None
                return self._running
        return None

    def _unknown(self, group_id: int) -> list[int]:
        """Return the segments of a group that must be looked for everywhere."""
        stale = (self.segmentation.find(value) for value, within in self._stale.items() if within is None)
        return [segment.value for segment in stale if segment is not None and segment.group == group_id]

    def _found(self, boxes: dict[int, Region], group_id: int) -> None:
        """Take over where segments lie; what is nowhere, and was not drawn meanwhile, needs no surface."""
        for value in self._unknown(group_id):
            areas = [area for area in (boxes.get(value), self._meanwhile) if area is not None]
            if areas:
                self._stale[value] = areas[0].union(areas[-1])
            else:
                del self._stale[value]
                self._regions[value] = None

    def apply(self, result: SurfaceResult) -> None:
        """Show a surface that was made; one for a task that is no longer wanted is dropped."""
        if result.task is not self._running:
            return
        self._running = None
        value = result.task.value
        segment = self.segmentation.find(value)
        if segment is None:
            return
        if result.boxes is not None:
            self._found(result.boxes, segment.group)
        self._regions[value] = result.region
        self._fill[value] = result.fill
        if value not in self._actors:
            self._actors[value] = vtkActor()
            self._actors[value].SetMapper(vtkPolyDataMapper())
            self._renderer.AddActor(self._actors[value])
        mapper = self._actors[value].GetMapper()
        assert isinstance(mapper, vtkPolyDataMapper)
        mapper.SetInputData(result.surface)
        mapper.ScalarVisibilityOff()
        self._dress_all()  # what is inside what may have changed

    def _dress_all(self) -> None:
        shells = self._shells()
        for value, actor in self._actors.items():
            self._dress(actor, value, value in shells)

    def _dress(self, actor: vtkActor, value: int, shell: bool) -> None:
        segment = self.segmentation.segment(value)
        red, green, blue = (channel / 255 for channel in segment.color)
        look = actor.GetProperty()
        look.SetColor(red, green, blue)
        look.SetOpacity(segment.opacity * (_SHELL_OPACITY if shell else 1.0))
        look.SetBackfaceCulling(shell)
        look.SetAmbient(0.15)
        look.SetDiffuse(0.85)
        look.SetSpecular(0.2)
        look.SetSpecularPower(20.0)
        actor.SetVisibility(self._shows(segment))

    def _shows(self, segment: Segment) -> bool:
        return self._look().shows(segment, self.segmentation.active)

    def _shells(self) -> set[int]:
        """Return the segments in whose box lies that of another one that is shown: one must see through them."""
        boxes = {
            value: region
            for value, region in self._regions.items()
            if region is not None and (segment := self.segmentation.find(value)) is not None and self._shows(segment)
        }
        if not boxes:
            return set()
        values = list(boxes)
        lower, upper = (np.array([getattr(boxes[value], end) for value in values]) for end in ("lower", "upper"))
        sizes = np.prod(upper - lower, axis=1)
        inside = (lower[:, np.newaxis] <= lower).all(axis=2) & (upper[:, np.newaxis] >= upper).all(axis=2)
        inside &= sizes < _SHELL_RATIO * sizes[:, np.newaxis]
        full = np.array([self._fill[value] >= _SHELL_FILL for value in values])
        return {values[n] for n in np.flatnonzero(inside.any(axis=1) & full)}

    def close(self) -> None:
        """Take all surfaces away."""
        for actor in self._actors.values():
            self._renderer.RemoveActor(actor)
        self._actors.clear()
        self._running = None
