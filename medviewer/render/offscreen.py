"""Pictures without a window, for thumbnails and tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
from vtkmodules.vtkRenderingCore import vtkRenderWindow

from medviewer.core.view_state import Plane
from medviewer.core.workspace import Workspace
from medviewer.render.colors import to_rgb
from medviewer.render.presets import preset as preset_named
from medviewer.render.slice_scene import SliceScene
from medviewer.render.volume_scene import VolumeScene

Rgb = npt.NDArray[np.uint8]


def slice_picture(workspace: Workspace, plane: Plane, size: tuple[int, int] = (256, 256)) -> Rgb:
    """Return what a slice view of the active volume shows, without lines and words.

    Parameters
    ----------
    workspace : Workspace
        The document.
    plane : Plane
        "axial", "coronal" or "sagittal".
    size : (int, int)
        Width and height, pixels.

    Returns
    -------
    uint8, shape (height, width, 3)
        Red, green, blue.
    """
    scene = SliceScene(workspace, plane, lambda: None)
    try:
        scene.resize(*size)
        return to_rgb(scene.render())
    finally:
        scene.close()


def window_pixels(window: vtkRenderWindow) -> npt.NDArray[np.uint8]:
    """Return the finished frame of a window, uint8 (height, width, 4), top row first; the last channel is alpha."""
    width, height = window.GetSize()
    buffer = vtkUnsignedCharArray()
    window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, buffer, 0)
    flat: npt.NDArray[np.uint8] = vtk_to_numpy(buffer)  # type: ignore[no-untyped-call]  # VTK ships no types for it
    return flat.reshape(height, width, 4)[::-1]


def volume_picture(workspace: Workspace, size: tuple[int, int] = (256, 256), *, preset: str | None = None) -> Rgb:
    """Return what the 3D view of the active volume shows from the front.

    Parameters
    ----------
    workspace : Workspace
        The document.
    size : (int, int)
        Width and height, pixels.
    preset : str, optional
        Name of the volume rendering; without one, surfaces only.

    Returns
    -------
    uint8, shape (height, width, 3)
        Red, green, blue.
    """
    scene = VolumeScene(workspace, lambda: None, lambda: None, lambda: None)
    window = vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    try:
        scene.choose(preset_named(preset) if preset is not None else None)
        scene.attach(window)
        scene.update()
        while scene.surfaces is not None and (task := scene.surfaces.next_task()) is not None:
            scene.surfaces.apply(task.run())
        window.Render()
        return np.ascontiguousarray(window_pixels(window)[:, :, :3])
    finally:
        scene.close()
        window.Finalize()
