"""Widgets and models: connections that are taken back, and two-way bindings that do not echo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QComboBox,
    QDoubleSpinBox,
    QLineEdit,
    QSpinBox,
    QWidget,
)


class Links:
    """Connections to model signals; whoever connects closes them."""

    def __init__(self) -> None:
        self._links: list[tuple[SignalInstance, Callable[..., Any]]] = []
        self._closed = False

    def connect(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        """Connect and remember."""
        signal.connect(slot)
        self._links.append((signal, slot))

    @property
    def open(self) -> bool:
        """Whether `close` has not been called: whether an answer that comes late is still wanted."""
        return not self._closed

    def close(self) -> None:
        """Disconnect everything."""
        self._closed = True
        for signal, slot in self._links:
            signal.disconnect(slot, missing_ok=True)
        self._links.clear()


class Merged:
    """Many calls, one later run: a listener records, and the work happens once, from the event loop."""

    def __init__(self, parent: QWidget, work: Callable[[], None], delay_ms: int = 0) -> None:
        self._timer = QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(delay_ms)
        self._timer.timeout.connect(work)

    def __call__(self, *_: object) -> None:
        """Have the work done soon; takes whatever a signal gives."""
        if not self._timer.isActive():
            self._timer.start()

    def stop(self) -> None:
        """Forget what is due."""
        self._timer.stop()


class Binding:
    """A widget bound to a field of a model; made by `bind`."""

    def __init__(
        self,
        model: object,
        field: str,
        changed: SignalInstance,
        write: Callable[[Any], None],
        scale: float,
    ) -> None:
        self._model = model
        self._field = field
        self._write = write
        self._scale = scale
        self._busy = False
        self._links = Links()
        self._links.connect(changed, self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what the model has."""
        if self._busy:
            return
        value = getattr(self._model, self._field)
        self._busy = True
        try:
            self._write(value if self._scale == 1.0 else value * self._scale)
        finally:
            self._busy = False

    def edited(self, value: object) -> None:
        """Take what the user entered."""
        if self._busy:
            return
        if self._scale != 1.0 and isinstance(value, int | float):
            value = value / self._scale
        self._busy = True
        try:
            setattr(self._model, self._field, value)
        finally:
            self._busy = False

    def close(self) -> None:
        """Unbind."""
        self._links.close()


def bind(widget: QWidget, model: object, field: str, changed: SignalInstance, scale: float = 1.0) -> Binding:
    """Bind a widget to a field of a model, both ways.

    Parameters
    ----------
    widget : slider, spin box, button, combo box (by its data) or line edit
    model : object
        Has the attribute `field`.
    changed : SignalInstance
        Emitted by the model when the field has changed.
    scale : float
        What the widget shows is the field times this, for sliders over fractions.

    Raises
    ------
    TypeError
        When the kind of widget is not known.
    """
    if isinstance(widget, QAbstractSlider):
        slider = widget
        binding = Binding(model, field, changed, lambda v: slider.setValue(round(v)), scale)
        slider.valueChanged.connect(binding.edited)
    elif isinstance(widget, QSpinBox | QDoubleSpinBox):
        binding = Binding(model, field, changed, widget.setValue, scale)
        widget.valueChanged.connect(binding.edited)
    elif isinstance(widget, QAbstractButton):
        binding = Binding(model, field, changed, widget.setChecked, 1.0)
        widget.toggled.connect(binding.edited)
    elif isinstance(widget, QComboBox):
        combo = widget
        binding = Binding(model, field, changed, lambda v: combo.setCurrentIndex(combo.findData(v)), 1.0)
        combo.currentIndexChanged.connect(lambda index: binding.edited(combo.itemData(index)))
    elif isinstance(widget, QLineEdit):
        binding = Binding(model, field, changed, widget.setText, 1.0)
        widget.textEdited.connect(binding.edited)
    else:
        raise TypeError(f"cannot bind a {type(widget).__name__}")
    return binding
