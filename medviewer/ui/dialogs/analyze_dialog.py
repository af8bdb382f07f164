"""What Analyze will run, and roughly how long it takes: tick, start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QGridLayout, QVBoxLayout, QWidget

from medviewer.app.run_tasks import PlanItem
from medviewer.core.errors import MedViewerError
from medviewer.ui.panels.volumes import volume_title
from medviewer.ui.text import duration, label, plain_menu, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


class AnalyzeDialog(QDialog):
    """Shows the plan for one volume and starts what is ticked."""

    def __init__(self, app: AppContext, volume_id: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("analyzeDialog")
        self.setWindowTitle("Analyze")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._volume_id = volume_id
        self._plan = app.analyze.plan(volume_id)
        self.boxes: dict[str, QCheckBox] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(9)
        grid.setColumnStretch(0, 1)
        for row, item in enumerate(self._plan):
            self._add_row(grid, row, item)
        self.total = label("", name="analyzeTotal", role="soft", wrap=True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.start_button = buttons.addButton("Start", QDialogButtonBox.ButtonRole.AcceptRole)
        self.start_button.setObjectName("startAnalyze")
        self.start_button.setProperty("next", True)
        self.start_button.setDefault(True)
        buttons.accepted.connect(self._start)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(label(volume_title(app.workspace.volume(volume_id)), role="heading"))
        layout.addLayout(grid)
        layout.addWidget(self.total)
        layout.addStretch(1)
        layout.addWidget(buttons)
        self.setMinimumWidth(520)
        self._sum_up()

    @property
    def chosen(self) -> list[str]:
        """Ids of the ticked tasks, in the order in which they run."""
        return [item.task.id for item in self._plan if self.boxes[item.task.id].isChecked()]

    def _add_row(self, grid: QGridLayout, row: int, item: PlanItem) -> None:
        box = QCheckBox(plain_menu(item.task.title))
        box.setObjectName(f"analyze.{item.task.id}")
        box.setChecked(item.fits)
        box.setEnabled(item.fits)
        box.setToolTip(plain_tip(item.task.description))
        box.toggled.connect(lambda _: self._sum_up())
        self.boxes[item.task.id] = box
        grid.addWidget(box, row, 0)
        note = f"about {duration(item.seconds)}" if item.fits else item.reason
        said = label(note, role="soft")
        said.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        grid.addWidget(said, row, 1)

    def _sum_up(self) -> None:
        chosen = set(self.chosen)
        seconds = sum(item.seconds for item in self._plan if item.task.id in chosen)
        self.start_button.setEnabled(bool(chosen))
        if not self._plan or not any(item.fits for item in self._plan):
            text = "No task fits this series."
        elif chosen:
            text = (
                f"{len(chosen)} of {len(self._plan)} tasks, about {duration(seconds)} in all. You can go on "
                "reading meanwhile, and undo each result. Nothing leaves this machine."
            )
        else:
            text = "Tick at least one task."
        self.total.setText(text)

    def _start(self) -> None:
        try:
            self._app.analyze.start(self._volume_id, self.chosen)
        except MedViewerError as error:
            self._app.messages.error(error)
        self.accept()
