"""What to search for, in the fields that radiologists use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial

from PySide6.QtCore import QDate
from PySide6.QtWidgets import QCheckBox, QComboBox, QDateEdit, QGridLayout, QHBoxLayout, QLineEdit, QWidget

from medviewer.io.network.query import QueryFields
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label

MODALITIES = ("", "CT", "MR", "PT", "CR", "DX", "MG", "US", "XA", "RF", "NM", "OT", "SEG", "RTSTRUCT", "SR")
SPANS = (("Today", 0), ("Week", 7), ("Month", 31), ("Year", 365))
HELP = "* stands for any letters, ? for one. “doe, j” finds every Doe whose given name begins with J."


class QueryForm(QWidget):
    """The form. Enter in any field searches.

    Parameters
    ----------
    search : callable
        Starts a search.
    """

    def __init__(self, search: Callable[[], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pacsQuery")
        self._search = search
        self.patient_name = self._line("pacsPatientName", "doe, j   or   doe*", HELP)
        self.patient_id = self._line("pacsPatientId", "", "The ID of the patient; * and ? as in the name.")
        self.accession = self._line("pacsAccession", "", "Accession number")
        self.description = self._line("pacsDescription", "chest", "Words anywhere in the study's description.")
        self.modality = QComboBox()
        self.modality.setObjectName("pacsModality")
        for name in MODALITIES:
            self.modality.addItem(name or "Any", name)
        self.with_dates = QCheckBox("Study date")
        self.with_dates.setObjectName("pacsWithDates")
        self.date_from, self.date_to = _date("pacsDateFrom"), _date("pacsDateTo")
        self.with_dates.toggled.connect(self._dates_toggled)
        self._dates_toggled(False)
        dates = QHBoxLayout()
        dates.setSpacing(6)
        dates.addWidget(self.with_dates)
        dates.addWidget(self.date_from)
        dates.addWidget(label("to", role="soft"))
        dates.addWidget(self.date_to)
        for title, days in SPANS:
            dates.addWidget(push_button(f"pacs{title}", title, partial(self._span, days)))
        dates.addStretch(1)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(6)
        cells: tuple[tuple[str, QWidget], ...] = (
            ("Patient name", self.patient_name), ("Patient ID", self.patient_id), ("Accession no.", self.accession),
            ("Description", self.description), ("Modality", self.modality),
        )  # fmt: skip
        for n, (title, cell) in enumerate(cells):
            grid.addWidget(label(title, role="soft"), 2 * (n // 3), n % 3)
            grid.addWidget(cell, 2 * (n // 3) + 1, n % 3)
        grid.addWidget(label(HELP, role="soft", wrap=True), 2, 2, 2, 1)
        grid.addLayout(dates, 4, 0, 1, 3)

    def fields(self) -> QueryFields:
        """Return what is filled in."""
        dated = self.with_dates.isChecked()
        return QueryFields(
            patient_name=self.patient_name.text(),
            patient_id=self.patient_id.text(),
            accession_number=self.accession.text(),
            date_from=self.date_from.date().toString("yyyyMMdd") if dated else "",
            date_to=self.date_to.date().toString("yyyyMMdd") if dated else "",
            modality=self.modality.currentData(),
            description=self.description.text(),
        )

    def clear(self) -> None:
        """Empty all fields."""
        for line in (self.patient_name, self.patient_id, self.accession, self.description):
            line.clear()
        self.modality.setCurrentIndex(0)
        self.with_dates.setChecked(False)

    def _line(self, name: str, placeholder: str, tip: str) -> QLineEdit:
        line = QLineEdit()
        line.setObjectName(name)
        line.setPlaceholderText(placeholder)
        line.setToolTip(tip)
        line.setClearButtonEnabled(True)
        line.returnPressed.connect(self._search)
        return line

    def _dates_toggled(self, on: bool) -> None:
        self.date_from.setEnabled(on)
        self.date_to.setEnabled(on)

    def _span(self, days: int) -> None:
        today = date.today()
        start = today - timedelta(days=days)
        self.with_dates.setChecked(True)
        self.date_from.setDate(QDate(start.year, start.month, start.day))
        self.date_to.setDate(QDate(today.year, today.month, today.day))
        self._search()


def _date(name: str) -> QDateEdit:
    edit = QDateEdit(QDate.currentDate())
    edit.setObjectName(name)
    edit.setDisplayFormat("yyyy-MM-dd")
    edit.setCalendarPopup(True)
    return edit
