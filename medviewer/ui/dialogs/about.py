"""The About box, and the notice at the first start."""

from __future__ import annotations

import platform

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from medviewer import __version__
from medviewer.ui.icons import draw
from medviewer.ui.text import label
from medviewer.ui.theme import COLORS

NOTICE = "Research software. Not a medical device."
NOTICE_MORE = (
    "MedViewer has not been cleared or approved for diagnosis or treatment. Check every result yourself. "
    "Everything is computed on this machine; no image leaves it."
)


class AboutBox(QDialog):
    """Version, licence and the notice."""

    def __init__(self, parent: QWidget | None = None, *, first_start: bool = False) -> None:
        super().__init__(parent)
        self.setObjectName("noticeBox" if first_start else "aboutBox")
        self.setWindowTitle("Before you start" if first_start else "About MedViewer")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        picture = QLabel()
        picture.setPixmap(draw("app", COLORS["accent"], 48))
        picture.setAlignment(Qt.AlignmentFlag.AlignTop)
        words = QVBoxLayout()
        words.setSpacing(8)
        words.addWidget(label("MedViewer", role="title"))
        words.addWidget(label(f"Version {__version__}, Python {platform.python_version()}", role="soft"))
        words.addSpacing(4)
        words.addWidget(label(NOTICE, name="notice", role="heading"))
        words.addWidget(label(NOTICE_MORE, wrap=True))
        words.addWidget(label("Apache License 2.0", role="soft"))
        top = QHBoxLayout()
        top.setSpacing(18)
        top.addWidget(picture)
        top.addLayout(words, 1)
        buttons = QDialogButtonBox()
        close = buttons.addButton("I understand" if first_start else "Close", QDialogButtonBox.ButtonRole.AcceptRole)
        close.setObjectName("noticeAccept" if first_start else "aboutClose")
        close.setDefault(True)
        buttons.accepted.connect(self.accept)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 22, 24, 16)
        layout.setSpacing(16)
        layout.addLayout(top)
        layout.addWidget(buttons)
        self.setFixedWidth(500)
