"""One widget per kind of parameter. Each reads and writes one value and tells when the user changed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit, QSpinBox, QWidget

from medviewer.core.segmentation import Segment
from medviewer.plugin_host.forms import ParamSpec
from medviewer.ui.icons import swatch

MAX_INT = 2**31 - 1
MOST_DECIMALS = 6


class Editor(Protocol):
    """A widget for one value."""

    @property
    def widget(self) -> QWidget:
        """What the form shows."""

    def value(self) -> object:
        """Return what is entered."""

    def set_value(self, value: object) -> None:
        """Show a value."""

    def on_edit(self, slot: Callable[[], None]) -> None:
        """Have `slot` called when the user changed it."""


class ExactSpinBox(QDoubleSpinBox):
    """Shows as many decimals as its step has, and more only where the value has them: nothing is rounded away."""

    def __init__(self, digits: int) -> None:
        super().__init__()
        self._digits = digits
        self.setDecimals(MOST_DECIMALS)

    def textFromValue(self, value: float) -> str:
        """Return the value without the zeros at its end."""
        point = self.locale().decimalPoint()
        whole, _, part = super().textFromValue(value).partition(point)
        return f"{whole}{point}{part.rstrip('0').ljust(self._digits, '0')}".removesuffix(point)


class FloatEditor:
    """A decimal number with unit."""

    def __init__(self, spec: ParamSpec) -> None:
        step = spec.step or 0.1
        self.widget = ExactSpinBox(decimals_for(step))
        self.widget.setRange(
            -1e9 if spec.minimum is None else spec.minimum, 1e9 if spec.maximum is None else spec.maximum
        )
        self.widget.setSingleStep(step)
        self.widget.setSuffix(f" {spec.unit}" if spec.unit else "")
        self.widget.setKeyboardTracking(False)

    def value(self) -> object:
        """Return a float."""
        return self.widget.value()

    def set_value(self, value: object) -> None:
        """Show a number."""
        self.widget.setValue(float(str(value)))

    def on_edit(self, slot: Callable[[], None]) -> None:
        """Call `slot` on every change."""
        self.widget.valueChanged.connect(lambda _: slot())


class IntEditor:
    """A whole number with unit."""

    def __init__(self, spec: ParamSpec) -> None:
        self.widget = QSpinBox()
        low = -MAX_INT if spec.minimum is None else round(spec.minimum)
        high = MAX_INT if spec.maximum is None else round(spec.maximum)
        self.widget.setRange(low, high)
        self.widget.setSingleStep(max(1, round(spec.step or 1)))
        self.widget.setSuffix(f" {spec.unit}" if spec.unit else "")
        self.widget.setKeyboardTracking(False)

    def value(self) -> object:
        """Return an int."""
        return self.widget.value()

    def set_value(self, value: object) -> None:
        """Show a number."""
        self.widget.setValue(int(str(value)))

    def on_edit(self, slot: Callable[[], None]) -> None:
        """Call `slot` on every change."""
        self.widget.valueChanged.connect(lambda _: slot())


class BoolEditor:
    """A tick box."""

    def __init__(self, spec: ParamSpec) -> None:
        self.widget = QCheckBox()

    def value(self) -> object:
        """Return a bool."""
        return self.widget.isChecked()

    def set_value(self, value: object) -> None:
        """Show a bool."""
        self.widget.setChecked(bool(value))

    def on_edit(self, slot: Callable[[], None]) -> None:
        """Call `slot` on every change."""
        self.widget.toggled.connect(lambda _: slot())


class ChoiceEditor:
    """One of a few words."""

    def __init__(self, spec: ParamSpec) -> None:
        self.widget = QComboBox()
        titles = spec.titles or [pretty(option) for option in spec.options]
        for title, option in zip(titles, spec.options, strict=True):
            self.widget.addItem(title, option)

    def value(self) -> object:
        """Return the chosen word."""
        return self.widget.currentData()

    def set_value(self, value: object) -> None:
        """Show a word."""
        self.widget.setCurrentIndex(max(0, self.widget.findData(value)))

    def on_edit(self, slot: Callable[[], None]) -> None:
        """Call `slot` on every change."""
        self.widget.currentIndexChanged.connect(lambda _: slot())


class TextEditor:
    """A line of text."""

    def __init__(self, spec: ParamSpec) -> None:
        self.widget = QLineEdit()

    def value(self) -> object:
        """Return the text."""
        return self.widget.text()

    def set_value(self, value: object) -> None:
        """Show a text."""
        self.widget.setText(str(value))

    def on_edit(self, slot: Callable[[], None]) -> None:
        """Call `slot` when the line is left."""
        self.widget.editingFinished.connect(slot)


class SegmentEditor:
    """One of the segments there are, or none."""

    def __init__(self, spec: ParamSpec) -> None:
        self.widget = QComboBox()
        self.widget.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.show_segments(())

    def show_segments(self, segments: Sequence[Segment]) -> None:
        """Offer these; what was chosen stays chosen if it is still there."""
        chosen = self.value()
        self.widget.blockSignals(True)
        self.widget.clear()
        self.widget.addItem("–", 0)
        for segment in segments:
            self.widget.addItem(swatch(segment.color), segment.name, segment.value)
        self.set_value(chosen)
        self.widget.blockSignals(False)

    def value(self) -> object:
        """Return the label value of the chosen segment, 0 for none."""
        return self.widget.currentData() or 0

    def set_value(self, value: object) -> None:
        """Choose a segment; one that is not there is none."""
        self.widget.setCurrentIndex(max(0, self.widget.findData(value)))

    def on_edit(self, slot: Callable[[], None]) -> None:
        """Call `slot` on every change."""
        self.widget.currentIndexChanged.connect(lambda _: slot())


EDITORS: Mapping[str, Callable[[ParamSpec], Editor]] = {
    "float": FloatEditor,
    "int": IntEditor,
    "bool": BoolEditor,
    "choice": ChoiceEditor,
    "text": TextEditor,
    "segment": SegmentEditor,
}


def decimals_for(step: float) -> int:
    """Return how many decimals a spin box needs so that no step is rounded away, at most 6."""
    for digits in range(1, 6):
        if abs(step * 10**digits - round(step * 10**digits)) < 1e-9:
            return digits
    return MOST_DECIMALS


def pretty(name: str) -> str:
    """Return a field name or a choice as a person reads it: ``radius_mm`` becomes ``Radius``."""
    words = [word for word in name.split("_") if word]
    if len(words) > 1 and words[-1] in ("mm", "hu", "ml", "px", "s", "percent"):
        words.pop()
    text = " ".join(words)
    return text[:1].upper() + text[1:]
