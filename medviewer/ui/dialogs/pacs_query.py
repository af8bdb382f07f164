"""What to search for, in the fields that radiologists use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QDate
from PySide6.QtWidgets import QCheckBox, QComboBox, QDateEdit, QGridLayout, QHBoxLayout, QLineEdit, QWidget

from medviewer.io.network.query import QueryFields, dates_of
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label

MODALITIES = ("", "CT", "MR", "PT", "CR", "DX", "MG", "US", "XA", "RF", "NM", "OT", "SEG", "RTSTRUCT", "SR")
SPANS = ("Today", "Yesterday", "Week", "Month", "Year")
BODY_PARTS = (
    "",
    "HEAD",
    "BRAIN",
    "NECK",
    "CHEST",
    "HEART",
    "BREAST",
    "ABDOMEN",
    "LIVER",
    "PELVIS",
    "PROSTATE",
    "SPINE",
)
LEVELS = (("Studies", False), ("Patients", True))
BODY_HELP = "Looked for among the series of the studies that the other fields leave: fill in another one too."
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
        self.patient_id = self._line("pacsPatientId", "", "The whole ID, or a part with * for the rest.")
        self.accession = self._line("pacsAccession", "", "The whole number, or a part with * for the rest.")
        self.referring = self._line("pacsReferring", "", "The physician who asked for the study; as a patient's name.")
        self.description = self._line("pacsDescription", "chest", "Words anywhere in the study's description.")
        self.modality = _combo("pacsModality", [(name or "Any", name) for name in MODALITIES])
        self.body_part = _combo("pacsBodyPart", [(name or "Any", name) for name in BODY_PARTS])
        self.body_part.setEditable(True)
        self.body_part.setToolTip(BODY_HELP)
        self.level = _combo("pacsLevel", LEVELS)
        self.level.setToolTip("Patients are found by name and ID alone; open one to see the studies.")
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
        for title in SPANS:
            dates.addWidget(push_button(f"pacs{title}", title, partial(self._span, title)))
        dates.addStretch(1)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(6)
        cells: tuple[tuple[str, QWidget], ...] = (
            ("Patient name", self.patient_name), ("Patient ID", self.patient_id), ("Accession no.", self.accession),
            ("Referred by", self.referring), ("Description", self.description), ("Modality", self.modality),
            ("Body part", self.body_part), ("List", self.level),
        )  # fmt: skip
        for n, (title, cell) in enumerate(cells):
            grid.addWidget(label(title, role="soft"), 2 * (n // 4), n % 4)
            grid.addWidget(cell, 2 * (n // 4) + 1, n % 4)
        for column in range(4):
            grid.setColumnStretch(column, 1)
        grid.addLayout(dates, 4, 0, 1, 4)

    @property
    def lists_patients(self) -> bool:
        """Whether patients are searched for, not studies."""
        return bool(self.level.currentData())

    def fields(self) -> QueryFields:
        """Return what is filled in."""
        dated = self.with_dates.isChecked()
        start, end = sorted((self.date_from.date().toString("yyyyMMdd"), self.date_to.date().toString("yyyyMMdd")))
        return QueryFields(
            patient_name=self.patient_name.text(),
            patient_id=self.patient_id.text(),
            accession_number=self.accession.text(),
            date_from=start if dated else "",
            date_to=end if dated else "",
            modality=self.modality.currentData(),
            description=self.description.text(),
            referring_physician=self.referring.text(),
            body_part=self.body_part.currentText().strip() if self.body_part.currentText() != "Any" else "",
        )

    def clear(self) -> None:
        """Empty all fields."""
        for line in (self.patient_name, self.patient_id, self.accession, self.referring, self.description):
            line.clear()
        for combo in (self.modality, self.body_part):
            combo.setCurrentIndex(0)
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

    def _span(self, title: str) -> None:
        start, end = dates_of(title)
        self.with_dates.setChecked(True)
        self.date_from.setDate(QDate.fromString(start, "yyyyMMdd"))
        self.date_to.setDate(QDate.fromString(end, "yyyyMMdd"))
        self._search()


def _combo(name: str, items: Sequence[tuple[str, object]]) -> QComboBox:
    combo = QComboBox()
    combo.setObjectName(name)
    for title, data in items:
        combo.addItem(title, data)
    return combo


def _date(name: str) -> QDateEdit:
    edit = QDateEdit(QDate.currentDate())
    edit.setObjectName(name)
    edit.setDisplayFormat("yyyy-MM-dd")
    edit.setCalendarPopup(True)
    return edit
