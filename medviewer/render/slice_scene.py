"""One plane of the document as pixels: image, second image, labels. Listens to the models; knows no window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Vec3, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation
from medviewer.core.view_state import TRUE_COLOR, MaskDifference, Plane, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.render.colors import OPAQUE, Gray, Pixels, from_grey, from_rgb, window
from medviewer.render.difference_overlay import DifferenceOverlay
from medviewer.render.fusion import FusionLayer
from medviewer.render.label_overlay import LabelOverlay
from medviewer.render.links import Links
from medviewer.render.plane import PlaneFrame, PlaneGrid
from medviewer.render.preview_overlay import PreviewOverlay
from medviewer.render.sampler import Interpolation, PlaneSampler, Rect

#: Enlargement relative to the whole slice.
MIN_ZOOM, MAX_ZOOM = 0.1, 60.0


class SliceScene:
    """What one slice view shows of the active volume of a workspace: the slice that holds the crosshair.

    A signal of a model only records what is out of date and calls `request_render`; the work is done once, in
    `render`.

    Parameters
    ----------
    workspace : Workspace
    plane : "axial", "coronal" or "sagittal"
    request_render : callable
        Asks for a repaint; called often, so it merges.
    """

    def __init__(self, workspace: Workspace, plane: Plane, request_render: Callable[[], None]) -> None:
        self.workspace = workspace
        self.plane: Plane = plane
        self.volume: Volume | None = None
        self.frame: PlaneFrame | None = None
        self._request = request_render
        self._size = (1, 1)
        self._interpolation: Interpolation = "linear"
        self._image: PlaneSampler | None = None
        self._fusion: FusionLayer | None = None
        self._labels: LabelOverlay | None = None
        self._difference: DifferenceOverlay | None = None
        self._preview = PreviewOverlay(workspace.view)
        #: Pixels that a preview was drawn into.
        self._previewed: Rect | None = None
        # From the voxels to the screen; None where out of date.
        self._values: npt.NDArray[Any] | None = None
        self._grey: Gray | None = None
        self._base: Pixels | None = None
        self._pixels: Pixels = np.full((1, 1), OPAQUE, dtype=np.uint32)
        self._stale: Rect | None = None
        self._links = Links(
            (workspace.active_changed, self._active_changed),
            (workspace.volume_updated, self._volume_updated),
            (workspace.overlay_changed, self._fusion_changed),
            (workspace.boxes_changed, self._marks_changed),
            (workspace.view.selected_box_changed, self._marks_changed),
            (workspace.view.filter_changed, self._marks_changed),
            (workspace.view.crosshair_changed, self._crosshair_changed),
            (workspace.view.tilt_changed, self._tilt_changed),
            (workspace.view.window_changed, self._window_changed),
            (workspace.view.overlay_changed, self._style_changed),
            (workspace.view.preview_changed, self._preview_changed),
        )
        self._active_changed(workspace.active)

    def close(self) -> None:
        """Stop listening and let go of the volume."""
        self._links.close()
        self._attach(None)
        self.volume = self.frame = self._image = self._fusion = None

    # --- the models have changed

    def _active_changed(self, volume: Volume | None) -> None:
        self._attach(self.workspace.active_segmentation if volume is not None else None)
        self.volume = volume
        if volume is None:
            self._image = self.frame = None
        else:
            self._image = PlaneSampler(_shown(volume), self._interpolation)
            grid = self._grid(volume)
            self.frame = PlaneFrame.fit(grid, grid.slice_of(self.workspace.view.crosshair_lps), *self._size)
        self._fusion_changed()
        self._voxels_changed()

    def _grid(self, volume: Volume) -> PlaneGrid:
        grid = PlaneGrid.of(volume.geometry, self.plane)
        if volume.stacking != "place":
            grid = replace(grid, forward=-1)  # as in a list: what comes later is further down
        tilt = self.workspace.view.tilt
        return grid if tilt is None or not volume.has_depth else grid.turned(tilt)

    def _attach(self, segmentation: Segmentation | None) -> None:
        if self._labels is not None:
            self._labels.segmentation.labels_changed.disconnect(self._labels_changed)
            self._labels.segmentation.segments_changed.disconnect(self._style_changed)
            self._labels.segmentation.active_changed.disconnect(self._active_segment_changed)
        self._labels = None
        if segmentation is not None:
            self._labels = LabelOverlay(segmentation, self.workspace.view)
            segmentation.labels_changed.connect(self._labels_changed)
            segmentation.segments_changed.connect(self._style_changed)
            segmentation.active_changed.connect(self._active_segment_changed)

    def _volume_updated(self, volume: Volume) -> None:
        if self.volume is None or volume.id != self.volume.id:
            return
        if self._image is not None and np.shares_memory(self._image.array, _shown(volume)):
            self._image.touch()  # still being filled
        else:
            self._image = PlaneSampler(_shown(volume), self._interpolation)
        self.volume = volume
        self._voxels_changed()

    @property
    def fusion_text(self) -> str:
        """What lies over the image; empty when nothing does."""
        return self._fusion.text if self._fusion is not None else ""

    def _fusion_changed(self) -> None:
        overlay = self.workspace.overlay if self.volume is not None else None
        if overlay is None:
            self._fusion = None
        elif self._fusion is not None and self._fusion.fits(overlay):
            self._fusion.overlay = overlay
        else:
            self._fusion = FusionLayer(overlay)
        self._base = None
        self._request()

    def _crosshair_changed(self, lps: Vec3) -> None:
        if self.frame is not None:
            index = self.frame.grid.slice_of(lps)
            if index != self.frame.slice_index:
                self._look(replace(self.frame, slice_index=index))
        self._request()

    def _tilt_changed(self) -> None:
        if self.frame is not None and self.volume is not None:
            self._look(self.frame.on(self._grid(self.volume), self.workspace.view.crosshair_lps))

    def _window_changed(self, _level: WindowLevel) -> None:
        self._base = None
        self._request()

    def _marks_changed(self, _id: str = "") -> None:
        self._request()

    def _style_changed(self) -> None:
        if self._labels is not None:
            self._labels.style_changed()
        self._add_stale((0, 0, *self._size))

    def _active_segment_changed(self, _value: int) -> None:
        look = self.workspace.view.look
        if look.only_active or look.neighbors:
            self._style_changed()

    def _preview_changed(self) -> None:
        rect = self._preview.rect(self.frame) if self.frame is not None else None
        for pixels in (self._previewed, rect):
            if pixels is not None:
                self._add_stale(pixels)

    def _labels_changed(self, region: Region, group_id: int) -> None:
        if self._labels is not None and self.frame is not None:
            self._labels.labels_changed(group_id)
            rect = self._labels.rect_of(self.frame, region)
            if rect is not None:
                self._add_stale(rect)

    def _voxels_changed(self) -> None:
        self._values = self._base = None
        self._request()

    def _add_stale(self, rect: Rect) -> None:
        # An outline changes beside the voxels that did.
        (x0, y0, x1, y1), (width, height) = rect, self._size
        rim = self._labels.rim if self._labels is not None else 0
        grown = (max(0, x0 - rim), max(0, y0 - rim), min(width, x1 + rim), min(height, y1 + rim))
        if self._stale is not None:
            (a0, b0, a1, b1), (x0, y0, x1, y1) = self._stale, grown
            grown = (min(a0, x0), min(b0, y0), max(a1, x1), max(b1, y1))
        self._stale = grown
        self._request()

    # --- where one looks

    def _look(self, frame: PlaneFrame) -> None:
        self.frame = frame
        self._voxels_changed()

    @property
    def interpolation(self) -> Interpolation:
        """How values between voxels are made on the screen."""
        return self._interpolation

    @interpolation.setter
    def interpolation(self, interpolation: Interpolation) -> None:
        self._interpolation = interpolation
        if self._image is not None:
            self._image.interpolation = interpolation
        self._voxels_changed()

    @property
    def zoom(self) -> float:
        """Enlargement; 1 shows the whole slice."""
        if self.frame is None:
            return 1.0
        whole = PlaneFrame.fit(self.frame.grid, 0, *self._size)
        return whole.mm_per_pixel / self.frame.mm_per_pixel

    def resize(self, width: int, height: int) -> None:
        """Take another size in device pixels; the middle and the zoom stay."""
        size = (max(1, width), max(1, height))
        if size == self._size:
            return
        zoom = self.zoom
        self._size = size
        if self.frame is not None:
            whole = PlaneFrame.fit(self.frame.grid, self.frame.slice_index, *size)
            self._look(replace(whole, center=self.frame.center, mm_per_pixel=whole.mm_per_pixel / zoom))

    def reset(self) -> None:
        """Show the whole slice."""
        if self.frame is not None:
            self._look(PlaneFrame.fit(self.frame.grid, self.frame.slice_index, *self._size))

    def zoom_by(self, factor: float, x: float, y: float) -> None:
        """Enlarge around a display coordinate."""
        if self.frame is not None:
            zoom = self.zoom
            self._look(self.frame.zoomed(min(MAX_ZOOM, max(MIN_ZOOM, zoom * factor)) / zoom, x, y))

    def pan_by(self, dx: float, dy: float) -> None:
        """Move the picture by device pixels."""
        if self.frame is not None:
            self._look(self.frame.panned(dx, dy))

    def show_slice(self, index: int) -> None:
        """Move the crosshair along the normal into a slice; all views follow."""
        if self.frame is None:
            return
        grid = self.frame.grid
        ijk = grid.geometry.lps_to_index(self.workspace.view.crosshair_lps)
        ijk[grid.normal] = min(grid.count - 1, max(0, index))
        self.workspace.view.crosshair_lps = vec3(grid.geometry.index_to_lps(ijk))

    def step(self, slices: int) -> None:
        """Go by slices towards the head (axial), anterior (coronal) or left (sagittal)."""
        if self.frame is not None:
            self.show_slice(self.frame.slice_index + slices * self.frame.grid.forward)

    # --- the picture

    def render(self) -> Pixels:
        """Bring the picture up to date.

        Returns
        -------
        uint32, shape (height, width)
            ``0xffRRGGBB``; valid until the next call.
        """
        frame = self.frame
        if frame is None or self._image is None:
            return np.full(self._size[::-1], OPAQUE, dtype=np.uint32)
        whole = (0, 0, frame.width, frame.height)
        if self._base is None:
            if self._values is None:
                self._values = self._image.sample(frame.pixel_to_index, whole).copy()
            base = self._draw_image(frame, self._values)
            self._base = base if self._fusion is None else self._fusion.draw(base, frame)
            self._pixels = np.empty_like(base)
            self._stale = whole
        if self._stale is not None:
            if self._labels is None:
                return self._base
            self._draw_labels(self._labels, self._pixels, self._base, frame, self._stale)
            self._previewed = self._preview.rect(frame)
            if self._previewed is not None:
                self._preview.draw(self._pixels, frame, self._stale)
        self._stale = None
        return self._pixels

    def _draw_labels(self, labels: LabelOverlay, pixels: Pixels, base: Pixels, frame: PlaneFrame, rect: Rect) -> None:
        difference = self.difference
        if difference is None:
            self._difference = None
            labels.draw(pixels, base, self._grey if self._fusion is None else None, frame, rect)
            return
        if self._difference is None or self._difference.difference is not difference:
            self._difference = DifferenceOverlay(difference)
        pixels[...] = self._difference.draw(base, frame)

    @property
    def difference(self) -> MaskDifference | None:
        """What is shown in the place of segments, if it is of this volume."""
        found = self.workspace.view.difference
        return found if found is not None and self.volume is not None and found.volume_id == self.volume.id else None

    def _draw_image(self, frame: PlaneFrame, values: npt.NDArray[Any]) -> Pixels:
        level = self.workspace.view.window
        if values.ndim == 3:
            self._grey = None
            # The window is brightness and contrast, the same for all three channels: hues stay.
            rgb = values if level == TRUE_COLOR else window(values, level)
            self._blank(frame, rgb)
            return from_rgb(rgb)
        self._grey = grey = window(values, level)
        if self.volume is not None and self.volume.inverted != self.workspace.view.inverted:
            np.subtract(255, grey, out=grey)  # MONOCHROME1, or as the reader wants it: here and nowhere else
        self._blank(frame, grey)
        return from_grey(grey)

    def _blank(self, frame: PlaneFrame, pixels: Gray) -> None:
        frame.blank_outside(pixels)
        if self.volume is not None and self.volume.shutter is not None:
            frame.blank_shut(pixels, self.volume.shutter)


def _shown(volume: Volume) -> npt.NDArray[Any]:
    """Return what is drawn of a volume: colours where it has them."""
    return volume.array if volume.colors is None else volume.colors
