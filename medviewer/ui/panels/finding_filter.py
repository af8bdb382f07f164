"""Which findings are shown: of which task, from which score on. Takes no room where there is nothing to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSlider, QVBoxLayout, QWidget

from medviewer.core.annotation import Box3D
from medviewer.core.view_state import ViewState
from medviewer.ui.text import label


class FindingFilter(QWidget):
    """Sets `ViewState.shown_task` and `ViewState.least_score`; the views follow as the list does."""

    def __init__(self, view: ViewState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("findingFilter")
        self._view = view
        self._filling = False
        self.task = QComboBox()
        self.task.setObjectName("findingTask")
        self.task.setAccessibleName("Findings of which task")
        self.task.currentIndexChanged.connect(self._task_chosen)
        self.score = QSlider(Qt.Orientation.Horizontal)
        self.score.setObjectName("findingScore")
        self.score.setRange(0, 100)
        self.score.setAccessibleName("Least score of a finding")
        self.score.setToolTip("Hide findings with a lower score; accepted ones stay")
        self.score.valueChanged.connect(self._score_chosen)
        self._score_text = label("", name="findingScoreText", role="soft")
        self._score_text.setMinimumWidth(self._score_text.fontMetrics().horizontalAdvance("Score ≥ 0.00") + 4)
        self._score_row = QWidget()
        row = QHBoxLayout(self._score_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._score_text)
        row.addWidget(self.score, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.task)
        column.addWidget(self._score_row)
        self.offer((), {})

    def offer(self, boxes: Sequence[Box3D], titles: Mapping[str, str]) -> None:
        """Offer the tasks that found something; `titles` by task id."""
        tasks = list(dict.fromkeys(box.provenance.task for box in boxes))
        if self._view.shown_task not in tasks:
            self._view.shown_task = ""
        self._filling = True
        self.task.clear()
        self.task.addItem("From all tasks", "")
        for task in tasks:
            self.task.addItem({"manual": "By hand"}.get(task, titles.get(task, task)), task)
        self.task.setCurrentIndex(max(0, self.task.findData(self._view.shown_task)))
        self.score.setValue(round(self._view.least_score * 100))
        self._filling = False
        self._score_text.setText(f"Score ≥ {self._view.least_score:.2f}")
        scored = any(box.score is not None for box in boxes)
        self.task.setVisible(len(tasks) > 1)
        self._score_row.setVisible(scored)
        self.setVisible(len(tasks) > 1 or scored)

    def _task_chosen(self) -> None:
        if not self._filling:
            self._view.shown_task = str(self.task.currentData() or "")

    def _score_chosen(self, value: int) -> None:
        if not self._filling:
            self._view.least_score = value / 100
