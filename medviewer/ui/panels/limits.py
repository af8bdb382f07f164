"""The Limits box: what may be painted over, where, in which values and slices, and what asks first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QGridLayout, QSpinBox, QWidget

from medviewer.editing.effect import ValueRange
from medviewer.editing.rules import Area, EditRules, Overwrite, SliceRange
from medviewer.ui.bind import Links
from medviewer.ui.forms.editors import ExactSpinBox
from medviewer.ui.icons import swatch
from medviewer.ui.panels.histogram import HistogramView
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.core.segmentation import Segmentation

OVERWRITE: tuple[tuple[Overwrite, str], ...] = (
    ("all", "Everything"),
    ("visible", "Visible segments"),
    ("none", "Nothing"),
    ("overlap", "Nothing: overlap"),
)
AREA: tuple[tuple[Area, str], ...] = (
    ("everywhere", "Everywhere"),
    ("inside all", "Inside all segments"),
    ("inside visible", "Inside visible segments"),
    ("inside one", "Inside this segment:"),
    ("outside all", "Outside all others"),
    ("outside visible", "Outside visible others"),
    ("outside one", "Outside this segment:"),
)
PLANES = ((2, "Axial"), (1, "Coronal"), (0, "Sagittal"))


class Limits(QWidget):
    """Shows the rules of the router, and sets them; they hold for every tool.

    A small window that stays open while one paints: beside the tools there is no room for it.

    Signals
    -------
    closed()
        The user closed it.
    """

    closed = Signal()

    def __init__(self, app: AppContext, links: Links, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Tool)
        self.setObjectName("editRules")
        self.setWindowTitle("Limits")
        self._app = app
        self._watched: Segmentation | None = None
        self._links = links
        self._build()
        links.connect(app.workspace.active_changed, self._watch)
        links.connect(app.router.changed, self._follow_range)
        self._watch()

    def _build(self) -> None:
        tip = "Which other segments are painted over. Locked ones never. “Overlap” lets this one lie over the others."
        self.overwrite = _choice("overwriteRule", OVERWRITE, tip)
        tip = "Where tools may change anything. Inside one segment, what is erased goes back to that segment."
        self.area = _choice("areaRule", AREA, tip)
        self.area_segment = QComboBox()
        self.area_segment.setObjectName("areaSegment")
        self.in_range = _check("intensityRule", "Values", "Change only voxels whose value lies in this range")
        self.from_value, self.to_value = _value_spin("lower", -100), _value_spin("upper", 300)
        self.inverted = _check(
            "intensityInverted", "Outside of it", "Change only voxels whose value lies outside of it"
        )
        self.histogram = HistogramView(self._app.jobs, self._links)
        self.histogram.range_dragged.connect(self._take_range)
        self.in_slices = _check("sliceRule", "Slices", "Change only these slices")
        self.plane = _choice("slicePlane", PLANES, "Slices along this direction of the image")
        self.first, self.last = _slice_spin("first"), _slice_spin("last")
        self.ask_above = QDoubleSpinBox()
        self.ask_above.setObjectName("leakRule")
        self.ask_above.setRange(0, 1000)
        self.ask_above.setDecimals(0)
        self.ask_above.setValue(EditRules().ask_above)
        self.ask_above.setSuffix(" × the segment")
        self.ask_above.setSpecialValueText("Never")
        self.ask_above.setToolTip("A larger change, or one that gets past a locked segment, asks before it is kept")
        grid = QGridLayout(self)
        grid.setContentsMargins(14, 12, 14, 12)
        grid.setSizeConstraint(QGridLayout.SizeConstraint.SetFixedSize)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(2, 1)
        rows: tuple[tuple[QWidget | None, ...], ...] = (
            (label("Paint over"), self.overwrite),
            (label("Edit"), self.area),
            (None, self.area_segment),
            (self.in_range, self.from_value, self.to_value),
            (None, self.histogram),
            (None, self.inverted),
            (self.in_slices, self.plane),
            (None, self.first, self.last),
            (label("Ask above"), self.ask_above),
        )
        for row, widgets in enumerate(rows):
            for column, widget in enumerate(widgets):
                if widget is not None:
                    grid.addWidget(widget, row, column, 1, 2 if len(widgets) == 2 and column else 1)
        for combo in (self.overwrite, self.area, self.area_segment, self.plane):
            combo.currentIndexChanged.connect(self._edited)
        for box in (self.in_range, self.inverted, self.in_slices):
            box.toggled.connect(self._edited)
        for spin in (self.from_value, self.to_value, self.first, self.last, self.ask_above):
            spin.setKeyboardTracking(False)
            spin.valueChanged.connect(self._edited)

    def show_beside(self, button: QWidget) -> None:
        """Show it left of the panel, at the height of a button, on the screen that this is on."""
        if self.isVisible():
            return
        self.adjustSize()
        size, room = self.sizeHint(), button.screen().availableGeometry()
        left = (self.parentWidget() or button).mapToGlobal(QPoint(-size.width() - 24, 0)).x()
        top = button.mapToGlobal(QPoint(0, 0)).y()
        self.move(max(room.left(), left), min(top, room.bottom() - size.height() - 48))
        self.show()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Tell that the user closed it."""
        self.closed.emit()
        super().closeEvent(event)

    def close_limits(self) -> None:
        """Stop listening to segments."""
        if self._watched is not None:
            self._watched.segments_changed.disconnect(self._list_segments, missing_ok=True)
            self._watched = None

    def _watch(self, *_: object) -> None:
        self.close_limits()
        self._watched = self._app.workspace.active_segmentation
        if self._watched is not None:
            self._watched.segments_changed.connect(self._list_segments)
        self._list_segments()
        self._bound_slices()

    def _list_segments(self) -> None:
        """Offer the segments there are; the one that was chosen stays."""
        chosen = self.area_segment.currentData()
        segments = self._watched.segments if self._watched is not None else ()
        with QSignalBlocker(self.area_segment):
            self.area_segment.clear()
            for segment in segments:
                self.area_segment.addItem(swatch(segment.color), segment.name, segment.value)
            self.area_segment.setCurrentIndex(max(0, self.area_segment.findData(chosen)) if segments else -1)
        self._edited()

    def _follow_range(self) -> None:
        """The key of the range turns it on and off without this box."""
        self.in_range.setChecked(self._app.router.rules.intensity is not None)

    def _take_range(self, lower: float, upper: float) -> None:
        self.from_value.setValue(lower)
        self.to_value.setValue(upper)

    def _show_histogram(self, limited: bool, inverted: bool, low: float, high: float) -> None:
        volume = self._app.workspace.active
        self.histogram.setVisible(limited and volume is not None)
        if limited and volume is not None:
            self.histogram.look_at(volume.array)
            self.histogram.show_range(ValueRange(low, high, inverted))

    def _bound_slices(self) -> None:
        """Let slices be what this image has, counted from 1 as the views do; all of them at first."""
        volume = self._app.workspace.active
        count = volume.geometry.size[self.plane.currentData()] if volume is not None else 1
        whole = (self.first.value(), self.last.value()) == (1, self.last.maximum())
        with QSignalBlocker(self.first), QSignalBlocker(self.last):
            for spin in (self.first, self.last):
                spin.setRange(1, count)
            if whole:
                self.first.setValue(1)
                self.last.setValue(count)

    def _edited(self, *_: object) -> None:
        if self.sender() is self.plane:
            self._bound_slices()
        area, limited, sliced = self.area.currentData(), self.in_range.isChecked(), self.in_slices.isChecked()
        by_segment = area in ("inside one", "outside one")
        self.area_segment.setVisible(by_segment)
        for spin in (self.from_value, self.to_value):
            spin.setEnabled(limited)
        self.inverted.setVisible(limited)
        for choice in (self.plane, self.first, self.last):
            choice.setVisible(sliced)
        low, high = sorted((self.from_value.value(), self.to_value.value()))
        self._show_histogram(limited, self.inverted.isChecked(), low, high)
        first, last = sorted((self.first.value(), self.last.value()))
        self._app.router.rules = replace(
            self._app.router.rules,
            overwrite=self.overwrite.currentData(),
            area=area,
            # Rules that change end what the tool does; a list that changes must not, where it does not count.
            area_segment=(self.area_segment.currentData() or 0) if by_segment else 0,
            intensity=(low, high) if limited else None,
            inverted=limited and self.inverted.isChecked(),
            slices=SliceRange(self.plane.currentData(), first - 1, last - 1) if sliced else None,
            ask_above=self.ask_above.value(),
        )


def _choice(name: str, entries: tuple[tuple[object, str], ...], tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setObjectName(name)
    for data, title in entries:
        combo.addItem(title, data)
    combo.setToolTip(tip)
    return combo


def _check(name: str, text: str, tip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setObjectName(name)
    box.setToolTip(tip)
    return box


def _value_spin(name: str, value: float) -> QDoubleSpinBox:
    spin = ExactSpinBox(0)
    spin.setObjectName(f"intensity.{name}")
    spin.setRange(-1e6, 1e6)
    spin.setSingleStep(10)
    spin.setValue(value)
    return spin


def _slice_spin(name: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setObjectName(f"slices.{name}")
    spin.setRange(1, 1)
    return spin
