"""The histogram of the threshold, and of the range of values that tools may change: both move with their fields."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QDoubleSpinBox, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.volume import Volume
from medviewer.editing.tools.threshold import BY_HAND, Threshold
from medviewer.imaging.thresholds import METHODS
from medviewer.ui.main_window import MainWindow
from medviewer.ui.panels.histogram import HistogramView
from tests.gui.conftest import WAIT_MS

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
Fields = Callable[[str], QDoubleSpinBox]


@pytest.fixture
def view(qtbot: QtBot, window: MainWindow, opened: Volume) -> HistogramView:
    """The histogram of the threshold tool, with its lines."""
    qtbot.mouseClick(window.findChild(QToolButton, "tool.threshold"), LEFT)
    found = window.findChild(HistogramView, "toolHistogram")
    qtbot.waitUntil(lambda: found.isVisible() and found.histogram is not None, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bool(found.marks), timeout=WAIT_MS)
    return found


def drag(view: HistogramView, start: float, end: float) -> None:
    y = view.height() // 2
    for event, x in ((QTest.mousePress, start), (QTest.mouseMove, end), (QTest.mouseRelease, end)):
        place = QPoint(round(x), y)
        event(view, place) if event is QTest.mouseMove else event(view, LEFT, NONE, place)


def test_ends_of_the_range_are_dragged_and_typed(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, view: HistogramView
) -> None:
    options = app.router.options("threshold")
    form = window.findChild(QWidget, "toolOptions.threshold")
    lower, upper = (form.findChild(QDoubleSpinBox, f"param.{name}") for name in ("lower", "upper"))
    assert view.limits() == (options.lower, options.upper)
    aim = view.x_of(options.lower) + 30
    drag(view, view.x_of(options.lower), aim)
    assert abs(view.x_of(options.lower) - aim) <= 1
    assert lower.value() == pytest.approx(options.lower)
    qtbot.waitUntil(lambda: app.router.effects.state == "previewing", timeout=WAIT_MS)
    shown = np.zeros(opened.array.shape, np.bool_)
    for part in app.workspace.view.preview:
        shown[part.region.slices] |= part.mask
    assert np.array_equal(shown, (opened.array >= options.lower) & (opened.array <= options.upper))
    # An end does not get past the other.
    drag(view, view.x_of(options.upper), 0.0)
    assert options.lower == options.upper
    upper.setValue(options.lower + 250.0)
    assert view.limits() == (lower.value(), upper.value())


def test_an_automatic_method_shows_where_it_parts_and_a_drag_takes_over(
    qtbot: QtBot, app: AppContext, window: MainWindow, view: HistogramView
) -> None:
    form = window.findChild(QWidget, "toolOptions.threshold")
    method = form.findChild(QComboBox, "param.method")
    method.setCurrentIndex(method.findData("Otsu"))
    assert view.limits() == (view.marks["Otsu"], np.inf)
    assert set(view.marks) <= set(METHODS)
    drag(view, view.x_of(view.marks["Otsu"]), view.x_of(view.marks["Otsu"]) + 20)
    tool = app.router.effects.effect
    assert isinstance(tool, Threshold)
    assert tool.options.method == BY_HAND == method.currentData()
    assert tool.options.upper == pytest.approx(view.histogram.edges[-1])
    look_closer(view)
    qtbot.mouseClick(window.findChild(QToolButton, "tool.brush"), LEFT)
    assert not view.isVisible()


def look_closer(view: HistogramView) -> None:
    """The wheel looks closer at what is under the pointer, a double click shows all."""
    middle = view.width() / 2
    value = view.histogram.edges[0] + (view.histogram.edges[-1] - view.histogram.edges[0]) / 2
    for _ in range(8):
        turn = QWheelEvent(
            QPointF(middle, 10), view.mapToGlobal(QPointF(middle, 10)), QPoint(), QPoint(0, 120),
            Qt.MouseButton.NoButton, NONE, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(view, turn)
    assert abs(view.x_of(value) - middle) < 3
    near = view.x_of(value + (view.histogram.edges[-1] - value) / 10) - middle
    assert near > 3 * 0.1 * middle
    QTest.mouseDClick(view, LEFT, NONE, view.rect().center())
    assert view.x_of(view.histogram.edges[-1]) == view.width() - 1


def test_the_range_of_values_that_tools_may_change_has_one_too(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    qtbot.mouseClick(window.findChild(QToolButton, "tool.brush"), LEFT)
    window.findChild(QToolButton, "toolLimits").click()
    limits = window.findChild(QWidget, "editRules")
    view = limits.findChild(HistogramView, "histogram")
    assert not view.isVisible()
    limits.findChild(QCheckBox, "intensityRule").setChecked(True)
    qtbot.waitUntil(lambda: view.isVisible() and view.histogram is not None, timeout=WAIT_MS)
    low, high = app.router.rules.intensity
    drag(view, view.x_of(low), view.x_of(low) + 15)
    assert app.router.rules.intensity[0] > low
    assert app.router.rules.intensity[1] == high
    assert limits.findChild(QDoubleSpinBox, "intensity.lower").value() == app.router.rules.intensity[0]
