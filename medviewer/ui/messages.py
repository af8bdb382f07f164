"""What the user is told: a bar that does not get in the way, and a log of all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QListWidget, QListWidgetItem, QSizePolicy, QVBoxLayout, QWidget

from medviewer.app.messages import Level, Message
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import Command, Panel, tool_button
from medviewer.ui.text import label, plain_tip
from medviewer.ui.theme import color, restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

COLORS: dict[Level, str] = {"info": "accent", "warning": "warning", "error": "error"}
WEIGHT: dict[Level, int] = {"info": 0, "warning": 1, "error": 2}


class MessageBar(QFrame):
    """Shows the newest warning or error over the views until it is closed.

    A warning does not push an error aside that nobody has closed; both are in the log. Information is not shown here:
    the status line and the log have it.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("messageBar")
        self._level: Level = "info"
        self.picture = label()
        self.picture.setFixedWidth(22)
        self.text = label("", name="messageText")
        self.hint = label("", name="messageHint", role="soft")
        for part in (self.text, self.hint):
            part.setWordWrap(True)
            part.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
            policy.setHeightForWidth(True)
            part.setSizePolicy(policy)
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self.text)
        words.addWidget(self.hint)
        self._row = row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 6, 5)
        row.addWidget(self.picture, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        row.addWidget(tool_button("closeMessage", "close", self.hide, "Close this message"))
        self.hide()

    def height_for(self, width: int) -> int:
        """Return the height that the message needs at a width."""
        return max(34, self._row.heightForWidth(width))

    def show_message(self, message: Message) -> None:
        """Show a message."""
        if message.level == "info" or message.elsewhere:
            return
        if self.isVisible() and WEIGHT[message.level] < WEIGHT[self._level]:
            return
        self._level = message.level
        self.picture.setPixmap(icon(message.level, COLORS[message.level]).pixmap(18))
        self.text.setText(message.text)
        self.hint.setText(message.hint)
        self.hint.setVisible(bool(message.hint))
        self.setProperty("level", message.level)
        restyle(self)
        self.show()


class MessagesPanel(Panel):
    """All messages of this session, newest first."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "messagesPanel", command, parent)
        self.list = QListWidget()
        self.list.setObjectName("messagesList")
        self.list.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.list)
        for message in app.messages.messages:
            self._add(message)
        self.links.connect(app.messages.added, self._add)

    def _add(self, message: Message) -> None:
        item = QListWidgetItem(icon(message.level, COLORS[message.level]), f"{message.text}  {message.hint}".strip())
        item.setToolTip(plain_tip("\n".join(part for part in (message.text, message.hint, message.details) if part)))
        if message.level != "info":
            item.setForeground(color(COLORS[message.level]))
        self.list.insertItem(0, item)
