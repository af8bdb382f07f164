"""What a server has: patients, studies and series in one table that can be sorted."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from medviewer.core.shown_text import shown
from medviewer.io.network.query import PatientRow, SeriesRow, StudyRow
from medviewer.ui.icons import icon
from medviewer.ui.text import dicom_date, person_name, plain_tip

Row = PatientRow | StudyRow | SeriesRow
ROW = Qt.ItemDataRole.UserRole
COLUMNS = (
    "Patient", "ID", "Born", "Date", "Modality", "Description", "Accession no.", "Referred by", "Series", "Images",
)  # fmt: skip
WIDTHS = (170, 110, 86, 86, 84, 200, 100, 100, 56, 60)
_DATE, _DESCRIPTION, _NUMBERS = 3, 5, (8, 9)


class ResultsTree(QTreeWidget):
    """The table. Newest studies are on top until a column's title is clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pacsResults")
        self.setHeaderLabels(list(COLUMNS))
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setExpandsOnDoubleClick(False)
        self.setAlternatingRowColors(True)
        header = self.header()
        header.setMinimumSectionSize(48)
        for column, width in enumerate(WIDTHS):
            header.resizeSection(column, width)
        header.setSectionResizeMode(_DESCRIPTION, QHeaderView.ResizeMode.Stretch)
        header.setStretchLastSection(False)
        self.setSortingEnabled(True)
        self.sortByColumn(_DATE, Qt.SortOrder.DescendingOrder)

    @property
    def chosen(self) -> list[StudyRow | SeriesRow]:
        """Studies and series that are selected."""
        rows = (row_of(item) for item in self.selectedItems())
        return [row for row in rows if isinstance(row, StudyRow | SeriesRow)]

    def show_rows(self, rows: Sequence[Row], *, more: bool) -> None:
        """Show rows instead of what there is, or below it (`more`); a row that is there already is not shown twice."""
        if not more:
            self.clear()
        known = (row_of(self.topLevelItem(n)) for n in range(self.topLevelItemCount()))
        shown = {_identity(row) for row in known if row is not None}
        self.addTopLevelItems([ResultItem(row) for row in rows if _identity(row) not in shown])

    def show_below(self, item: QTreeWidgetItem, rows: Sequence[Row]) -> None:
        """Show what a patient or a study has."""
        item.takeChildren()
        item.addChildren([ResultItem(row) for row in rows])


class ResultItem(QTreeWidgetItem):
    """One row; numbers are sorted as numbers."""

    def __init__(self, row: Row) -> None:
        texts = [shown(text) for text in _texts(row)]
        super().__init__(texts)
        for column, text in enumerate(texts):
            self.setToolTip(column, plain_tip(text))
        self.setData(0, ROW, row)
        picture = {PatientRow: "study", StudyRow: "folder", SeriesRow: "series"}[type(row)]
        self.setIcon(0, icon(picture, "soft"))
        for column in _NUMBERS:
            self.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if not isinstance(row, SeriesRow):
            # Filled when it is opened.
            self.addChild(QTreeWidgetItem(["…"]))

    def __lt__(self, other: QTreeWidgetItem) -> bool:
        column = self.treeWidget().sortColumn()
        return _key(self, column) < _key(other, column)


def row_of(item: QTreeWidgetItem | None) -> Row | None:
    """Return what an item shows; None for the placeholder below a row that has not been opened."""
    row = item.data(0, ROW) if item is not None else None
    return row if isinstance(row, PatientRow | StudyRow | SeriesRow) else None


def _key(item: QTreeWidgetItem, column: int) -> tuple[int, str]:
    row, text = row_of(item), item.text(column)
    if column == 0 and isinstance(row, SeriesRow):
        return (-1 if row.number is None else row.number), text
    return (int(text) if column in _NUMBERS and text else -1), text.casefold()


def _identity(row: Row) -> tuple[str, ...]:
    if isinstance(row, PatientRow):
        return row.patient_id, row.patient_name
    return row.study_instance_uid, getattr(row, "series_instance_uid", "")


def _texts(row: Row) -> list[str]:
    if isinstance(row, SeriesRow):
        number = "Series" if row.number is None else f"Series {row.number}"
        what = "  ·  ".join(text for text in (row.description, row.body_part) if text)
        return [number, "", "", "", row.modality, what, "", "", "", _count(row.instances)]
    person = [person_name(row.patient_name), row.patient_id, dicom_date(row.patient_birth_date)]
    if isinstance(row, PatientRow):
        return person
    referring = person_name(row.referring_physician) if row.referring_physician else ""
    return [
        *person, dicom_date(row.study_date), ", ".join(row.modalities), row.description, row.accession_number,
        referring, _count(row.series), _count(row.instances),
    ]  # fmt: skip


def _count(number: int | None) -> str:
    return "" if number is None else str(number)
