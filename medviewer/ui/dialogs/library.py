"""The library: everything that was opened, found as one types, opened without a scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QListWidgetItem,
    QMenu,
    QStackedLayout,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.catalogue import Query
from medviewer.app.messages import Message
from medviewer.jobs.job import Job, JobState
from medviewer.ui.bind import Links, Merged
from medviewer.ui.dialogs.library_filters import LibraryFilters
from medviewer.ui.dialogs.library_model import COLUMNS, ORDERS, StudyModel
from medviewer.ui.dialogs.library_series import ROW, SeriesPictures
from medviewer.ui.dialogs.questions import ask_yes_no
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.catalogue_rows import Page, SeriesRow, StudyRow
    from medviewer.ui.window_ui import WindowUi

#: What is typed within this time is one search.
PAUSE_MS = 60
#: Studies that are fetched at a time.
PAGE = 200
EMPTY = "Nothing here yet.\n\nStudies that you open are listed here. “Import copy” keeps a copy of its own."
_WIDTHS = (230, 130, 100, 0, 100, 60, 130)


class LibraryDialog(QDialog):
    """Search box, filters, list, pictures. It does not stop work in the window."""

    def __init__(self, app: AppContext, ui: WindowUi, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("libraryDialog")
        self.setWindowTitle("Library")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._ui = ui
        self._links = Links()
        self._chosen = 0
        self._checked: set[int] = set()
        self._query = Query()
        self.filters = LibraryFilters()
        self.model = StudyModel(self._more, self)
        self.table = self._make_table()
        self.pictures = SeriesPictures()
        self.pictures.itemActivated.connect(self._open_series)
        self.count = label("", name="libraryCount", role="soft")
        self.said = label("", name="librarySaid", wrap=True)
        self.off = self._make_off()
        self.open_button = push_button("libraryOpen", "Open", self._open, picture="open")
        self.open_button.setProperty("next", True)
        self.open_button.setDefault(True)
        self.find_button = push_button(
            "libraryFind", "Find…", self._find, picture="folder", tip="Say where the images of this study are now"
        )
        self.forget_button = push_button("libraryForget", "Forget…", self._forget, picture="remove")
        self.import_button = push_button(
            "libraryImport", "Import copy", lambda: None, picture="add", tip="Copy images into the data folder"
        )
        self.import_button.setMenu(self._import_menu())
        self._lay_out()
        self._search_soon = Merged(self, self._search_anew, PAUSE_MS)
        self._refresh_soon = Merged(self, self._refresh, PAUSE_MS)
        self._listen()
        self._enable()
        self._refresh()

    # ---- building

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setObjectName("libraryTable")
        table.setModel(self.model)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)
        table.setTextElideMode(Qt.TextElideMode.ElideRight)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(28)
        header = table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        for column, width in enumerate(_WIDTHS):
            if width:
                table.setColumnWidth(column, width)
            else:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setSortIndicator(COLUMNS.index("Study date"), Qt.SortOrder.DescendingOrder)
        header.sectionClicked.connect(self._sort)
        table.doubleClicked.connect(lambda _: self._open())
        table.selectionModel().currentRowChanged.connect(lambda *_: self._choose())
        return table

    def _make_off(self) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(
            label("The library is switched off: what you open is not listed.", name="libraryOff", role="warning")
        )
        layout.addWidget(push_button("librarySwitchOn", "Switch on", lambda: self._app.library.enable(True)))
        layout.addStretch(1)
        return row

    def _import_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction("Folder…").triggered.connect(lambda _=False: self._import(self._ui.ask_open_folder()))
        menu.addAction("Files or zip…").triggered.connect(lambda _=False: self._import(self._ui.ask_open_paths()))
        return menu

    def _lay_out(self) -> None:
        empty = label(EMPTY, name="libraryEmpty", role="soft", wrap=True)
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        middle = QWidget()
        self._pages = QStackedLayout(middle)
        self._pages.addWidget(self.table)
        self._pages.addWidget(empty)
        buttons = QHBoxLayout()
        for button in (self.import_button, self.find_button, self.forget_button):
            buttons.addWidget(button)
        buttons.addSpacing(12)
        buttons.addWidget(self.count)
        buttons.addStretch(1)
        buttons.addWidget(push_button("libraryClose", "Close", self.close))
        buttons.addWidget(self.open_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 14, 16, 14)
        layout.setSpacing(10)
        layout.addWidget(self.filters)
        layout.addWidget(self.off)
        layout.addWidget(middle, 1)
        layout.addWidget(self.pictures)
        layout.addWidget(self.said)
        layout.addLayout(buttons)
        self.said.hide()
        room = self.screen().availableGeometry()
        self.resize(min(1180, room.width() - 60), min(760, room.height() - 80))

    def _listen(self) -> None:
        library = self._app.library
        self.filters.edited.connect(self._search_soon)
        self.filters.text.list_key.connect(self._list_key)
        self._links.connect(library.found, self._found)
        self._links.connect(library.changed, self._refresh_soon)
        self._links.connect(library.thumbnail_made, self.pictures.show_picture)
        self._links.connect(self._app.messages.added, self._say)

    # ---- looking

    @property
    def study(self) -> StudyRow | None:
        """The chosen study."""
        row = self.table.currentIndex().row()
        return self.model.rows[row] if 0 <= row < len(self.model.rows) else None

    def _refresh(self) -> None:
        self.off.setVisible(not self._app.library.enabled)
        self._app.library.facets(self._offer)
        # As far as one has scrolled.
        self._search(limit=max(PAGE, len(self.model.rows)))

    def _offer(self, modalities: tuple[str, ...], body_parts: tuple[str, ...]) -> None:
        if self._links.open:
            self.filters.offer(modalities, body_parts)

    def _search_anew(self) -> None:
        """Show what was asked for now; Enter opens the first of it."""
        self._chosen = 0
        self.said.hide()
        self._search()

    def _search(self, limit: int = PAGE) -> None:
        header = self.table.horizontalHeader()
        self._query = Query(
            text=self.filters.text.text(),
            filters=self.filters.filters,
            order=ORDERS[header.sortIndicatorSection()],
            descending=header.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder,
            limit=limit,
        )
        self._app.library.search(self._query)

    def _more(self) -> None:
        self._app.library.search(self._following)

    @property
    def _following(self) -> Query:
        """The query of the next page."""
        return replace(self._query, after=self.model.after, limit=PAGE)

    def _sort(self, column: int) -> None:
        header = self.table.horizontalHeader()
        now = ORDERS.get(column)
        if now is None:
            # Qt has moved the arrow already.
            column = next(n for n, order in ORDERS.items() if order == self._query.order)
            way = Qt.SortOrder.DescendingOrder if self._query.descending else Qt.SortOrder.AscendingOrder
        else:
            same = now == self._query.order
            down = not self._query.descending if same else now == "study_date"
            way = Qt.SortOrder.DescendingOrder if down else Qt.SortOrder.AscendingOrder
        header.setSortIndicator(column, way)
        self._search()

    def _found(self, query: Query, page: Page) -> None:
        if query.after is not None:
            if query == self._following:
                self.model.show_next(page)
        elif query == self._query:
            self._show(page)
        unchecked = [row for row in page.rows if row.id not in self._checked]
        if unchecked:
            self._checked.update(row.id for row in unchecked)
            self._app.library.check(unchecked)

    def _show(self, page: Page) -> None:
        chosen = self._chosen
        bar = self.table.verticalScrollBar()
        scroll = bar.value() if self._query.limit > PAGE else 0
        self.model.show_first(page)
        row = max(0, self.model.row_of(chosen)) if self.model.rows else -1
        self._chosen = 0
        self.table.setCurrentIndex(self.model.index(row, 0))
        if scroll:
            bar.setValue(scroll)
        self._choose()
        nothing = page.total == 0 and self.filters.asks_nothing
        self._pages.setCurrentIndex(1 if nothing else 0)
        more = "" if page.exact else "more than "
        self.count.setText(f"{more}{page.total:,} studies".replace(",", " ") if page.total != 1 else "1 study")

    def _choose(self) -> None:
        """Show the series of the chosen study."""
        study = self.study
        chosen = study.id if study is not None else 0
        self._enable()
        if study is None:
            self.pictures.show_series(())
        elif chosen != self._chosen:
            self._app.library.series(chosen, lambda rows: self._show_series(chosen, rows))
        self._chosen = chosen

    def _show_series(self, study_id: int, rows: tuple[SeriesRow, ...]) -> None:
        if study_id == self._chosen and self._links.open:
            self.pictures.show_series(rows)

    def _enable(self) -> None:
        study = self.study
        for button in (self.open_button, self.find_button, self.forget_button):
            button.setEnabled(study is not None)

    def _say(self, message: Message) -> None:
        self.said.setText(f"{message.text} {message.hint}".strip())
        self.said.setProperty("role", "soft" if message.level == "info" else message.level)
        restyle(self.said)
        self.said.setVisible(bool(message.text))

    def _list_key(self, event: QKeyEvent) -> None:
        QApplication.sendEvent(self.table, event)

    # ---- doing

    def _open(self, series_key: str = "") -> None:
        study = self.study
        if study is not None:
            self.said.hide()
            self._app.library.open(study.id, series_key).state_changed.connect(self._opened)

    def _opened(self, state: JobState) -> None:
        if state is JobState.SUCCESS and self._links.open:
            self.close()

    def _open_series(self, item: QListWidgetItem) -> None:
        self._open(item.data(ROW).series.key)

    def _find(self) -> None:
        study = self.study
        name = QFileDialog.getExistingDirectory(self, "Where are the images of this study now?")
        if study is not None and name:
            self._app.library.relocate(study.id, Path(name)).state_changed.connect(self._relocated)

    def _relocated(self, state: JobState) -> None:
        if state is JobState.SUCCESS and self._links.open:
            # The files of the chosen study are others now.
            self._chosen = 0
            self._refresh_soon()

    def _forget(self) -> None:
        study = self.study
        if study is None:
            return
        copy = self._app.library.is_copy(self.pictures.rows)
        what = "Its imported copy is removed." if copy else "Its images stay where they are."
        if ask_yes_no(self, f"Forget this study with {study.series_count} series? {what}"):
            self._app.library.forget(study.id)

    def _import(self, paths: list[Path]) -> None:
        if paths:
            self._import_started(self._app.library.import_copy(paths))

    def _import_started(self, job: Job) -> None:
        self._say(Message("info", "Copying …", "Progress and Cancel are in the Jobs panel of the window."))
        job.state_changed.connect(lambda state: self._refresh_soon() if state.is_final and self._links.open else None)

    # ---- Qt

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not self.pictures.hasFocus():
            self._open()
            return
        super().keyPressEvent(event)

    def done(self, result: int) -> None:
        """Close, taking the connections back."""
        self._links.close()
        self._search_soon.stop()
        self._refresh_soon.stop()
        super().done(result)
