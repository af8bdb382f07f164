"""What a tool is told of a 3D view is what is seen there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("vtkmodules")

from vtkmodules.vtkRenderingCore import vtkRenderWindow

from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.imaging.scissors import screen_points, seen_point
from medviewer.render.picking import display_of, view_ray
from medviewer.render.volume_scene import VolumeScene
from tests.unit.imaging.test_outline import GRIDS


@pytest.mark.parametrize("grid", GRIDS, ids=["straight", "turned", "tilted"])
@pytest.mark.parametrize("parallel", [False, True])
def test_points_are_seen_where_vtk_draws_them(grid, parallel):
    workspace = Workspace()
    volume = Volume(np.zeros(grid.shape, np.int16), grid)
    workspace.add_volume(volume)
    workspace.activate(volume.id)
    scene = VolumeScene(workspace, lambda: None, lambda: None, lambda: None)
    window = vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetSize(310, 170)
    scene.attach(window)
    scene.look_from_front()
    camera = scene.renderer.GetActiveCamera()
    camera.SetParallelProjection(parallel)
    camera.Azimuth(33.0)
    camera.Elevation(-21.0)
    scene.renderer.ResetCameraClippingRange()
    matrix = scene.world_to_screen()
    places = [tuple(float(v) for v in corner) for corner in grid.corners_lps]
    for place, seen in zip(places, screen_points(matrix, places), strict=True):
        assert seen == pytest.approx(display_of(scene.renderer, place, 170), abs=0.01)
        assert (matrix @ [*place, 1.0])[3] > 0
    near, far = view_ray(scene.renderer, 100.0, 170.0 - 60.0)
    np.testing.assert_allclose(seen_point(matrix, (100.0, 60.0), 0.0), near, atol=0.05)
    np.testing.assert_allclose(seen_point(matrix, (100.0, 60.0), 1.0), far, atol=0.05)
    along = np.array(camera.GetDirectionOfProjection()) @ grid.direction_matrix
    assert scene.nearest_axis() == np.argmax(np.abs(along))
    scene.close()
