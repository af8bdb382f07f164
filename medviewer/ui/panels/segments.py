"""The segment list: colour, name, size, shown, locked; the active one is what tools draw into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QIcon, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.mask_size import mask_unit
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.ui.bind import Merged
from medviewer.ui.dialogs.questions import ask_name
from medviewer.ui.icons import icon, swatch
from medviewer.ui.panels.label_look import LabelLookControls
from medviewer.ui.panels.panel import Command, Panel, push_button
from medviewer.ui.panels.segment_menu import STATUS_ICONS, fill_presets, segment_menu, status_menu
from medviewer.ui.panels.segment_volumes import SegmentVolumes
from medviewer.ui.text import made_by, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

COLOR, NAME, SIZE, STATUS, EYE, LOCK = range(6)
VALUE = Qt.ItemDataRole.UserRole


class SegmentsPanel(Panel):
    """Lists the segments of the image that is looked at."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "segmentsPanel", command, parent)
        self._filling = False
        self._about_size = ""
        #: The segments that the rows show.
        self._filled: tuple[Segment, ...] = ()
        self._volumes = SegmentVolumes(self)
        self._volumes.counted.connect(self._show_size)
        self.table = self._make_table()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addWidget(self.table, 1)
        layout.addLayout(self._make_buttons())
        self.look = LabelLookControls(app)
        layout.addWidget(self.look)
        self._refresh = Merged(self, self._fill)
        self.links.connect(app.workspace.active_changed, self._watch)
        self._watched: Volume | None = None
        self._watch(self.volume)

    def _make_table(self) -> QTableWidget:
        table = _Table(0, 6)
        table.setObjectName("segmentsTable")
        table.setHorizontalHeaderLabels(["", "Segment", "ml", "", "", ""])
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(28)
        table.setShowGrid(False)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        header = table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(SIZE, QHeaderView.ResizeMode.ResizeToContents)
        for column in (COLOR, STATUS, EYE, LOCK):
            table.setColumnWidth(column, 30)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._ask_menu)
        table.cellClicked.connect(self._clicked)
        table.currentCellChanged.connect(lambda row, *_: self._activated(row))
        table.itemChanged.connect(self._edited)
        return table

    def _make_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.add_button = push_button(
            "addSegment", "Add", lambda: self.command("add_segment"), picture="add", tip="Add a segment (Ctrl+N)"
        )
        self.delete_button = push_button(
            "deleteSegment", "Delete", lambda: self.command("delete_segment"), picture="remove",
            tip="Delete the active segment with its voxels (Ctrl+Delete)",
        )  # fmt: skip
        row.addWidget(self.add_button)
        row.addWidget(self.delete_button)
        row.addStretch(1)
        self.presets = QToolButton()
        self.presets.setObjectName("segmentPresets")
        self.presets.setText("Presets")
        self.presets.setToolTip("Add segments with set names, values, colours and codes")
        self.presets.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.presets)
        menu.aboutToShow.connect(lambda: self._fill_presets(menu))
        self.presets.setMenu(menu)
        row.addWidget(self.presets)
        return row

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        self.look.close_controls()
        self._unwatch()
        super().close_panel()

    def _watch(self, volume: Volume | None) -> None:
        self._unwatch()
        self._filled = ()
        if volume is not None and self.app.workspace.has_volume(volume.id):
            segmentation = self.app.workspace.segmentation(volume.id)
            segmentation.segments_changed.connect(self._refresh)
            segmentation.active_changed.connect(self._refresh)
            unit = mask_unit(volume)
            self._volumes.watch(segmentation, unit.per_voxel)
            self._show_unit(unit.name, unit.about)
            self._shown = segmentation
            self._watched = volume
        self._fill()

    def _unwatch(self) -> None:
        self._volumes.close()
        if self._watched is not None:
            self._shown.segments_changed.disconnect(self._refresh, missing_ok=True)
            self._shown.active_changed.disconnect(self._refresh, missing_ok=True)
            self._watched = None

    def _fill(self) -> None:
        segments = self._shown.segments if self._watched is not None else ()
        active = self._shown.active if self._watched is not None else 0
        self._filling = True
        self.table.setRowCount(len(segments))
        for row, segment in enumerate(segments):
            # Most changes are of one segment; three hundred rows are not made anew for it.
            if row >= len(self._filled) or self._filled[row] != segment:
                self._fill_row(row, segment)
        self._filled = segments
        row = next((n for n, segment in enumerate(segments) if segment.value == active), -1)
        if row >= 0 and row != self.table.currentRow():
            self.table.setCurrentCell(row, NAME)
            self.table.scrollTo(self.table.model().index(row, NAME))
        if not active:
            self.table.clearSelection()
        self._filling = False
        self.add_button.setEnabled(self._watched is not None)
        self.presets.setEnabled(self._watched is not None)
        self.delete_button.setEnabled(bool(active))

    def _fill_row(self, row: int, segment: Segment) -> None:
        editable = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEditable
        fixed = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        cells: tuple[tuple[QIcon | None, str, str, Qt.ItemFlag], ...] = (
            (swatch(segment.color), "", "Colour: double click to change", fixed),
            (icon("warning", "warning") if segment.flags else None, segment.name, _about(segment), editable),
            (None, _size_text(self._volumes.size(segment.value)), self._about_size, fixed),
            (icon(*STATUS_ICONS[segment.status]), "", f"{segment.status.capitalize()}: click to change", fixed),
            (icon("eye") if segment.visible else icon("eye_off", "soft"), "", "Shown: click to hide"
             if segment.visible else "Hidden: click to show", fixed),
            (icon("lock", "warning") if segment.locked else icon("unlock", "disabled"), "", "Locked: click to unlock"
             if segment.locked else "Click to protect it from every stroke", fixed),
        )  # fmt: skip
        for column, (picture, text, tip, flags) in enumerate(cells):
            item = QTableWidgetItem(text)
            if picture is not None:
                item.setIcon(picture)
            item.setData(VALUE, segment.value)
            item.setToolTip(plain_tip(tip))
            item.setFlags(flags)
            if column == SIZE:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.setItem(row, column, item)

    def _value(self, row: int) -> int:
        item = self.table.item(row, COLOR)
        return int(item.data(VALUE)) if item is not None else 0

    def _activated(self, row: int) -> None:
        value = self._value(row) if row >= 0 else 0
        if not self._filling and self._watched is not None and self._shown.find(value) is not None:
            self._shown.active = value

    def _clicked(self, row: int, column: int) -> None:
        segment = self._shown.find(self._value(row)) if self._watched is not None else None
        if segment is None or self._watched is None:
            return
        volume_id, use = self._watched.id, self.app.segments
        if column == STATUS:
            menu = status_menu(self.app, volume_id, segment, self.attempt, self)
            self._pop_up(menu, self.table.visualRect(self.table.model().index(row, column)).bottomLeft())
        elif column == EYE:
            self.attempt(lambda: use.show(volume_id, segment.value, not segment.visible))
        elif column == LOCK:
            self.attempt(lambda: use.lock(volume_id, segment.value, not segment.locked))
        elif column == COLOR:
            self._ask_color(segment)

    def _ask_menu(self, place: QPoint) -> None:
        row = self.table.rowAt(place.y())
        segment = self._shown.find(self._value(row)) if self._watched is not None and row >= 0 else None
        if segment is None or self._watched is None:
            return
        self._shown.active = segment.value
        self._pop_up(segment_menu(self.app, self._watched.id, segment, self.attempt, self.command, self), place)

    def _pop_up(self, menu: QMenu, place: QPoint) -> None:
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.table.viewport().mapToGlobal(place))

    def _fill_presets(self, menu: QMenu) -> None:
        if self._watched is not None:
            fill_presets(menu, self.app, self._watched.id, self.attempt, self._save_preset)

    def _save_preset(self) -> None:
        assert self._watched is not None
        volume_id = self._watched.id
        name = ask_name(self, "Name of the preset", "My segments")
        if name:
            self.attempt(lambda: self.app.segments.save_preset(volume_id, name))

    def _ask_color(self, segment: Segment) -> None:
        assert self._watched is not None
        volume_id = self._watched.id
        dialog = QColorDialog(QColor(*segment.color), self)
        dialog.setObjectName("segmentColor")
        dialog.setOption(QColorDialog.ColorDialogOption.DontUseNativeDialog)

        def chosen(color: QColor) -> None:
            rgb = (color.red(), color.green(), color.blue())
            self.attempt(lambda: self.app.segments.recolor(volume_id, segment.value, rgb))

        dialog.colorSelected.connect(chosen)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def _edited(self, item: QTableWidgetItem) -> None:
        if self._filling or item.column() != NAME or self._watched is None:
            return
        volume_id, value, name = self._watched.id, int(item.data(VALUE)), item.text()
        self.attempt(lambda: self.app.segments.rename(volume_id, value, name))
        self._refresh()

    def _show_unit(self, name: str, about: str) -> None:
        self._about_size = about
        header = self.table.horizontalHeaderItem(SIZE)
        if header is not None:
            header.setText(name)
            header.setToolTip(about)

    def _show_size(self, value: int, size: float) -> None:
        row = next((n for n, segment in enumerate(self._filled) if segment.value == value), -1)
        cell = self.table.item(row, SIZE) if row >= 0 else None
        if cell is not None:
            self._filling = True
            cell.setText(_size_text(size))
            self._filling = False


def _about(segment: Segment) -> str:
    """Return what is known of a segment: what is doubtful first."""
    terms = (segment.type, segment.type_modifier, segment.region_modifier, segment.region)
    what = " · ".join(term.code_meaning for term in terms if term is not None)
    lines = [segment.name, *(f"⚠ {flag.text}" for flag in segment.flags), what, made_by(segment.provenance)]
    if segment.edited:
        lines.append("Edited since")
    return "\n".join([*lines, f"Label value {segment.value}", "Double click or F2 to rename."])


class _Table(QTableWidget):
    """Keeps the active segment in sight when the options of a tool take room."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.currentRow() >= 0:
            self.scrollTo(self.currentIndex())


def _size_text(size: float | None) -> str:
    if size is None:
        return "…"
    return f"{size:.2f}" if size < 9.995 and size != round(size) else f"{size:.0f}"
