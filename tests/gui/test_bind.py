"""Widgets follow models and edit them, without echo; connections are taken back."""

from __future__ import annotations

import threading

import pytest
from psygnal import Signal
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit, QSlider, QWidget
from pytestqt.qtbot import QtBot

from medviewer.core.view_state import ViewState
from medviewer.ui.bind import Links, Merged, bind
from medviewer.ui.main_thread import MainThread


class Model:
    changed = Signal()

    def __init__(self, value: object) -> None:
        self._value = value
        self.writes = 0

    @property
    def value(self) -> object:
        return self._value

    @value.setter
    def value(self, value: object) -> None:
        self.writes += 1
        self._value = value
        self.changed.emit()


def test_a_slider_is_bound_to_a_fraction(qtbot: QtBot) -> None:
    view = ViewState()
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 100)
    qtbot.addWidget(slider)
    binding = bind(slider, view, "overlay_opacity", view.overlay_changed, scale=100)
    assert slider.value() == 45
    view.overlay_opacity = 0.2
    assert slider.value() == 20
    slider.setValue(70)
    assert view.overlay_opacity == pytest.approx(0.7)
    binding.close()
    view.overlay_opacity = 0.1
    assert slider.value() == 70


@pytest.mark.parametrize("kind", ["check", "spin", "line", "combo"])
def test_both_ways_without_echo(qtbot: QtBot, kind: str) -> None:
    widgets: dict[str, tuple[QWidget, object, object]] = {
        "check": (QCheckBox(), False, True),
        "spin": (QDoubleSpinBox(), 1.0, 2.0),
        "line": (QLineEdit(), "a", "b"),
        "combo": (QComboBox(), "a", "b"),
    }
    widget, first, second = widgets[kind]
    qtbot.addWidget(widget)
    if isinstance(widget, QComboBox):
        for data in ("a", "b"):
            widget.addItem(data, data)
    model = Model(first)
    bind(widget, model, "value", model.changed)
    model.value = second
    assert model.writes == 1, "the widget followed and did not write back"
    shown = {
        "check": lambda: widget.isChecked(), "spin": lambda: widget.value(),
        "line": lambda: widget.text(), "combo": lambda: widget.currentData(),
    }  # fmt: skip
    assert shown[kind]() == second


def test_an_unknown_widget_is_refused(qtbot: QtBot) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    with pytest.raises(TypeError):
        bind(widget, Model(1), "value", Model(1).changed)


def test_links_are_taken_back() -> None:
    model, seen = Model(1), []
    links = Links()
    links.connect(model.changed, lambda: seen.append(1))
    model.value = 2
    links.close()
    model.value = 3
    assert seen == [1]


def test_many_calls_are_one(qtbot: QtBot) -> None:
    parent, seen = QWidget(), []
    qtbot.addWidget(parent)
    merged = Merged(parent, lambda: seen.append(1))
    for _ in range(5):
        merged("anything")
    assert seen == []
    qtbot.waitUntil(lambda: bool(seen))
    assert seen == [1]


def test_post_brings_functions_to_the_main_thread_in_order(qtbot: QtBot) -> None:
    main, seen = MainThread(), []
    here = threading.current_thread()

    def work() -> None:
        for n in range(50):
            main.post(lambda n=n: seen.append((n, threading.current_thread() is here)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [], "nothing runs before the event loop does"
    qtbot.waitUntil(lambda: len(seen) == 50)
    assert seen == [(n, True) for n in range(50)]
    main.post(lambda: seen.append("late"))
    main.close()
    qtbot.wait(1)
    assert "late" not in seen
