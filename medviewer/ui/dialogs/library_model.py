"""The list of the library for a table: pages come as one scrolls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from medviewer.core.shown_text import shown
from medviewer.ui.icons import icon
from medviewer.ui.text import dicom_date, person_name, plain_tip
from medviewer.ui.theme import color

if TYPE_CHECKING:
    from medviewer.io.catalogue_rows import Order, Page, StudyRow

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("Patient", "ID", "Study date", "Description", "Modalities", "Series", "Status")
#: Columns that can be sorted by, and the order of the library that they stand for.
ORDERS: Mapping[int, Order] = {0: "name_key", 1: "patient_id", 2: "study_date"}
_NOWHERE = QModelIndex()
#: Modalities that are named after those of images.
_NO_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "REG", "RWV", "DOC", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD"})
_STATUS = {"new": "New", "opened": "Opened", "labelled": "Labelled"}


class StudyModel(QAbstractTableModel):
    """Rows of the library as they were found.

    Parameters
    ----------
    more : callable
        Called when the view has come to the end of a page and there is another.
    """

    def __init__(self, more: Callable[[], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._more = more
        self._asked = False
        self.rows: list[StudyRow] = []
        self.after: tuple[Any, int] | None = None

    def show_first(self, page: Page) -> None:
        """Show another list."""
        self.beginResetModel()
        self.rows, self.after, self._asked = list(page.rows), page.after, False
        self.endResetModel()

    def show_next(self, page: Page) -> None:
        """Show the next page below."""
        if page.rows:
            self.beginInsertRows(QModelIndex(), len(self.rows), len(self.rows) + len(page.rows) - 1)
            self.rows += page.rows
            self.endInsertRows()
        self.after, self._asked = page.after, False

    def row_of(self, study_id: int) -> int:
        """Return the row of a study, -1 when it is not in the list."""
        return next((n for n, row in enumerate(self.rows) if row.id == study_id), -1)

    def rowCount(self, parent: Index = _NOWHERE) -> int:  # noqa: D102
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:  # noqa: D102
        return 0 if parent.isValid() else len(COLUMNS)

    def canFetchMore(self, parent: Index) -> bool:  # noqa: D102
        return not parent.isValid() and self.after is not None and not self._asked

    def fetchMore(self, parent: Index) -> None:  # noqa: D102
        self._asked = True
        self._more()

    def headerData(  # noqa: D102
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _texts(row)[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(_tip(row))
        if role == Qt.ItemDataRole.ForegroundRole and row.missing:
            return color("disabled")
        if role == Qt.ItemDataRole.DecorationRole and column == 0:
            return icon("warning", "warning") if row.missing else icon("study", "soft")
        return None


def _texts(row: StudyRow) -> tuple[str, ...]:
    return (
        shown(person_name(row.patient_name)),
        shown(row.patient_id),
        dicom_date(row.study_date),
        shown(row.description),
        ", ".join(sorted(row.modalities, key=lambda modality: (modality in _NO_IMAGES, modality))),
        str(row.series_count),
        "Moved or offline" if row.missing else _STATUS[row.status],
    )


def _tip(row: StudyRow) -> str:
    facts = [
        f"{person_name(row.patient_name)}   {row.patient_id}",
        f"Born {dicom_date(row.birth_date)}" if row.birth_date else "",
        row.description,
        f"Accession number {row.accession_number}" if row.accession_number else "",
        ", ".join(row.body_parts),
        f"{row.series_count} series, {row.image_count} images",
        "The images are not where they were. “Find…” looks for them in another folder." if row.missing else "",
    ]
    return "\n".join(fact for fact in facts if fact.strip())
