"""Every volume keeps its window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from medviewer.app.actions import ACTIONS
from medviewer.app.context import AppContext
from medviewer.app.windows import Windows, auto_window
from medviewer.core.suv import BQML, SUV_BW, Suv
from medviewer.core.view_state import TRUE_COLOR, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.phantoms import spheres_volume
from tests.picture_volumes import photo


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


def test_pet_in_suv_opens_dark_on_white_from_0_to_10_and_keeps_what_the_reader_chose() -> None:
    workspace = Workspace()
    windows = Windows(workspace)
    ct = replace(spheres_volume().volume, id="ct", window=(40.0, 400.0))
    suv = Suv({BQML: 1.0, SUV_BW: 0.001})
    pet = replace(ct, id="pet", modality="PT", unit=SUV_BW, suv=suv, window=(12.0, 24.0))
    for volume in (ct, pet):
        workspace.add_volume(volume)
        workspace.activate(volume.id)
    assert (workspace.view.window, workspace.view.inverted) == (WindowLevel(5.0, 10.0), True)
    workspace.activate("ct")
    assert (workspace.view.window, workspace.view.inverted) == (WindowLevel(40.0, 400.0), False)
    workspace.activate("pet")
    assert workspace.view.inverted
    workspace.view.inverted = False
    workspace.activate("ct")
    workspace.activate("pet")
    assert (workspace.view.window, workspace.view.inverted) == (WindowLevel(5.0, 10.0), False)
    assert auto_window(replace(pet, unit=BQML)) == WindowLevel(12.0, 24.0), "activity differs from study to study"
    assert windows is not None


def test_a_colour_picture_opens_as_stored_and_a_nearly_even_one_is_not_lost() -> None:
    assert auto_window(photo()) == TRUE_COLOR
    grey = replace(photo(), colors=None)
    assert auto_window(grey) == TRUE_COLOR
    mask = replace(grey, array=(grey.array > 128).astype(np.uint8))
    assert auto_window(mask) == WindowLevel(0.5, 1.0), "labels of 0 and 1 would be black"
    volume = spheres_volume().volume
    even = np.zeros(volume.array.shape, np.int16)
    even[0, 0, 0] = 7
    assert auto_window(replace(volume, array=even, window=None)) == WindowLevel(3.5, 7.0)


def test_G25_padding_is_no_part_of_the_automatic_window() -> None:
    volume = replace(spheres_volume().volume, window=None)
    padded = volume.array.copy()
    padded[:, :10] = -2000
    wide, narrow = auto_window(replace(volume, array=padded)), auto_window(replace(volume, array=padded, padding=-2000))
    assert wide.lower == -2000
    assert narrow.lower >= volume.array.min()


def test_units_and_windows_of_pet_are_offered_only_for_pet(make_app: Callable[[], AppContext], pump: Any) -> None:
    app = make_app()
    by_id = {action.id: action for action in ACTIONS}
    ct = spheres_volume().volume
    pet = replace(ct, id="pet", modality="PT", unit=SUV_BW, suv=Suv({BQML: 1.0, SUV_BW: 0.001}))

    def offered(volume: Volume) -> set[str]:
        app.workspace.add_volume(volume)
        app.workspace.activate(volume.id)
        wanted = ("window_suv_5", "window_soft", "invert", "unit_SUVbw", "unit_SUVlbm", "unit_Bq/ml")
        return {name for name in wanted if by_id[name].enabled(app)}

    assert offered(ct) == {"window_soft", "invert"}
    assert offered(pet) == {"window_suv_5", "invert", "unit_Bq/ml"}
    by_id["unit_Bq/ml"].run(app, None)  # type: ignore[arg-type]  # asks nothing
    pump.until(lambda: app.workspace.volume("pet").unit == BQML)
    assert offered(photo()) == set(), "windows of CT and inversion are nothing for colours"
