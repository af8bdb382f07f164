"""A form from parameter specs: what a plugin or a tool declares is what the user sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDoubleSpinBox, QGridLayout, QLabel, QSpinBox, QWidget

from medviewer.core.segmentation import Segment
from medviewer.plugin_host.forms import ParamSpec
from medviewer.ui.forms.editors import EDITORS, Editor, SegmentEditor, pretty
from medviewer.ui.text import plain_tip

#: Least width in pixels of a value that stands beside another.
NARROW = 74
#: Letters of a choice above which it stands in a row of its own.
LONG_WORDS = 12


class ParamForm(QWidget):
    """Shows parameters, `columns` of them in a row.

    Signals
    -------
    edited(str, object)
        The user changed the parameter of this name to this value.
    """

    edited = Signal(str, object)

    def __init__(self, specs: Sequence[ParamSpec], parent: QWidget | None = None, *, columns: int = 1) -> None:
        super().__init__(parent)
        self._editors: dict[str, Editor] = {}
        self._lengths = [spec.name for spec in specs if spec.unit == "mm"]
        self._defaults = {spec.name: spec.default for spec in specs}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(6)
        cell = 0
        for spec in specs:
            wide = columns > 1 and max(map(len, spec.titles or spec.options), default=0) > LONG_WORDS
            if wide:
                cell = -(-cell // columns) * columns
            row, column = divmod(cell, columns)
            label, editor = self._make(spec)
            if columns > 1:
                # Side by side they must not widen the panel they are in, which would move the views.
                editor.widget.setMinimumWidth(NARROW)
            grid.addWidget(label, row, 2 * column)
            grid.addWidget(editor.widget, row, 2 * column + 1, 1, 2 * columns - 1 if wide else 1)
            grid.setColumnStretch(2 * column + 1, 1)
            cell += columns if wide else 1
        grid.setRowStretch(len(specs), 1)

    def _make(self, spec: ParamSpec) -> tuple[QLabel, Editor]:
        editor = EDITORS[spec.kind](spec)
        editor.set_value(spec.default)
        editor.widget.setObjectName(f"param.{spec.name}")
        editor.on_edit(lambda: self._edited(spec.name))
        label = QLabel(pretty(spec.name))
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setBuddy(editor.widget)
        for part in (label, editor.widget):
            part.setToolTip(plain_tip(spec.doc))
        self._editors[spec.name] = editor
        return label, editor

    def values(self) -> dict[str, object]:
        """Return what is entered, by name."""
        return {name: editor.value() for name, editor in self._editors.items()}

    def set_values(self, values: Mapping[str, object]) -> None:
        """Show values; names the form does not have are ignored."""
        for name, value in values.items():
            if name in self._editors:
                self._editors[name].set_value(value)

    def show_lengths_in(self, unit: str) -> None:
        """Say in which unit lengths count: mm, or px in an image where no length is known."""
        for name in self._lengths:
            widget = self._editors[name].widget
            if isinstance(widget, QSpinBox | QDoubleSpinBox):
                widget.setSuffix(f" {unit}")

    def show_segments(self, segments: Sequence[Segment]) -> None:
        """Offer these where a segment is chosen."""
        for editor in self._editors.values():
            if isinstance(editor, SegmentEditor):
                editor.show_segments(segments)

    def reset(self) -> None:
        """Show the defaults."""
        self.set_values(self._defaults)

    def _edited(self, name: str) -> None:
        self.edited.emit(name, self._editors[name].value())
