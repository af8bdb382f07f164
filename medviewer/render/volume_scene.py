"""The 3D view: volume rendering, surfaces, findings, crosshair. Listens to the models; knows no window."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import vtkmodules.vtkRenderingFreeType
import vtkmodules.vtkRenderingOpenGL2
import vtkmodules.vtkRenderingVolumeOpenGL2  # noqa: F401  # these register what draws
from vtkmodules.vtkCommonDataModel import vtkPiecewiseFunction
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkRenderingCore import (
    vtkColorTransferFunction,
    vtkRenderer,
    vtkRenderWindow,
    vtkVolume,
    vtkVolumeProperty,
)
from vtkmodules.vtkRenderingVolume import vtkFixedPointVolumeRayCastMapper, vtkGPUVolumeRayCastMapper

from medviewer.core.geometry import Points, Vec3, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation
from medviewer.core.tilt import views_grid
from medviewer.core.view_state import WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.render.annotation_props import FindingProps
from medviewer.render.links import Links
from medviewer.render.marks import PLANE_COLORS, Circle, Line, Mark
from medviewer.render.orientation_cube import OrientationCube
from medviewer.render.picking import display_of, first_hit, view_ray
from medviewer.render.plane import PlaneGrid
from medviewer.render.presets import VolumePreset, preset_for
from medviewer.render.surface_scene import MAX_VOXELS, MAX_VOXELS_SOFTWARE, SurfaceScene
from medviewer.render.vtk_image import share_array, thinning

_DRIVER = re.compile(r"^OpenGL renderer string:(.*)$", re.MULTILINE)
_SOFTWARE = re.compile("llvmpipe|softpipe|swiftshader|software|swr|gdi generic|basic render", re.IGNORECASE)
#: Voxels that are still fluent, without and with a graphics card.
SOFTWARE_VOXELS, GPU_VOXELS = 5_000_000, 260_000_000
Mapper = vtkFixedPointVolumeRayCastMapper | vtkGPUVolumeRayCastMapper
#: Frames a second that casting rays aims at by leaving some out, without a graphics card.
_SOFTWARE_RATE = 6.0
#: Pixels from ray to ray that are not to be exceeded for it: beyond, ribs run into each other.
_COARSEST = 2.0
#: Half the length of the lines of the crosshair.
_ARM_MM = 25.0
_BACKGROUND = (0.055, 0.063, 0.075)


def is_software(window: vtkRenderWindow) -> bool:
    """Whether OpenGL is computed by the processor in a window that has rendered; so too if the driver is silent."""
    driver = _DRIVER.search(window.ReportCapabilities() or "")
    return driver is None or bool(_SOFTWARE.search(driver.group(1)))


class VolumeScene:
    """What the 3D view shows of the active volume.

    A signal of a model only records what is out of date and asks for a repaint or, where it takes long, for an
    update; `update` and `surfaces` do the work when whoever owns the window finds the time.

    Parameters
    ----------
    workspace : Workspace
    request_render : callable
        Asks for another frame.
    request_marks : callable
        Asks for the marks over the frame to be painted again; without a graphics card a frame is costly, and the
        crosshair follows the mouse.
    request_update : callable
        Asks for a later call of `update` and of `surfaces.next_task`.
    software : bool
        Whether OpenGL is computed by the processor: then the volume is cast by the processor too, thinned.
    """

    def __init__(
        self,
        workspace: Workspace,
        request_render: Callable[[], None],
        request_marks: Callable[[], None],
        request_update: Callable[[], None],
        *,
        software: bool = True,
    ) -> None:
        self.workspace = workspace
        self._request = request_render
        self._request_marks = request_marks
        self._request_update = request_update
        self._software = software
        self.renderer = vtkRenderer()
        self.renderer.SetBackground(*_BACKGROUND)
        self._cube = OrientationCube(self.renderer)
        self._findings = FindingProps(self.renderer)
        self.surfaces: SurfaceScene | None = None
        self.preset: VolumePreset | None = None
        self._automatic = True
        self._chosen: VolumePreset | None = None
        self._prop: vtkVolume | None = None
        self._property = vtkVolumeProperty()
        self._volume_stale = False
        self._volume: Volume | None = None
        self._only_active = workspace.view.look.only_active
        self._links = Links(
            (workspace.active_changed, self._active_changed),
            (workspace.volume_updated, self._volume_updated),
            (workspace.boxes_changed, self._findings_changed),
            (workspace.view.selected_box_changed, self._findings_changed),
            (workspace.view.filter_changed, self._findings_changed),
            (workspace.view.crosshair_changed, self._crosshair_changed),
            (workspace.view.tilt_changed, self._crosshair_changed),
            (workspace.view.overlay_changed, self._overlay_changed),
            (workspace.view.window_changed, self._window_changed),
        )
        self._active_changed(workspace.active)

    def attach(self, window: vtkRenderWindow) -> None:
        """Show the scene in a window."""
        window.SetNumberOfLayers(2)
        if self._software:
            window.SetDesiredUpdateRate(_SOFTWARE_RATE)
        window.AddRenderer(self.renderer)
        window.AddRenderer(self._cube.renderer)

    def close(self) -> None:
        """Stop listening and let go of everything."""
        self._links.close()
        self._attach_segmentation(None)
        self._cube.close()
        self._drop_volume()
        self.renderer.RemoveAllViewProps()
        self._volume = None

    # --- the models have changed

    def _active_changed(self, volume: Volume | None) -> None:
        self._volume = volume
        self._cube.visible = volume is not None and volume.in_patient
        self._drop_volume()
        self._attach_segmentation(self.workspace.active_segmentation if volume is not None else None)
        self.preset = None
        if volume is not None:
            self.preset = preset_for(volume.modality) if self._automatic else self._chosen
            self._volume_stale = True
            self.look_from_front()
        self._findings_changed("")
        self._request_update()

    def _attach_segmentation(self, segmentation: Segmentation | None) -> None:
        if self.surfaces is not None:
            self.surfaces.segmentation.labels_changed.disconnect(self._labels_changed)
            self.surfaces.segmentation.segments_changed.disconnect(self._segments_changed)
            self.surfaces.segmentation.active_changed.disconnect(self._active_segment_changed)
            self.surfaces.close()
        self.surfaces = None
        if segmentation is not None:
            most = MAX_VOXELS_SOFTWARE if self._software else MAX_VOXELS
            self.surfaces = SurfaceScene(self.renderer, segmentation, lambda: self.workspace.view.look, most=most)
            segmentation.labels_changed.connect(self._labels_changed)
            segmentation.segments_changed.connect(self._segments_changed)
            segmentation.active_changed.connect(self._active_segment_changed)

    def _volume_updated(self, volume: Volume) -> None:
        if self._volume is not None and volume.id == self._volume.id:
            self._volume = volume
            self._volume_stale = True
            self._request_update()

    def _labels_changed(self, region: Region, group_id: int) -> None:
        if self.surfaces is not None:
            self.surfaces.labels_changed(region, group_id)
            self._request_update()

    def _segments_changed(self) -> None:
        if self.surfaces is not None:
            self.surfaces.segments_changed()
            self._request_update()
            self._request()

    def _active_segment_changed(self, _value: int) -> None:
        if self._only_active:
            self._segments_changed()

    def _overlay_changed(self) -> None:
        if self._only_active != self.workspace.view.look.only_active:
            self._only_active = not self._only_active
            self._segments_changed()
        self._request_marks()

    def _findings_changed(self, _id: str = "") -> None:
        boxes = self.workspace.boxes(self._volume.id) if self._volume is not None else ()
        view = self.workspace.view
        self._findings.show([box for box in boxes if view.shows(box)], view.selected_box)
        self._request()

    def _crosshair_changed(self, _lps: Vec3 | None = None) -> None:
        self._request_marks()

    def _window_changed(self, _level: WindowLevel) -> None:
        if self.preset is not None and self.preset.relative:
            self._dress()
            self._request()

    # --- the volume

    def choose(self, preset: VolumePreset | None) -> None:
        """Show the volume with a preset, this one and later ones; None shows no volume."""
        self._automatic, self._chosen = False, preset
        self.preset = preset if self._volume is not None else None
        self._volume_stale = True
        self._request_update()

    def update(self) -> None:
        """Bring the volume rendering up to date; may take a second for a large volume."""
        if not self._volume_stale:
            return
        self._volume_stale = False
        self._drop_volume()
        # One slice is no volume: the mapper would read the slice behind it, which may end the program.
        if self._volume is not None and self.preset is not None and self._volume.has_depth:
            self._prop = vtkVolume()
            self._prop.SetMapper(self._mapper(self._volume, self.preset))
            self._prop.SetProperty(self._property)
            self._dress()
            self.renderer.AddVolume(self._prop)
        self._request()

    def _mapper(self, volume: Volume, preset: VolumePreset) -> Mapper:
        k, j, i = thinning(
            volume.geometry.shape, volume.geometry.spacing[::-1], SOFTWARE_VOXELS if self._software else GPU_VOXELS
        )
        image = share_array(volume.array[::k, ::j, ::i])
        grid = volume.geometry.index_to_lps_matrix @ np.diag([i, j, k, 1.0])
        scale = np.linalg.norm(grid[:3, :3], axis=0)
        image.SetSpacing(*(float(s) for s in scale))
        # The rest, which may be rotated, mirrored or sheared, is the prop's own matrix: every mapper knows that one.
        rest = grid @ np.diag([*(1.0 / scale), 1.0])
        matrix = vtkMatrix4x4()
        matrix.DeepCopy(tuple(float(v) for v in rest.ravel()))
        assert self._prop is not None
        self._prop.SetUserMatrix(matrix)
        mapper: Mapper = vtkFixedPointVolumeRayCastMapper() if self._software else vtkGPUVolumeRayCastMapper()
        mapper.SetMaximumImageSampleDistance(_COARSEST)
        mapper.SetInputData(image)
        if preset.blend == "mip":
            mapper.SetBlendModeToMaximumIntensity()
        else:
            mapper.SetBlendModeToComposite()
        return mapper

    def _dress(self) -> None:
        if self.preset is None:
            return
        colors, opacities = vtkColorTransferFunction(), vtkPiecewiseFunction()
        for stop in self.preset.at(self.workspace.view.window):
            colors.AddRGBPoint(stop.value, *stop.color)
            opacities.AddPoint(stop.value, stop.opacity)
        look = self._property
        look.SetColor(colors)
        look.SetScalarOpacity(opacities)
        look.SetInterpolationTypeToLinear()
        look.SetShade(self.preset.blend == "composite")
        look.SetAmbient(0.2)
        look.SetDiffuse(0.85)
        look.SetSpecular(0.25)
        look.SetSpecularPower(12.0)
        if self._volume is not None:
            look.SetScalarOpacityUnitDistance(2.0 * min(self._volume.geometry.spacing))

    def _drop_volume(self) -> None:
        if self._prop is not None:
            self.renderer.RemoveVolume(self._prop)
            self._prop = None

    # --- the camera

    def look_from_front(self) -> None:
        """See everything from anterior, head up."""
        if self._volume is None:
            return
        corners = self._volume.geometry.corners_lps
        middle, radius = corners.mean(axis=0), float(np.ptp(corners, axis=0).max())
        camera = self.renderer.GetActiveCamera()
        camera.SetFocalPoint(*middle)
        camera.SetPosition(middle[0], middle[1] - 3 * radius, middle[2])
        camera.SetViewUp(0.0, 0.0, 1.0)
        low, high = corners.min(axis=0), corners.max(axis=0)
        self.renderer.ResetCamera(low[0], high[0], low[1], high[1], low[2], high[2])
        camera.Zoom(1.35)
        self._request()

    def marks(self, ratio: float = 1.0) -> list[Mark]:
        """Return the crosshair as it lies over the frame.

        Parameters
        ----------
        ratio : float
            Device pixels for one pixel of the desktop.
        """
        view, window = self.workspace.view, self.renderer.GetRenderWindow()
        if self._volume is None or not view.crosshair_visible or window is None:
            return []
        height = window.GetSize()[1]
        directions = (views_grid(self._volume, view.tilt) or self._volume.geometry).direction_matrix
        center = np.array(view.crosshair_lps)
        found: list[Mark] = []
        for plane, color in PLANE_COLORS.items():
            along = directions[:, PlaneGrid.of(self._volume.geometry, plane).normal]
            ends = [display_of(self.renderer, vec3(center + side * _ARM_MM * along), height) for side in (-1.0, 1.0)]
            found.append(Line(ends[0], ends[1], color, 1.5))
        x, y = display_of(self.renderer, view.crosshair_lps, height)
        found.append(Circle((x, y), (4 * ratio, 4 * ratio), (255, 255, 255), 1.5))
        return found

    def world_to_screen(self) -> Points:
        """Return the matrix of what is seen now; see `Sight`."""
        camera, (width, height) = self.renderer.GetActiveCamera(), self.renderer.GetSize()
        seen = camera.GetCompositeProjectionTransformMatrix(self.renderer.GetTiledAspectRatio(), 0.0, 1.0)
        matrix = np.array([[seen.GetElement(row, column) for column in range(4)] for row in range(4)])
        to_pixels = np.diag([width / 2, -height / 2, 1.0, 1.0])
        to_pixels[0, 3], to_pixels[1, 3] = width / 2, height / 2
        product: Points = to_pixels @ matrix
        return product

    def nearest_axis(self) -> int:
        """Return the index axis (0 = i, 1 = j, 2 = k) of the volume along which one looks most nearly."""
        if self._volume is None:
            return 2
        along = np.array(self.renderer.GetActiveCamera().GetDirectionOfProjection())
        return int(np.argmax(np.abs(along @ self._volume.geometry.direction_matrix)))

    def pick(self, x: float, y: float) -> Vec3 | None:
        """Return the visible point, LPS mm, under device pixels from the bottom left; None beside everything."""
        if self._volume is None:
            return None
        start, end = view_ray(self.renderer, x, y)
        look = (self.preset, self.workspace.view.window) if self.preset is not None else None
        segmentation = self.surfaces.segmentation if self.surfaces is not None else None
        return first_hit(start, end, segmentation, self._volume, look, self.workspace.view.look)
