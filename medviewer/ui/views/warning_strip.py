"""What is wrong with the image that is looked at, or with what models made of it: over the views."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from medviewer.core.segmentation import Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.ui.bind import Links, Merged
from medviewer.ui.icons import icon
from medviewer.ui.text import label, plain_tip

#: More names than this make a line that nobody reads.
_NAMES = 3


def doubts(workspace: Workspace, volume_id: str) -> list[str]:
    """Return what is doubtful about results on a volume, each once; not what a person has edited since."""
    about: dict[str, list[str]] = {}
    whole = set()
    for assessment in workspace.assessments(volume_id):
        for flag in assessment.flags:
            about.setdefault(flag.text, []).append(assessment.name)
            whole.add((flag.text, assessment.provenance.task))
    for segment in workspace.segmentation(volume_id).segments:
        for flag in segment.flags if not segment.edited else ():
            if (flag.text, segment.provenance.task) not in whole:
                about.setdefault(flag.text, []).append(segment.name)
    return [f"{_listed(names)}: {text}" for text, names in about.items()]


def _listed(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    more = len(names) - _NAMES
    return "; ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


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
        self._links.connect(workspace.assessments_changed, self._results_changed)
        self._workspace = workspace
        self._watched: Segmentation | None = None
        self._refresh = Merged(self, self._show_texts)
        self._show(workspace.active)

    def close_strip(self) -> None:
        """Stop following the document."""
        self._links.close()
        self._refresh.stop()
        self._watch(None)

    def _updated(self, volume: Volume) -> None:
        if volume.id == self._volume_id:
            self._show(volume)

    def _show(self, volume: Volume | None) -> None:
        self._volume_id = volume.id if volume is not None else ""
        self._watch(self._workspace.active_segmentation if volume is not None else None)
        self._show_texts()

    def _watch(self, segmentation: Segmentation | None) -> None:
        if self._watched is not None:
            self._watched.segments_changed.disconnect(self._refresh, missing_ok=True)
        self._watched = segmentation
        if segmentation is not None:
            segmentation.segments_changed.connect(self._refresh)

    def _results_changed(self, volume_id: str) -> None:
        if volume_id == self._volume_id:
            self._refresh()

    def _show_texts(self) -> None:
        volume = self._workspace.active
        self._texts = ()
        if volume is not None:
            self._texts = (*(w.text for w in volume.warnings), *doubts(self._workspace, volume.id))
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
