"""A form from parameter specs: what a plugin or a tool declares is what the user sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFormLayout, QLabel, QWidget

from medviewer.plugin_host.forms import ParamSpec
from medviewer.ui.forms.editors import EDITORS, Editor, pretty
from medviewer.ui.text import plain_tip


class ParamForm(QWidget):
    """One row per parameter.

    Signals
    -------
    edited(str, object)
        The user changed the parameter of this name to this value.
    """

    edited = Signal(str, object)

    def __init__(self, specs: Sequence[ParamSpec], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._editors: dict[str, Editor] = {}
        self._defaults = {spec.name: spec.default for spec in specs}
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for spec in specs:
            editor = EDITORS[spec.kind](spec)
            editor.set_value(spec.default)
            editor.widget.setObjectName(f"param.{spec.name}")
            editor.on_edit(lambda name=spec.name: self._edited(name))  # type: ignore[misc]  # mypy: default in lambda
            label = QLabel(pretty(spec.name))
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setBuddy(editor.widget)
            for part in (label, editor.widget):
                part.setToolTip(plain_tip(spec.doc))
            form.addRow(label, editor.widget)
            self._editors[spec.name] = editor

    def values(self) -> dict[str, object]:
        """Return what is entered, by name."""
        return {name: editor.value() for name, editor in self._editors.items()}

    def set_values(self, values: Mapping[str, object]) -> None:
        """Show values; names the form does not have are ignored."""
        for name, value in values.items():
            if name in self._editors:
                self._editors[name].set_value(value)

    def reset(self) -> None:
        """Show the defaults."""
        self.set_values(self._defaults)

    def _edited(self, name: str) -> None:
        self.edited.emit(name, self._editors[name].value())
