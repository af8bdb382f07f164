"""The open images: choose the one that is looked at, close one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from medviewer.core.volume import Volume
from medviewer.ui.bind import Merged
from medviewer.ui.icons import PICTURES, icon
from medviewer.ui.panels.panel import Command, Panel, push_button
from medviewer.ui.text import dicom_date, label, person_name, plain_tip, size_texts

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

VOLUME_ID = Qt.ItemDataRole.UserRole


class VolumesPanel(Panel):
    """A list of the open volumes; the selected one is shown."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "volumesPanel", command, parent)
        self.list = QListWidget()
        self.list.setObjectName("volumesList")
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentItemChanged.connect(self._chosen)
        self.facts = label("", name="volumeFacts", role="soft", wrap=True)
        self.close_button = push_button(
            "closeVolume",
            "Close image",
            lambda: self.command("close_volume"),
            picture="close",
            tip="Close this image and what belongs to it.",
        )
        row = QHBoxLayout()
        row.addWidget(self.close_button)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.facts)
        layout.addLayout(row)
        self._filling = False
        self._refresh = Merged(self, self._fill)
        workspace = app.workspace
        for signal in (
            workspace.volume_added,
            workspace.volume_removed,
            workspace.volume_updated,
            workspace.active_changed,
        ):
            self.links.connect(signal, self._refresh)
        self._fill()

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        super().close_panel()

    def _fill(self) -> None:
        self._filling = True
        self.list.clear()
        active = self.volume
        for volume in self.app.workspace.volumes:
            item = QListWidgetItem(
                icon(PICTURES[volume.stacking], "accent" if volume is active else "soft"), volume_title(volume)
            )
            item.setData(VOLUME_ID, volume.id)
            item.setToolTip(plain_tip(volume_facts(volume)))
            self.list.addItem(item)
            if volume is active:
                self.list.setCurrentItem(item)
        self._filling = False
        self.facts.setText(volume_facts(active, short=True) if active is not None else "No image open.")
        self.facts.setToolTip(plain_tip(volume_facts(active)) if active is not None else "")
        self.close_button.setEnabled(active is not None)

    def _chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None and not self._filling:
            self.app.workspace.activate(str(item.data(VOLUME_ID)))


def volume_title(volume: Volume) -> str:
    """Return a short name for lists."""
    name = volume.name
    if name == volume.modality:
        number = volume.series.series_number if volume.series is not None else None
        name = "" if number is None else f"Series {number}"
    return "  ".join(part for part in (volume.modality, name) if part) or "Image"


def volume_facts(volume: Volume, *, short: bool = False) -> str:
    """Return what is known of a volume, one fact a line."""
    grid = volume.geometry
    lines = size_texts(grid.size, grid.spacing, volume.stacking, in_mm=volume.in_mm)
    if not short:
        person = person_name(volume.patient_name) if volume.patient_name else ""
        lines = [volume_title(volume), person, volume.patient_id, dicom_date(volume.study_date), *lines]
    # In short they stand over the views.
    warnings = [] if short else [f"⚠ {warning.text}" for warning in volume.warnings]
    return "\n".join(line for line in (*lines, *warnings) if line)
