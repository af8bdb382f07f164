"""Forms: what is declared is what is shown, and what is entered is what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit, QSpinBox, QWidget
from pytestqt.qtbot import QtBot

from medviewer.core.params import Doc, Range, SegmentChoice, Unit
from medviewer.core.segmentation import Segment
from medviewer.plugin_host.forms import describe_params, params_from_dict
from medviewer.ui.forms.editors import decimals_for, pretty
from medviewer.ui.forms.param_form import ParamForm


@dataclass(frozen=True)
class Params:
    radius_mm: Annotated[float, Range(0.5, 100.0, 0.5), Unit("mm"), Doc("How <b>big</b>")] = 5.0
    count: Annotated[int, Range(1, 9)] = 3
    fast: bool = True
    shape: Literal["disc", "sphere"] = "disc"
    note: str = "a&b"


def test_a_form_has_a_widget_per_kind_with_the_defaults(qtbot: QtBot) -> None:
    form = ParamForm(describe_params(Params))
    qtbot.addWidget(form)
    kinds = {
        "radius_mm": QDoubleSpinBox, "count": QSpinBox, "fast": QCheckBox, "shape": QComboBox, "note": QLineEdit,
    }  # fmt: skip
    for name, kind in kinds.items():
        assert form.findChild(kind, f"param.{name}") is not None
    assert params_from_dict(Params, form.values()) == Params()
    spin = form.findChild(QDoubleSpinBox, "param.radius_mm")
    assert (spin.minimum(), spin.maximum(), spin.singleStep(), spin.suffix()) == (0.5, 100.0, 0.5, " mm")
    assert "<b>" not in spin.toolTip()


def test_an_edit_is_told_by_name(qtbot: QtBot) -> None:
    form = ParamForm(describe_params(Params))
    qtbot.addWidget(form)
    with qtbot.waitSignal(form.edited) as caught:
        form.findChild(QComboBox, "param.shape").setCurrentIndex(1)
    assert caught.args == ["shape", "sphere"]
    form.reset()
    assert form.values() == {"radius_mm": 5.0, "count": 3, "fast": True, "shape": "disc", "note": "a&b"}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    radius=st.integers(1, 200), count=st.integers(1, 9), fast=st.booleans(), shape=st.sampled_from(["disc", "sphere"])
)
def test_what_is_entered_comes_back(qtbot: QtBot, radius: int, count: int, fast: bool, shape: str) -> None:
    form = ParamForm(describe_params(Params))
    qtbot.addWidget(form)
    values = {"radius_mm": radius / 2, "count": count, "fast": fast, "shape": shape, "note": "x"}
    form.set_values(values)
    assert form.values() == values


@pytest.mark.parametrize(("step", "digits"), [(1.0, 1), (0.5, 1), (0.25, 2), (0.001, 3), (1e-9, 6)])
def test_no_step_is_rounded_away(step: float, digits: int) -> None:
    assert decimals_for(step) == digits


@pytest.mark.parametrize(
    ("name", "words"), [("radius_mm", "Radius"), ("upper", "Upper"), ("min_lung_volume_ml", "Min lung volume")]
)
def test_names_read_as_words(name: str, words: str) -> None:
    assert pretty(name) == words


@dataclass
class Picked:
    other: Annotated[int, SegmentChoice()] = 0


def test_a_segment_is_chosen_from_those_there_are(qtbot: QtBot) -> None:
    form = ParamForm(describe_params(Picked))
    qtbot.addWidget(form)
    box = form.findChild(QComboBox, "param.other")
    assert form.values() == {"other": 0}
    form.show_segments([Segment(2, "Liver & more"), Segment(9, "Spleen")])
    assert [box.itemText(n) for n in range(1, box.count())] == ["Liver & more", "Spleen"]
    with qtbot.waitSignal(form.edited) as caught:
        box.setCurrentIndex(2)
    assert caught.args == ["other", 9]
    with qtbot.assertNotEmitted(form.edited):
        form.show_segments([Segment(9, "Spleen"), Segment(4, "Kidney")])
    assert form.values() == {"other": 9}, "what was chosen stays"
    form.show_segments([Segment(4, "Kidney")])
    assert form.values() == {"other": 0}, "what is gone is not chosen"


@dataclass
class Long:
    action: Literal["keep the largest", "split"] = "split"
    least: float = 1.0
    touch: Literal["faces", "edges"] = "faces"


def test_a_long_choice_has_a_row_of_its_own(qtbot: QtBot) -> None:
    form = ParamForm(describe_params(Long), columns=2)
    qtbot.addWidget(form)
    form.resize(300, 200)
    form.show()
    action, least, touch = (form.findChild(QWidget, f"param.{name}") for name in ("action", "least", "touch"))
    # On one row, though not of one height in every style.
    assert abs(least.geometry().center().y() - touch.geometry().center().y()) <= 1
    assert touch.y() > action.geometry().bottom()
    assert action.width() > 1.5 * least.width()
