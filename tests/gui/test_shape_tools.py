"""Shape tools in the real window: chosen in the palette, shown before they are made, applied as one named step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QListWidget, QPushButton, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.geometry import vec3
from medviewer.core.segmentation import Segmentation
from medviewer.core.volume import Volume
from medviewer.editing.editor import LabelEditor
from medviewer.editing.tool import PointerEvent
from medviewer.imaging.morphology import dilate
from medviewer.ui.main_window import MainWindow

LEFT = Qt.MouseButton.LeftButton
WAIT_MS = 30_000


@pytest.fixture
def balls(app: AppContext, opened: Volume) -> Segmentation:
    """A segment of two balls of 9 and 6 mm, and an empty one; the first is active."""
    segmentation = app.workspace.segmentation(opened.id)
    first = app.segments.add(opened.id, "Lesion")
    app.segments.add(opened.id, "Other")
    segmentation.active = first.value
    geometry = opened.geometry
    points = geometry.index_to_lps(np.moveaxis(np.indices(geometry.shape)[::-1], 0, -1))
    mask = np.zeros(geometry.shape, np.bool_)
    for place, radius in zip(places(opened), (9.0, 6.0), strict=True):
        mask |= np.linalg.norm(points - place, axis=-1) <= radius
    with LabelEditor(app.workspace, app.history, opened.id).stroke("Balls") as stroke:
        stroke.paint(geometry.region, mask)
    return segmentation


def places(volume: Volume) -> list[tuple[float, float, float]]:
    i, j, k = volume.geometry.size
    return [vec3(volume.geometry.index_to_lps((i * f, j / 2, k / 2))) for f in (0.3, 0.75)]


def choose(qtbot: QtBot, window: MainWindow, tool_id: str) -> QWidget:
    button = window.findChild(QToolButton, f"tool.{tool_id}")
    qtbot.waitUntil(button.isEnabled)
    qtbot.mouseClick(button, LEFT)
    form = window.findChild(QWidget, f"toolOptions.{tool_id}")
    qtbot.waitUntil(lambda: window.findChild(QWidget, f"toolOptions.{tool_id}") is not None)
    return form or window.findChild(QWidget, f"toolOptions.{tool_id}")


def option(form: QWidget, name: str, value: object) -> None:
    widget = form.findChild(QWidget, f"param.{name}")
    if isinstance(widget, QComboBox):
        assert widget.findData(value) >= 0, f"{name} has no {value}"
        widget.setCurrentIndex(widget.findData(value))
    else:
        assert isinstance(widget, QDoubleSpinBox)
        widget.setValue(float(str(value)))


def apply(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: app.router.effects.state == "previewing", timeout=WAIT_MS)
    qtbot.mouseClick(window.findChild(QPushButton, "effectApply"), LEFT)


def test_a_margin_is_shown_follows_its_distance_and_is_one_step(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    before = balls.mask(balls.active).copy()
    form = choose(qtbot, window, "margin")
    qtbot.waitUntil(lambda: bool(app.workspace.view.preview), timeout=WAIT_MS)
    small = sum(int(part.mask.sum()) for part in app.workspace.view.preview)
    option(form, "distance_mm", 5.0)
    qtbot.waitUntil(lambda: sum(int(part.mask.sum()) for part in app.workspace.view.preview) > small, timeout=WAIT_MS)
    np.testing.assert_array_equal(balls.mask(balls.active), before)
    apply(qtbot, app, window)
    np.testing.assert_array_equal(balls.mask(balls.active), dilate(before, opened.geometry, 5.0))
    assert app.history.undo_label == "Grow by 5 mm"
    assert not app.workspace.view.preview
    app.undo()
    np.testing.assert_array_equal(balls.mask(balls.active), before)


def test_escape_drops_what_is_shown(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    before, steps = balls.mask(balls.active).copy(), len(app.history.done)
    choose(qtbot, window, "hollow")
    qtbot.waitUntil(lambda: bool(app.workspace.view.preview), timeout=WAIT_MS)
    qtbot.mouseClick(window.findChild(QPushButton, "effectCancel"), LEFT)
    assert not app.workspace.view.preview
    np.testing.assert_array_equal(balls.mask(balls.active), before)
    assert len(app.history.done) == steps


def test_islands_are_split_into_numbered_segments(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    form = choose(qtbot, window, "islands")
    option(form, "minimum", 10.0)
    option(form, "action", "split")
    qtbot.waitUntil(lambda: any(r.new for r in [app.router.effects.result] if r is not None), timeout=WAIT_MS)
    apply(qtbot, app, window)
    assert [s.name for s in balls.segments] == ["Lesion 1", "Lesion 2", "Other"]
    app.undo()
    assert [s.name for s in balls.segments] == ["Lesion", "Other"]


def test_an_island_that_is_clicked_goes(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    form = choose(qtbot, window, "islands")
    option(form, "action", "remove clicked")
    small = places(opened)[1]
    size = balls.mask(balls.active).sum()
    assert app.router.pointer(PointerEvent("press", small, 2))
    assert len(app.router.cursor.prompts) == 1
    apply(qtbot, app, window)
    kji = opened.geometry.voxel_at(small)
    assert kji is not None
    assert not balls.mask(balls.active)[kji]
    assert 0 < balls.mask(balls.active).sum() < size
    app.router.pointer(PointerEvent("press", small, 2))
    assert "nothing of the active segment" in window.findChild(QLabel, "messageText").text()


def test_the_other_segment_is_chosen_by_name(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    mask = balls.mask(balls.active).copy()
    lesion, other = balls.segments
    balls.active = other.value
    form = choose(qtbot, window, "logic")
    box = form.findChild(QComboBox, "param.other")
    assert [box.itemText(n) for n in range(1, box.count())] == ["Lesion", "Other"]
    assert "Choose" in window.findChild(QLabel, "effectState").text()
    option(form, "operation", "copy")
    option(form, "other", lesion.value)
    apply(qtbot, app, window)
    np.testing.assert_array_equal(balls.mask(other.value), mask)
    app.segments.rename(opened.id, lesion.value, "Rest")
    qtbot.waitUntil(lambda: box.findText("Rest") > 0)
    assert box.currentData() == lesion.value


def test_a_masked_image_is_in_the_list_of_images(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    choose(qtbot, window, "mask_image")
    qtbot.mouseClick(window.findChild(QPushButton, "effectApply"), LEFT)
    qtbot.waitUntil(lambda: len(app.workspace.volumes) == 2, timeout=WAIT_MS)
    made = app.workspace.volumes[1]
    inside = balls.mask(balls.active)
    np.testing.assert_array_equal(made.array[inside], opened.array[inside])
    assert set(np.unique(made.array[~inside])) == {opened.array.min()}
    images = window.findChild(QListWidget, "volumesList")
    qtbot.waitUntil(lambda: images.count() == 2)
    assert made.name in images.item(1).text()


def test_enter_copies_the_slice_that_is_looked_at(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    kji = opened.geometry.voxel_at(places(opened)[0])
    assert kji is not None
    choose(qtbot, window, "copy_slices")
    app.workspace.view.crosshair_lps = places(opened)[0]
    app.router.pointer(PointerEvent("hover", places(opened)[0], 2))
    assert app.router.key("apply")
    qtbot.waitUntil(lambda: app.history.undo_label == "Copy to slices", timeout=WAIT_MS)
    mask = balls.mask(balls.active)
    np.testing.assert_array_equal(mask[kji[0] + 1], mask[kji[0]])


def test_looking_at_another_image_makes_no_segment_there(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    choose(qtbot, window, "margin")
    other = replace(opened, id="other")
    app.workspace.add_volume(other)
    app.workspace.activate(other.id)
    assert app.router.active_id == "margin"
    assert not app.workspace.segmentation(other.id).segments


def test_taking_up_a_tool_makes_one_segment_that_can_be_undone(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    app.segments.add(opened.id)
    app.undo()
    choose(qtbot, window, "wand")
    assert len(app.workspace.segmentation(opened.id).segments) == 1
    app.undo()
    assert not app.history.done
    assert not app.workspace.segmentation(opened.id).segments


def test_the_status_line_says_what_enter_does(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, balls: Segmentation
) -> None:
    choose(qtbot, window, "margin")
    hint = window.findChild(QLabel, "nextStep")
    # News, of the image that was opened for instance, stays for some seconds.
    qtbot.waitUntil(lambda: "Enter" in hint.text(), timeout=WAIT_MS)
    qtbot.mouseClick(window.findChild(QToolButton, "tool.smooth_brush"), LEFT)
    qtbot.waitUntil(lambda: "Drag" in hint.text(), timeout=WAIT_MS)
