"""What is wrong with the image that is looked at: over the views, as long as it is looked at."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.ui.bind import Links
from medviewer.ui.icons import icon
from medviewer.ui.text import label, plain_tip

#: As many are shown without asking; of more, the first.
SHOWN = 2


class WarningStrip(QFrame):
    """Shows the warnings of the active volume; it cannot be closed.

    Parameters
    ----------
    workspace : Workspace
        The document; followed until `close_strip`.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("warningStrip")
        self._texts: tuple[str, ...] = ()
        self._all = False
        self._volume_id = ""
        sign = label()
        sign.setPixmap(icon("warning", "warning").pixmap(16))
        self.words = label("", name="warningTexts", wrap=True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.words.setSizePolicy(policy)
        self.more = QToolButton()
        self.more.setObjectName("warningsMore")
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.more.clicked.connect(self._toggle)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 3, 8, 3)
        row.setSpacing(8)
        row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.words, 1)
        row.addWidget(self.more, 0, Qt.AlignmentFlag.AlignTop)
        self._links = Links()
        self._links.connect(workspace.active_changed, self._show)
        self._links.connect(workspace.volume_updated, self._updated)
        self._show(workspace.active)

    def close_strip(self) -> None:
        """Stop following the document."""
        self._links.close()

    def _updated(self, volume: Volume) -> None:
        if volume.id == self._volume_id:
            self._show(volume)

    def _show(self, volume: Volume | None) -> None:
        if volume is None or volume.id != self._volume_id:
            self._all = False
        self._volume_id = volume.id if volume is not None else ""
        self._texts = tuple(warning.text for warning in volume.warnings) if volume is not None else ()
        self.setVisible(bool(self._texts))
        self._fill()

    def _toggle(self) -> None:
        self._all = not self._all
        self._fill()

    def _fill(self) -> None:
        many = len(self._texts) > SHOWN
        shown = self._texts if self._all or not many else self._texts[:1]
        self.words.setText("\n".join(shown))
        self.words.setToolTip(plain_tip("\n".join(self._texts)))
        self.more.setVisible(many)
        self.more.setText("Fewer" if self._all else f"{len(self._texts) - 1} more")
