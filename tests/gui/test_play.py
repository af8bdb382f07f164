"""Films and time axes: what is due is shown, what was missed is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSlider, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.segmentation import Segment
from medviewer.core.view_state import WindowLevel
from medviewer.core.volume import TimeAxis, Volume
from medviewer.ui.main_window import MainWindow
from medviewer.ui.views.player import Player, clean_times
from tests.picture_volumes import film, photo

LEFT = Qt.MouseButton.LeftButton


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.ms = 0.0

    def __call__(self) -> float:
        return self.ms


def player_of(frames: int, step_ms: float = 40.0) -> tuple[Player, Clock, list[int]]:
    clock, shown = Clock(), list[int]()
    player = Player(shown.append, now_ms=clock)
    player.load(clean_times([n * step_ms for n in range(frames)], frames, 100.0))
    return player, clock, shown


@given(st.lists(st.floats(1, 500), min_size=1, max_size=40), st.sampled_from([0.25, 1.0, 4.0]))
def test_a_player_shows_what_is_due_and_never_goes_back_within_a_round(waits: list[float], speed: float) -> None:
    player, clock, shown = player_of(10)
    player.speed = speed
    player.play()
    for wait in waits:
        clock.ms += wait
        player.tick()
        assert player.index == int(clock.ms * speed // 40.0 + 1e-9) % 10
    player.pause()
    assert len(shown) <= len(waits), "a slow machine misses frames; none is shown late"


def test_without_repeat_it_ends_at_the_last_frame_and_begins_anew() -> None:
    player, clock, shown = player_of(4)
    player.loop = False
    player.play()
    clock.ms = 1000.0
    player.tick()
    assert (player.playing, player.index) == (False, 3)
    player.play()
    assert (player.playing, player.index) == (True, 0)
    assert shown == [3, 0]
    player.pause()


def test_another_speed_goes_on_from_where_it_is() -> None:
    player, clock, _ = player_of(100)
    player.play()
    clock.ms = 400.0
    player.tick()
    player.speed = 4.0
    player.tick()
    assert player.index == 10
    clock.ms += 40.0
    player.tick()
    assert player.index == 14
    player.pause()


def test_times_that_are_missing_or_go_back_give_way_to_an_even_pace() -> None:
    assert clean_times((), 3, 100.0) == (0.0, 100.0, 200.0, 300.0)
    assert clean_times((0.0, 50.0, 50.0), 3, 100.0) == (0.0, 100.0, 200.0, 300.0)
    assert clean_times((10.0, 20.0, 50.0), 3, 100.0) == (0.0, 10.0, 40.0, 60.0)
    one = Player(lambda _: None)
    one.load(clean_times((0.0,), 1, 100.0))
    one.play()
    assert not one.playing


def look_at(app: AppContext, volume: Volume) -> None:
    app.workspace.add_volume(volume)
    app.workspace.view.crosshair_lps = volume.geometry.index_to_lps((0, 0, 0)).tolist()
    app.workspace.activate(volume.id)


def frame_of(window: MainWindow) -> int:
    assert window.views is not None
    frame = window.views.slices["axial"].canvas.scene.frame
    assert frame is not None
    return frame.slice_index


def test_a_film_plays_with_the_key_and_pauses_when_somebody_steps(
    qtbot: QtBot, app: AppContext, window: MainWindow
) -> None:
    look_at(app, film(12, frame_ms=10.0))
    bar, button = window.findChild(QWidget, "playBar"), window.findChild(QToolButton, "playButton")
    assert bar.isVisible()
    assert window.findChild(QLabel, "playWhere").text() == "frame 1/12  0.00 s"
    assert window.views is not None
    player, canvas = window.views.play_bar.player, window.views.slices["axial"].canvas
    seen: set[int] = set()
    canvas.slice_changed.connect(lambda: seen.add(frame_of(window)))
    painted = canvas.frames
    qtbot.waitUntil(window.commands.by_id["play"].isEnabled)
    window.commands.by_id["play"].trigger()
    assert player.playing
    assert button.accessibleName() == "Pause (P)"
    qtbot.waitUntil(lambda: len(seen) > 5 and canvas.frames > painted + 3)
    qtbot.keyClick(canvas, Qt.Key.Key_Home)
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert not player.playing
    assert frame_of(window) == 1
    assert window.findChild(QSlider, "playSlider").value() == 1
    window.findChild(QSlider, "playSlider").setValue(7)
    assert frame_of(window) == 7
    qtbot.mouseClick(window.findChild(QToolButton, "playOn"), LEFT)
    window.commands.by_id["frame_on"].trigger()
    window.commands.by_id["frame_back"].trigger()
    assert frame_of(window) == 8


def test_it_stops_when_another_image_is_looked_at_and_when_the_window_closes(
    qtbot: QtBot, app: AppContext, window: MainWindow
) -> None:
    look_at(app, film())
    assert window.views is not None
    player, bar = window.views.play_bar.player, window.findChild(QWidget, "playBar")
    player.play()
    look_at(app, photo())
    assert not player.playing
    assert not bar.isVisible(), "one picture has nothing to go through"
    app.workspace.activate(app.workspace.volumes[0].id)
    player.play()
    app.documents.close_volume(app.workspace.volumes[0].id)
    assert not player.playing
    look_at(app, film())
    player.play()
    app.workspace.dirty = False
    window.close()
    assert not player.playing


def test_loose_pictures_are_gone_through_but_not_played(app: AppContext, window: MainWindow) -> None:
    look_at(app, replace(film(3), stacking="number", frame_times_ms=()))
    assert window.findChild(QLabel, "playWhere").text() == "picture 1/3"
    assert not window.findChild(QToolButton, "playButton").isVisible()
    window.commands.by_id["play"].trigger()
    assert window.views is not None
    assert not window.views.play_bar.player.playing


@pytest.fixture
def timed(phantom_volume: Volume) -> Volume:
    arrays = tuple(phantom_volume.array + np.int16(100 * n) for n in range(3))
    return replace(
        phantom_volume, array=arrays[0], time=TimeAxis("b-value", ("b = 0", "b = 400", "b = 800"), arrays), id="timed"
    )  # fmt: skip


def test_a_time_axis_is_stepped_and_keeps_window_and_masks(
    qtbot: QtBot, app: AppContext, window: MainWindow, timed: Volume
) -> None:
    app.workspace.add_volume(timed)
    app.workspace.activate("timed")
    segmentation = app.workspace.segmentation("timed")
    segmentation.put_group(segmentation.new_group("drawn"))
    segmentation.put_segment(Segment(1, "Lesion"))
    app.workspace.view.window = WindowLevel(50.0, 500.0)
    where = window.findChild(QLabel, "playWhere")
    assert where.text() == "b = 0 (1 of 3)"
    qtbot.waitUntil(window.commands.by_id["frame_on"].isEnabled)
    window.commands.by_id["frame_on"].trigger()
    window.commands.by_id["frame_on"].trigger()
    window.commands.by_id["frame_on"].trigger()
    assert where.text() == "b = 800 (3 of 3)"
    shown = app.workspace.active
    assert shown is not None
    assert shown.value_at((0, 0, 0)) == timed.value_at((0, 0, 0)) + 200
    assert app.workspace.view.window == WindowLevel(50.0, 500.0)
    assert app.workspace.segmentation("timed") is segmentation
    assert segmentation.find(1) is not None
    assert window.views is not None
    assert all(panel.isVisible() for panel in window.views.slices.values()), "all views of the volume"
    window.commands.by_id["play"].trigger()
    assert window.views.volume.held, "the 3D view waits"
    window.commands.by_id["play"].trigger()
    assert not window.views.volume.held
    window.findChild(QSlider, "playSlider").setValue(0)
    assert app.workspace.volume("timed").value_at((0, 0, 0)) == timed.value_at((0, 0, 0))


def test_a_real_angiography_plays_in_one_view(
    qtbot: QtBot, app: AppContext, window: MainWindow, shared_data: Path
) -> None:
    window.open_paths([shared_data / "dicom" / "multiframe_xa_us_mr_fodicom.zip"])
    qtbot.waitUntil(lambda: bool(app.studies.studies) and not app.jobs.running, timeout=60_000)
    (series,) = (s for study in app.studies.studies for s in study.series if s.modality == "XA")
    app.studies.open_series(series)
    qtbot.waitUntil(lambda: app.studies.find_volume(series) is not None and not app.jobs.running, timeout=60_000)
    assert window.views is not None
    assert [name for name, panel in window.views.slices.items() if panel.isVisible()] == ["axial"]
    assert window.findChild(QLabel, "playWhere").text() == "frame 1/96  0.00 s"
    assert "pixels, not in mm" in window.findChild(QLabel, "warningTexts").text()
    window.views.play_bar.toggle()
    qtbot.waitUntil(lambda: frame_of(window) > 5)
    window.views.play_bar.toggle()
