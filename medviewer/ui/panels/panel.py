"""What all panels share: the context, connections that are taken back, refusals as messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QPushButton, QToolButton, QWidget

from medviewer.core.errors import MedViewerError
from medviewer.core.segmentation import Segmentation
from medviewer.core.volume import Volume
from medviewer.ui.bind import Binding, Links
from medviewer.ui.icons import icon
from medviewer.ui.text import plain_menu, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

Command = Callable[[str], None]


class Panel(QWidget):
    """A panel over the context. `close_panel` takes its connections back before the widget dies.

    Parameters
    ----------
    app : AppContext
    name : str
        Object name.
    command : callable
        Runs the command with this id, as its menu entry does.
    """

    def __init__(self, app: AppContext, name: str, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.app = app
        self.command = command
        self.links = Links()
        self.bindings: list[Binding] = []

    @property
    def volume(self) -> Volume | None:
        """The volume that is looked at."""
        return self.app.workspace.active

    @property
    def segmentation(self) -> Segmentation | None:
        """Segmentation of the volume that is looked at."""
        return self.app.workspace.active_segmentation

    def attempt(self, request: Callable[[], object]) -> None:
        """Make a request of the program; a refusal is told, not raised."""
        try:
            request()
        except MedViewerError as error:
            self.app.messages.error(error)

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self.links.close()
        for binding in self.bindings:
            binding.close()
        self.bindings.clear()


def push_button(
    name: str, text: str, slot: Callable[[], object], *, picture: str = "", tip: str = "", shortcut: str = ""
) -> QPushButton:
    """Return a button with an object name."""
    button = QPushButton(plain_menu(text))
    button.setObjectName(name)
    button.clicked.connect(lambda _checked=False: slot())
    if picture:
        button.setIcon(icon(picture))
    if shortcut:
        button.setShortcut(shortcut)
    button.setToolTip(plain_tip(tip))
    button.setAutoDefault(False)
    return button


def tool_button(name: str, picture: str, slot: Callable[[], object], tip: str, text: str = "") -> QToolButton:
    """Return a flat button with an icon; its tool tip is also its accessible name."""
    button = QToolButton()
    button.setObjectName(name)
    button.setIcon(icon(picture))
    button.setIconSize(QSize(18, 18))
    button.setText(plain_menu(text or tip))
    button.setToolTip(plain_tip(tip))
    button.setAccessibleName(tip)
    button.clicked.connect(lambda _checked=False: slot())
    return button
