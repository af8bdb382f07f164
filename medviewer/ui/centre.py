"""The middle of the window: the welcome page or the views, and the message bar over them."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from medviewer.app.messages import Message
from medviewer.ui.messages import MessageBar
from medviewer.ui.panels.welcome import Welcome

MESSAGE_WIDTH = 640


class Centre(QWidget):
    """Shows one page.

    Signals
    -------
    painted()
        The welcome page has been painted for the first time.
    """

    painted = Signal()

    def __init__(self, welcome: Welcome, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("centre")
        self._welcome = welcome
        self._stack = QStackedWidget()
        self._stack.addWidget(welcome)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)
        self._room_above: Callable[[], int] = lambda: 0
        self.message_bar = MessageBar(self)
        welcome.installEventFilter(self)

    def show_page(self, page: QWidget | None, room_above: Callable[[], int] = lambda: 0) -> None:
        """Show a page; None is the welcome page. Messages leave `room_above` pixels at its top."""
        self._room_above = room_above
        if page is None:
            self._welcome.fill()
            self._stack.setCurrentWidget(self._welcome)
            return
        if self._stack.indexOf(page) < 0:
            self._stack.addWidget(page)
        self._stack.setCurrentWidget(page)

    def show_message(self, message: Message) -> None:
        """Show a message over the page."""
        self.message_bar.show_message(message)
        self.place_message()

    def place_message(self) -> None:
        """Put the message where it lies over nothing that must be seen."""
        width = min(MESSAGE_WIDTH, self.width() - 24)
        self.message_bar.setFixedWidth(width)
        self.message_bar.setFixedHeight(self.message_bar.height_for(width))
        self.message_bar.move((self.width() - width) // 2, 10 + self._room_above())
        self.message_bar.raise_()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self.place_message()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if watched is self._welcome and event.type() == QEvent.Type.Paint:
            self._welcome.removeEventFilter(self)
            QTimer.singleShot(0, self.painted.emit)
        return False
