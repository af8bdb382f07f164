"""What stands where the images will be: drop something here, or open what was open last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from medviewer.ui.dialogs.about import NOTICE
from medviewer.ui.icons import draw
from medviewer.ui.panels.panel import Command, Panel, push_button
from medviewer.ui.text import label, plain_menu, plain_tip
from medviewer.ui.theme import COLORS, restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

SHOWN_RECENT = 6


class Welcome(Panel):
    """The empty state of the window."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "welcome", command, parent)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.frame = QFrame()
        self.frame.setObjectName("dropFrame")
        self.frame.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.frame.setMaximumWidth(640)
        self.frame.setMinimumWidth(420)
        picture = QLabel()
        picture.setPixmap(draw("open", COLORS["accent"], 48))
        picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        title = label("Drop a DICOM folder or zip here", name="welcomeTitle", role="title", wrap=True)
        more = label("or open one. NIfTI files, pictures and saved workspaces work, too.", role="soft", wrap=True)
        for words in (title, more):
            words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.open_folder = push_button(
            "welcomeFolder", "Open folder…", lambda: self.command("open_folder"), picture="open", tip="Ctrl+O"
        )
        self.open_folder.setProperty("next", True)
        self.open_files = push_button(
            "welcomeFiles",
            "Open files or zip…",
            lambda: self.command("open_files"),
            picture="files",
            tip="Ctrl+Shift+O",
        )
        self.library = push_button(
            "welcomeLibrary", "Library…", lambda: self.command("library"), picture="study", tip="Ctrl+L"
        )
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.open_folder)
        row.addWidget(self.open_files)
        row.addStretch(1)
        again = QHBoxLayout()
        again.addStretch(1)
        again.addWidget(self.library)
        again.addStretch(1)
        self._recent = QVBoxLayout()
        self._recent.setSpacing(2)
        inside = QVBoxLayout(self.frame)
        inside.setContentsMargins(32, 30, 32, 26)
        inside.setSpacing(12)
        for widget in (picture, title, more):
            inside.addWidget(widget)
        inside.addSpacing(4)
        inside.addLayout(row)
        inside.addLayout(again)
        inside.addLayout(self._recent)
        notice = label(NOTICE, name="welcomeNotice", role="soft")
        notice.setAlignment(Qt.AlignmentFlag.AlignCenter)
        centre = QHBoxLayout()
        centre.addStretch(1)
        centre.addWidget(self.frame, 6)
        centre.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addStretch(3)
        layout.addLayout(centre)
        layout.addStretch(4)
        layout.addWidget(notice)
        self.fill()

    def fill(self) -> None:
        """Show the recent list anew."""
        while (item := self._recent.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        recent = self.app.studies.recent[:SHOWN_RECENT]
        if recent:
            heading = label("Recent", role="soft")
            heading.setContentsMargins(0, 14, 0, 2)
            self._recent.addWidget(heading)
        for path in recent:
            self._recent.addWidget(self._recent_button(path))

    def highlight(self, on: bool) -> None:
        """Show that something is being dragged over the window."""
        self.frame.setProperty("drop", on)
        restyle(self.frame)

    def _recent_button(self, path: Path) -> QPushButton:
        button = push_button("recent", path.name or str(path), lambda: self._open(path), picture="folder")
        button.setText(plain_menu(f"{path.name}   in {path.parent.name or path.parent}"))
        button.setToolTip(plain_tip(str(path)))
        button.setFlat(True)
        button.setProperty("row", True)
        return button

    def _open(self, path: Path) -> None:
        self.attempt(lambda: self.app.studies.scan([path], open_best=True))
