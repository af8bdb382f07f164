"""What to send, and to which server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import MedViewerError
from medviewer.core.volume import Volume
from medviewer.io.network.sending import file_kind
from medviewer.ui.dialogs.pacs_server import ServerDialog
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import counted, label
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

THING = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class Sendable:
    """DICOM files, or the segments of an open volume.

    Attributes
    ----------
    warning : str
        What the user must know before it is sent.
    """

    title: str = field(repr=False)
    files: tuple[Path, ...] = ()
    volume: Volume | None = None
    warning: str = ""


def sendables(app: AppContext, series: Sequence[SeriesRef]) -> list[Sendable]:
    """Return what can be sent of some series: their files, and the segments made on them."""
    found = []
    for one in series:
        files = tuple(dict.fromkeys(one.files))
        if files and file_kind(files[0]) is not None:
            part = next((warning.text for warning in one.warnings if warning.code == "W_INCOMPLETE"), "")
            title = f"{one.modality}  {one.title}, {counted(len(files), 'file')}".strip()
            found.append(Sendable(title, files, warning=part))
    keys = {one.key for one in series}
    for volume in app.workspace.volumes:
        count = len(app.workspace.segmentation(volume.id).segments)
        if count and volume.series is not None and volume.series.key in keys:
            found.append(
                Sendable(f"Segments of {volume.name} as DICOM SEG, {counted(count, 'segment')}", volume=volume)
            )
    return found


class SendDialog(QDialog):
    """Everything is chosen at first. What is sent is shown in the PACS window.

    Parameters
    ----------
    things : sequence of Sendable
    sent : callable
        Called when something is on its way.
    """

    def __init__(
        self, app: AppContext, things: Sequence[Sendable], sent: Callable[[], None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("pacsSendDialog")
        self.setWindowTitle("Send to PACS")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._sent = sent
        self.list = QListWidget()
        self.list.setObjectName("pacsSendList")
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for thing in things:
            self.list.addItem(_item(thing))
        self.list.itemChanged.connect(lambda _: self._enable())
        self.server = QComboBox()
        self.server.setObjectName("pacsSendTo")
        self._fill_servers()
        to = QHBoxLayout()
        to.addWidget(self.server, 1)
        to.addWidget(push_button("pacsSendAdd", "Add a server…", self._add))
        form = QFormLayout()
        form.setVerticalSpacing(10)
        form.setHorizontalSpacing(18)
        form.addRow("What", self.list)
        form.addRow("To", to)
        self.said = label("", name="pacsSendSaid", role="soft", wrap=True)
        self.send_button = push_button("pacsSendStart", "Send", self._send)
        self.send_button.setProperty("next", True)
        self.send_button.setDefault(True)
        row = QHBoxLayout()
        row.addWidget(self.said, 1)
        row.addWidget(push_button("pacsSendCancel", "Cancel", self.reject))
        row.addWidget(self.send_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addLayout(form, 1)
        layout.addLayout(row)
        self.resize(560, 320)
        self.server.currentIndexChanged.connect(lambda _: self._enable())
        self._enable()

    @property
    def chosen(self) -> list[Sendable]:
        """What is ticked."""
        items = (self.list.item(n) for n in range(self.list.count()))
        return [item.data(THING) for item in items if item.checkState() is Qt.CheckState.Checked]

    def _fill_servers(self) -> None:
        self.server.clear()
        for server in self._app.pacs.servers:
            safe = server.is_encrypted and server.verify
            self.server.addItem(icon("lock" if safe else "unlock", "good" if safe else "warning"), server.name)

    def _add(self) -> None:
        dialog = ServerDialog(self._app, None, self)

        def added() -> None:
            self._fill_servers()
            self.server.setCurrentIndex(self.server.count() - 1)
            self._enable()

        dialog.accepted.connect(added)
        dialog.open()

    def _enable(self) -> None:
        n, chosen = self.server.currentIndex(), self.chosen
        self.send_button.setEnabled(n >= 0 and bool(chosen))
        server = self._app.pacs.servers[n] if n >= 0 else None
        if server is None:
            self._tell("There is no server yet.", "soft")
        elif self.list.count() == 0:
            self._tell("Nothing here can be sent: only DICOM images and segments on them can.", "soft")
        elif not server.is_encrypted:
            self._tell("This server is reached without encryption.", "warning")
        elif not server.verify:
            self._tell("The certificate of this server is not verified.", "warning")
        else:
            self._tell("Encrypted and verified.", "soft")

    def _send(self) -> None:
        server = self._app.pacs.servers[self.server.currentIndex()]
        try:
            for thing in self.chosen:
                if thing.volume is not None:
                    self._app.pacs.send_segments(server, thing.volume)
                else:
                    self._app.pacs.send(server, thing.title, thing.files)
        except MedViewerError as error:
            self._tell(str(error), "error")
            return
        self.accept()
        self._sent()

    def _tell(self, text: str, role: str) -> None:
        self.said.setText(text)
        self.said.setProperty("role", role)
        restyle(self.said)


def _item(thing: Sendable) -> QListWidgetItem:
    text = f"{thing.title}\n{thing.warning}" if thing.warning else thing.title
    item = QListWidgetItem(text)
    picture = ("warning", "warning") if thing.warning else ("mask" if thing.volume is not None else "series", "soft")
    item.setIcon(icon(*picture))
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked)
    item.setData(THING, thing)
    return item
