"""Pictures without a window, for thumbnails and tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.core.view_state import Plane
from medviewer.core.workspace import Workspace
from medviewer.render.colors import to_rgb
from medviewer.render.slice_scene import SliceScene

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
