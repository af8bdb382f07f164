"""What is wrong with the image that is looked at: over the views, as long as it is looked at."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.ui.bind import Links
from medviewer.ui.icons import icon
from medviewer.ui.text import label, plain_tip


class WarningStrip(QFrame):
    """Shows the warnings of the active volume; all but the first can be folded away, none can be closed.

    Parameters
    ----------
    workspace : Workspace
        The document; followed until `close_strip`.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("warningStrip")
        self._texts: tuple[str, ...] = ()
        self._folded: set[str] = set()
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
        self._volume_id = volume.id if volume is not None else ""
        self._texts = tuple(warning.text for warning in volume.warnings) if volume is not None else ()
        self.setVisible(bool(self._texts))
        self._fill()

    def _toggle(self) -> None:
        self._folded ^= {self._volume_id}
        self._fill()

    def _fill(self) -> None:
        folded = self._volume_id in self._folded
        self.words.setText("\n".join(self._texts[:1] if folded else self._texts))
        self.words.setToolTip(plain_tip("\n".join(self._texts)))
        self.more.setVisible(len(self._texts) > 1)
        self.more.setText(f"{len(self._texts) - 1} more" if folded else "Fold")
