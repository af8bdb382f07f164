"""What the library is searched by: words, modality, body part, status, dates."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QWidget

from medviewer.core.shown_text import shown
from medviewer.io.catalogue_rows import STATUSES, Filters
from medviewer.ui.text import label

_DATE = re.compile(r"(\d{4})[-./]?(\d{2})?[-./]?(\d{2})?")


def date_bound(text: str, *, last: bool) -> str:
    """Return the first or last day of a year, month or day (``2024``, ``2024-05``, ``2024-05-31``) as a DICOM date.

    Empty when the text is none of these.
    """
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return ""
    year, month, day = found.groups()
    return f"{year}{month or ('12' if last else '01')}{day or ('31' if last else '01')}"


class SearchLine(QLineEdit):
    """The search box; keys that move in a list go to the list.

    Signals
    -------
    list_key(QKeyEvent)
    """

    list_key = Signal(QKeyEvent)
    _LIST_KEYS = (Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_PageDown, Qt.Key.Key_PageUp)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        if event.key() in self._LIST_KEYS:
            self.list_key.emit(event)
        else:
            super().keyPressEvent(event)


class LibraryFilters(QWidget):
    """The row of inputs over the list.

    Signals
    -------
    edited()
    """

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = SearchLine()
        self.text.setObjectName("librarySearch")
        self.text.setPlaceholderText("Name, ID, description or accession number")
        self.text.setClearButtonEnabled(True)
        self.modality = _combo("libraryModality", "Any modality")
        self.body_part = _combo("libraryBodyPart", "Any body part")
        self.status = _combo("libraryStatus", "Any status")
        for status in STATUSES:
            self.status.addItem(status.capitalize(), status)
        self.first, self.last = _date("libraryFrom"), _date("libraryTo")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, 1)
        for combo in (self.modality, self.body_part, self.status):
            layout.addWidget(combo)
            combo.currentIndexChanged.connect(lambda _: self.edited.emit())
        layout.addSpacing(6)
        layout.addWidget(label("From", role="soft"))
        layout.addWidget(self.first)
        layout.addWidget(label("to", role="soft"))
        layout.addWidget(self.last)
        for line in (self.text, self.first, self.last):
            line.textChanged.connect(lambda _: self.edited.emit())

    @property
    def filters(self) -> Filters:
        """What is chosen."""
        return Filters(
            modality=self.modality.currentData() or "",
            body_part=self.body_part.currentData() or "",
            status=self.status.currentData() or "",
            date_from=date_bound(self.first.text(), last=False),
            date_to=date_bound(self.last.text(), last=True),
        )

    @property
    def asks_nothing(self) -> bool:
        """Whether everything is listed."""
        return not self.text.text().strip() and self.filters == Filters()

    def offer(self, modalities: Sequence[str], body_parts: Sequence[str]) -> None:
        """Offer the values there are; what is chosen stays chosen."""
        for combo, values in ((self.modality, modalities), (self.body_part, body_parts)):
            chosen = combo.currentData()
            combo.blockSignals(True)
            while combo.count() > 1:
                combo.removeItem(1)
            for value in values:
                combo.addItem(shown(value), value)
            combo.setCurrentIndex(max(0, combo.findData(chosen)))
            combo.blockSignals(False)
            if combo.currentData() != chosen:
                self.edited.emit()


def _combo(name: str, anything: str) -> QComboBox:
    combo = QComboBox()
    combo.setObjectName(name)
    combo.setAccessibleName(anything.removeprefix("Any ").capitalize())
    combo.setMaxVisibleItems(20)
    combo.setMinimumContentsLength(11)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.addItem(anything, "")
    return combo


def _date(name: str) -> QLineEdit:
    line = QLineEdit()
    line.setObjectName(name)
    line.setPlaceholderText("2024-05-31")
    line.setToolTip("A year, a month or a day: 2024, 2024-05, 2024-05-31")
    line.setFixedWidth(104)
    line.setMaxLength(10)
    return line
