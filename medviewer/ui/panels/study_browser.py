"""The study tree: patient, study, series; what is wrong with a series is said where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QMenu,
    QStackedLayout,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from medviewer.app.attach import holds_segments
from medviewer.app.objects import OBJECT_KINDS
from medviewer.app.open_study import can_be_spaced
from medviewer.app.overlays import OVERLAY_KINDS
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.ui.bind import Merged
from medviewer.ui.icons import PICTURES, icon
from medviewer.ui.panels.panel import Command, Panel
from medviewer.ui.text import dicom_date, label, person_name, plain_tip, size_texts
from medviewer.ui.theme import color

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

SERIES = Qt.ItemDataRole.UserRole
#: Kind of what is neither image nor segments -> its icon, and what a double click does.
_OBJECTS = {
    "sr": ("report", "Report. Double click to read it."),
    "key_images": ("report", "Key images. Double click to list them."),
    "presentation": ("window", "Presentation state. Double click to show its image that way."),
    "registration": ("registration", "Registration. Double click to load it for its images."),
    "document": ("files", "Document. Double click to save it."),
}


class StudyBrowser(Panel):
    """Shows what was found on disk. Double click or Enter opens a series."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "studyBrowser", command, parent)
        self.tree = QTreeWidget()
        self.tree.setObjectName("studyTree")
        self.tree.setColumnCount(2)  # series, number of images
        self.tree.setHeaderHidden(True)
        self.tree.setUniformRowHeights(True)
        self.tree.setIndentation(14)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        # Parts of one series differ at the end of their names.
        self.tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.itemActivated.connect(self._open)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._menu)
        empty = label(
            "Nothing open yet.\n\nDrop a DICOM folder, zip, NIfTI file or picture on this window, or press Ctrl+O.",
            name="studyEmpty",
            role="soft",
            wrap=True,
        )
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        empty.setMargin(18)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(empty)
        self._pages.addWidget(self.tree)
        self._refresh = Merged(self, self._fill)
        self.links.connect(app.studies.changed, self._refresh)
        for signal in (app.workspace.volume_added, app.workspace.volume_removed, app.workspace.active_changed):
            self.links.connect(signal, self._refresh)
        self._fill()

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        super().close_panel()

    def _fill(self) -> None:
        current = self.tree.currentItem()
        chosen = current.data(0, SERIES) if current is not None else None
        scroll = self.tree.verticalScrollBar().value()
        self.tree.clear()
        patients: dict[tuple[str, str], QTreeWidgetItem] = {}
        for study in self.app.studies.studies:
            key = (study.patient_id, study.patient_name)
            if key not in patients:
                patients[key] = _patient_item(study)
                self.tree.addTopLevelItem(patients[key])
            self._add_study(patients[key], study, chosen)
        self.tree.expandAll()
        for row in range(self.tree.topLevelItemCount()):
            self._span(self.tree.topLevelItem(row))
        self.tree.verticalScrollBar().setValue(scroll)
        self._pages.setCurrentIndex(1 if patients else 0)

    def _span(self, patient: QTreeWidgetItem | None) -> None:
        if patient is not None:
            patient.setFirstColumnSpanned(True)
            for row in range(patient.childCount()):
                if (study := patient.child(row)) is not None:
                    study.setFirstColumnSpanned(True)

    def _add_study(self, patient: QTreeWidgetItem, study: Study, chosen: object) -> None:
        title = "  ".join(t for t in (dicom_date(study.study_date), study.description) if t) or "Study"
        item = QTreeWidgetItem([title])
        item.setIcon(0, icon("folder", "soft"))
        item.setToolTip(0, plain_tip("\n".join([title, *(w.text for w in study.warnings)])))
        patient.addChild(item)
        active = self.app.workspace.active
        active_key = active.series.key if active is not None and active.series is not None else ""
        opened = {v.series.key for v in self.app.workspace.volumes if v.series is not None}
        for series in sorted(study.series, key=_rank):
            row = _series_item(series, series.key in opened, series.key == active_key)
            item.addChild(row)
            if isinstance(chosen, SeriesRef) and chosen.key == series.key:
                self.tree.setCurrentItem(row)

    def _open(self, item: QTreeWidgetItem) -> None:
        series = item.data(0, SERIES)
        if not isinstance(series, SeriesRef):
            return
        if holds_segments(series):
            self.attempt(lambda: self.app.attach.open(series))
        elif series.kind in OBJECT_KINDS:
            self.attempt(lambda: self.app.objects.open(series))
        elif series.kind in OVERLAY_KINDS:
            self.attempt(lambda: self.app.overlays.open(series))
        else:
            self.attempt(lambda: self.app.studies.open_series(series))

    def _menu(self, point: QPoint) -> None:
        item = self.tree.itemAt(point)
        if item is None:
            return
        series = item.data(0, SERIES)
        if isinstance(series, SeriesRef):
            menu = self.menu_for(series)
        else:
            menu = QMenu(self)
            self._offer_to_send(menu, _series_below(item))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.exec(self.tree.viewport().mapToGlobal(point))

    def _offer_to_send(self, menu: QMenu, series: list[SeriesRef]) -> None:
        """Add a command that sends series, and the segments made on them, to a server."""

        def show() -> None:
            from medviewer.ui.dialogs.pacs_send import SendDialog, sendables

            things = sendables(self.app, series)
            SendDialog(self.app, things, lambda: self.command("pacs"), self.window()).open()

        menu.addAction("Send to PACS…").triggered.connect(show)

    def _open_spaced(self, series: SeriesRef) -> None:
        from medviewer.ui.dialogs.questions import ask_spacing

        spacing = ask_spacing(self.window(), series.spacing)
        if spacing is not None:
            self.attempt(lambda: self.app.studies.open_spaced(series, spacing))

    def menu_for(self, series: SeriesRef) -> QMenu:
        """Return what can be done with a series."""
        menu = QMenu(self)
        known = series.kind in OBJECT_KINDS
        show = menu.addAction("Open" if known else "Open as image")
        show.setEnabled(series.volume or known)
        opener = self.app.objects.open if known else self.app.studies.open_series
        show.triggered.connect(lambda: self.attempt(lambda: opener(series)))
        if can_be_spaced(series):
            as_volume = menu.addAction("Open as a volume, with a spacing…")
            as_volume.triggered.connect(lambda: self._open_spaced(series))
        active = self.app.workspace.active
        over = menu.addAction("Show over the image shown")
        is_other = active is not None and active.series is not None and active.series.key != series.key
        over.setEnabled(is_other and series.volume and series.stacking == "place" and not holds_segments(series))
        load = menu.addAction("Load as segments of the image shown")
        elsewhere = series.kind == "dicom" or known or series.kind in OVERLAY_KINDS
        single = len(series.files) == 1 and (holds_segments(series) or not elsewhere)
        load.setEnabled(active is not None and single)
        if active is not None:
            over.triggered.connect(lambda: self.attempt(lambda: self.app.overlays.lay(series, active.id)))
            load.triggered.connect(lambda: self.attempt(lambda: self.app.attach.start(active.id, series.files[0])))
        menu.addSeparator()
        self._offer_to_send(menu, [series])
        return menu


def _series_below(item: QTreeWidgetItem) -> list[SeriesRef]:
    """Return the series of a study or a patient."""
    series = item.data(0, SERIES)
    if isinstance(series, SeriesRef):
        return [series]
    return [one for n in range(item.childCount()) if (child := item.child(n)) for one in _series_below(child)]


def _rank(series: SeriesRef) -> tuple[bool, int, str, str]:
    """Return the place of a series in its study: by number, and by name where there is none, as for photographs."""
    number = series.series_number
    return number is None, number or 0, series.description if number is None else "", series.key


def _patient_item(study: Study) -> QTreeWidgetItem:
    birth = dicom_date(study.patient_birth_date)
    facts = [person_name(study.patient_name), study.patient_id, study.patient_sex, birth]
    item = QTreeWidgetItem(["   ".join(fact for fact in facts[:2] if fact)])
    item.setIcon(0, icon("study", "soft"))
    item.setToolTip(0, plain_tip("\n".join(fact for fact in facts if fact)))
    font = item.font(0)
    font.setBold(True)
    item.setFont(0, font)
    return item


def _series_item(series: SeriesRef, is_open: bool, is_active: bool) -> QTreeWidgetItem:
    count = len(series.files) if len(series.files) > 1 or series.size is None else series.size[2]
    number = "" if series.series_number is None else f"Series {series.series_number}"
    name = series.description or number or series.title
    item = QTreeWidgetItem([f"{series.modality}  {name}".strip(), str(count)])
    item.setData(0, SERIES, series)
    item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    picture, tint = ("check", "accent") if is_open else (PICTURES[series.stacking], "soft")
    segments, words = holds_segments(series), _OBJECTS.get(series.kind)
    if segments and not is_open:
        picture, tint = "mask", "soft"
    elif words is not None:
        picture, tint = words[0], "soft"
    elif not series.volume:
        picture, tint = ("info", "soft") if series.refusal == "E_NOT_IMAGE" else ("error", "error")
    elif series.warnings:
        picture, tint = "warning", "warning"
    item.setIcon(0, icon(picture, tint))
    if is_active:
        item.setForeground(0, color("accent"))
    elif not series.volume and not segments and words is None:
        for column in range(2):
            item.setForeground(column, color("soft"))
    facts = [series.title, series.modality, number]
    if series.size:
        facts += size_texts(series.size, series.spacing, series.stacking)
    if series.time_labels:
        facts.append(f"{len(series.time_labels)} points: {series.time_labels[0]} to {series.time_labels[-1]}")
    opens = segments or words is not None
    facts += [f"⚠ {warning.text}" for warning in series.warnings if not (opens and warning.code == "W_NOT_IMAGE")]
    facts.append(_what_a_double_click_does(series))
    for column in range(2):
        item.setToolTip(column, plain_tip("\n".join(fact for fact in facts if fact)))
    return item


def _what_a_double_click_does(series: SeriesRef) -> str:
    if holds_segments(series):
        return "Segments. Double click to load them onto their image."
    if series.kind in _OBJECTS:
        return _OBJECTS[series.kind][1]
    if series.kind in OVERLAY_KINDS:
        return "Double click to show it over its image."
    return "Double click to open." if series.volume else "Cannot be opened."
