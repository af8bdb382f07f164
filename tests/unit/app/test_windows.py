"""Every volume keeps its window."""

from __future__ import annotations

from dataclasses import replace

from medviewer.app.actions import ACTIONS
from medviewer.app.context import AppContext
from medviewer.app.windows import Windows, auto_window
from medviewer.core.view_state import WindowLevel
from medviewer.core.workspace import Workspace
from medviewer.phantoms import spheres_volume


def test_a_volume_comes_back_with_the_window_it_was_left_with() -> None:
    workspace = Workspace()
    windows = Windows(workspace)
    ct = replace(spheres_volume().volume, id="ct", window=(40.0, 400.0))
    mr = replace(ct, id="mr", array=ct.array.astype("float32") * 10 + 500, window=None)
    for volume in (ct, mr):
        workspace.add_volume(volume)
        workspace.activate(volume.id)
    assert workspace.view.window == auto_window(mr)
    workspace.activate("ct")
    assert workspace.view.window == WindowLevel(40.0, 400.0)
    workspace.view.window = WindowLevel(-600.0, 1500.0)
    workspace.activate("mr")
    workspace.view.window = WindowLevel(7.0, 8.0)
    workspace.activate("ct")
    assert workspace.view.window == WindowLevel(-600.0, 1500.0)
    workspace.activate("mr")
    assert workspace.view.window == WindowLevel(7.0, 8.0)
    workspace.remove_volume("mr")
    workspace.activate("ct")
    assert workspace.view.window == WindowLevel(-600.0, 1500.0)
    workspace.add_volume(mr)
    workspace.activate("mr")
    assert workspace.view.window == auto_window(mr), "a closed volume leaves nothing"
    assert windows is not None


def test_windows_of_ct_are_offered_for_ct(app: AppContext) -> None:
    volume = spheres_volume().volume
    (lung,) = (action for action in ACTIONS if action.id == "window_lung")
    assert not lung.enabled(app)
    for n, (modality, unit, fits) in enumerate((("CT", "HU", True), ("MR", "", False), ("", "", True))):
        shown = replace(volume, id=str(n), modality=modality, unit=unit)
        app.workspace.add_volume(shown)
        app.workspace.activate(shown.id)
        assert lung.enabled(app) is fits
