"""The 3D view."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from medviewer.core.workspace import Workspace
from medviewer.ui.views.slice_panel import ViewTitle

TITLE_COLOR = (110, 160, 220)


class VolumePanel(QWidget):
    """Volume rendering and surfaces of the active volume."""

    maximise_asked = Signal()
    name = "volume"

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("volume_panel")
        self._workspace = workspace
        self.title = ViewTitle(self.name, "3D", TITLE_COLOR)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.title)
        column.addStretch(1)

    def reset_view(self) -> None:
        """Look from the front."""

    def close_view(self) -> None:
        """Let go of the graphics."""
