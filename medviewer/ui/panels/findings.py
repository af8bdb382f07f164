"""The lesion list: click jumps all views; accept, reject, relabel, make a mask, by button and by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.annotation import Box3D, Review
from medviewer.core.geometry import Geometry
from medviewer.ui.bind import Merged
from medviewer.ui.icons import icon
from medviewer.ui.panels.finding_filter import FindingFilter
from medviewer.ui.panels.panel import Command, Panel, push_button
from medviewer.ui.text import counted, label, lps_text, made_by, plain_tip
from medviewer.ui.theme import color, restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

RANK, LABEL, SCORE, DIAMETER, SLICE, STATE = range(6)
BOX_ID = Qt.ItemDataRole.UserRole
STATES: dict[Review, tuple[str, str, str]] = {
    "open": ("dot", "soft", "Not reviewed"),
    "accepted": ("check", "good", "Accepted"),
    "rejected": ("close", "error", "Rejected"),
}


class FindingsPanel(Panel):
    """A table of the findings of the image that is looked at, best first."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "findingsPanel", command, parent)
        self._filling = False
        self._shown: tuple[Box3D, ...] = ()
        self.summary = label("", name="findingsSummary", role="soft", wrap=True)
        self.hide_rejected = QCheckBox("Hide rejected")
        self.hide_rejected.setObjectName("hideRejected")
        self.hide_rejected.toggled.connect(lambda _: self._fill())
        self.filter = FindingFilter(app.workspace.view)
        self.table = self._make_table()
        self.place = label("", name="findingPlace", role="soft", wrap=True)
        head = QHBoxLayout()
        head.addWidget(self.summary, 1)
        head.addWidget(self.hide_rejected)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(head)
        layout.addWidget(self.filter)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.place)
        layout.addLayout(self._make_buttons())
        self._refresh = Merged(self, self._fill)
        self.links.connect(app.workspace.boxes_changed, self._refresh)
        self.links.connect(app.workspace.assessments_changed, self._refresh)
        self.links.connect(app.workspace.active_changed, self._refresh)
        self.links.connect(app.workspace.view.filter_changed, self._refresh)
        self._fill()

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, 6)
        table.setObjectName("findingsTable")
        table.setHorizontalHeaderLabels(["#", "Finding", "Score", "mm", "Slice", ""])
        diameter = table.horizontalHeaderItem(DIAMETER)
        if diameter is not None:
            diameter.setToolTip("Equivalent-sphere diameter, mm")
        table.verticalHeader().hide()
        table.verticalHeader().setMinimumSectionSize(26)
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        table.setShowGrid(False)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        header = table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(26)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(LABEL, QHeaderView.ResizeMode.Stretch)
        table.currentCellChanged.connect(lambda row, *_: self._selected(row))
        table.cellClicked.connect(lambda row, _column: self._selected(row))
        table.itemChanged.connect(self._edited)
        for key, slot in (
            ("Return", lambda: self.review("accepted")),
            ("Enter", lambda: self.review("accepted")),
            ("Delete", lambda: self.review("rejected")),
            ("Backspace", lambda: self.review("rejected")),
            ("M", self.make_mask),
        ):
            shortcut = QShortcut(QKeySequence(key), table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(slot)
        return table

    def _make_buttons(self) -> QGridLayout:
        self.accept_button = push_button(
            "acceptFinding", "Accept", lambda: self.review("accepted"), picture="check",
            tip="It is real: accept and go to the next (Enter in the list)",
        )  # fmt: skip
        self.reject_button = push_button(
            "rejectFinding", "Reject", lambda: self.review("rejected"), picture="close",
            tip="It is not: reject and go to the next (Delete in the list)",
        )  # fmt: skip
        self.mask_button = push_button(
            "makeMask", "Make mask", self.make_mask, picture="mask",
            tip="Turn it into a segment that can be edited (M in the list)",
        )  # fmt: skip
        self.relabel_button = push_button(
            "relabelFinding", "Relabel", self.relabel, picture="pencil", tip="Call it something else (F2 in the list)"
        )
        grid = QGridLayout()
        grid.setSpacing(6)
        buttons = (self.accept_button, self.reject_button, self.mask_button, self.relabel_button)
        for n, button in enumerate(buttons):
            grid.addWidget(button, n // 2, n % 2)
        return grid

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        super().close_panel()

    @property
    def current(self) -> Box3D | None:
        """The selected finding."""
        row = self.table.currentRow()
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def review(self, state: Review) -> None:
        """Decide about the selected finding, and go to the next that is open."""
        box, volume = self.current, self.volume
        if box is None or volume is None:
            return
        after = [b.id for b in self._shown[self.table.currentRow() + 1 :] if b.review == "open"]
        self.attempt(lambda: self.app.findings.review(volume.id, box.id, state))
        self._refresh.stop()
        self._fill()
        if after:
            self.select(after[0])

    def relabel(self) -> None:
        """Edit the label of the selected finding in place."""
        item = self.table.item(self.table.currentRow(), LABEL)
        if item is not None:
            self.table.setFocus()
            self.table.editItem(item)

    def make_mask(self) -> None:
        """Turn the selected finding into a segment."""
        box, volume = self.current, self.volume
        if box is not None and volume is not None:
            self.attempt(lambda: self.app.findings.make_mask(volume.id, box.id))

    def select(self, box_id: str) -> None:
        """Select a finding, which shows it in all views."""
        for row, box in enumerate(self._shown):
            if box.id == box_id:
                self.table.setCurrentCell(row, LABEL)

    def _fill(self) -> None:
        volume, chosen = self.volume, self.current
        boxes = self.app.workspace.boxes(volume.id) if volume is not None else ()
        ranks = {box.id: n for n, box in enumerate(boxes, start=1)}
        hide = self.hide_rejected.isChecked()
        view = self.app.workspace.view
        self.filter.offer(boxes, {task.id: task.title for task in self.app.plugins.tasks})
        self._shown = tuple(box for box in boxes if view.shows(box) and not (hide and box.review == "rejected"))
        self._filling = True
        self.table.setRowCount(len(self._shown))
        for row, box in enumerate(self._shown):
            self._fill_row(row, box, ranks[box.id], volume.geometry if volume is not None else None)
        rows = [row for row, box in enumerate(self._shown) if chosen is not None and box.id == chosen.id]
        self.table.setCurrentCell(rows[0] if rows else -1, LABEL)
        self._filling = False
        self._summarise(boxes)
        self._enable()

    def _fill_row(self, row: int, box: Box3D, rank: int, geometry: Geometry | None) -> None:
        picture, tint, said = STATES[box.review]
        slice_text = ""
        if geometry is not None:
            k = round(float(geometry.lps_to_index(box.center_lps)[2]))
            slice_text = str(k + 1)
        texts = (
            str(rank),
            box.label,
            "" if box.score is None else f"{box.score:.2f}",
            "" if box.diameter_mm is None else f"{box.diameter_mm:.1f}",
            slice_text,
            "",
        )
        mask = ["Has a mask"] if box.segment else []
        tip = "\n".join([box.label, lps_text(box.center_lps), said, *mask, made_by(box.provenance)])
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(plain_tip(tip))
            flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
            item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if column == LABEL else flags)
            item.setData(BOX_ID, box.id)
            if column == STATE:
                item.setIcon(icon(picture, tint))
            elif column == LABEL:
                item.setIcon(icon("mask", "accent") if box.segment else icon("detection", "soft"))
            else:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if box.review == "rejected":
                item.setForeground(color("soft"))
            self.table.setItem(row, column, item)

    def _summarise(self, boxes: tuple[Box3D, ...]) -> None:
        if self.volume is None:
            text = "Open a series first."
        elif not boxes and self.app.workspace.assessments(self.volume.id):
            text = "No findings with a place of their own."
        elif not boxes:
            text = "No findings yet. Analyze (F5) looks for them."
        else:
            left = sum(box.review == "open" for box in boxes)
            text = f"{counted(len(boxes), 'finding')}, " + (f"{left} to review" if left else "all reviewed")
            text += f", {len(self._shown)} shown" if len(self._shown) < len(boxes) else ""
        self.summary.setText(text)

    def _enable(self) -> None:
        box = self.current
        buttons = (self.accept_button, self.reject_button, self.mask_button, self.relabel_button)
        for button in buttons:
            button.setEnabled(box is not None)
        wanted = box is not None and box.review == "open"
        if self.accept_button.property("next") != wanted:
            self.accept_button.setProperty("next", wanted)
            restyle(self.accept_button)
        made_by = f"   by {box.provenance.task}" if box is not None else ""
        self.place.setText(lps_text(box.center_lps) + made_by if box is not None else "Select a finding to see it.")

    def _selected(self, row: int) -> None:
        if self._filling:
            return
        self._enable()
        box, volume = self.current, self.volume
        if box is not None and volume is not None and row >= 0:
            self.attempt(lambda: self.app.findings.jump(volume.id, box.id))

    def _edited(self, item: QTableWidgetItem) -> None:
        volume = self.volume
        if self._filling or item.column() != LABEL or volume is None:
            return
        box_id, text = str(item.data(BOX_ID)), item.text()
        self.attempt(lambda: self.app.findings.relabel(volume.id, box_id, text))
        self._refresh()
