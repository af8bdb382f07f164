"""What Analyze will run on an image: what fits, where, how long, under which licence; tick, set, start."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.run_tasks import PlanItem
from medviewer.core.errors import MedViewerError
from medviewer.plugin_host.forms import ParamSpec
from medviewer.ui.bind import Links
from medviewer.ui.dialogs.license_dialog import accept_license
from medviewer.ui.forms.param_form import ParamForm
from medviewer.ui.panels.panel import push_button
from medviewer.ui.panels.volumes import volume_title
from medviewer.ui.text import counted, device_name, duration, label, plain_menu, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

TASK, WHERE, TIME, MEMORY, LICENSE, OPTIONS = range(6)


class AnalyzeDialog(QDialog):
    """Shows the plan for one volume and starts what is ticked; the choice is kept for the next image."""

    def __init__(self, app: AppContext, volume_id: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("analyzeDialog")
        self.setWindowTitle("Plan of Analyze")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._volume_id = volume_id
        self._plan = sorted(app.analyze.plan(volume_id), key=lambda item: (not item.fits, not item.by_itself))
        self._links = Links()
        self._forms: dict[str, ParamForm] = {}
        self._holders: dict[str, QWidget] = {}
        self._specs: dict[str, tuple[ParamSpec, ...]] = {}
        self._accept: dict[str, QPushButton] = {}
        self._asked = ""
        self.boxes: dict[str, QCheckBox] = {}
        self.total = label("", name="analyzeTotal", role="soft", wrap=True)
        self._place = QVBoxLayout()
        self._lay_out()
        self._sum_up()

    def _lay_out(self) -> None:
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
        layout.addWidget(label(volume_title(self._app.workspace.volume(self._volume_id)), role="heading"))
        table = self._make_table()
        area = QScrollArea()
        area.setObjectName("analyzePlan")
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(table)
        layout.addWidget(area, 1)
        layout.addLayout(self._place)
        layout.addWidget(self.total)
        layout.addWidget(buttons)
        inside = table.sizeHint()
        room = self.screen().availableGeometry()
        self.setMinimumWidth(min(max(560, inside.width() + 70), room.width() - 60))
        area.setMinimumHeight(min(inside.height() + 4, room.height() - 340))

    # ---- the table

    def _make_table(self) -> QWidget:
        inside = QWidget()
        grid = QGridLayout(inside)
        grid.setContentsMargins(0, 0, 6, 0)
        grid.setHorizontalSpacing(22)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(TASK, 1)
        heads = {TASK: "Task", WHERE: "Runs on", TIME: "Time", LICENSE: "Licence"}
        if any(item.memory for item in self._plan):
            heads[MEMORY] = "Memory"
        for column, text in heads.items() if any(item.fits for item in self._plan) else ():
            grid.addWidget(label(text, role="soft"), 0, column)
        for row, item in enumerate(self._plan, start=1):
            self._add_row(grid, row, item)
        grid.setRowStretch(len(self._plan) + 1, 1)
        return inside

    def _add_row(self, grid: QGridLayout, row: int, item: PlanItem) -> None:
        task = item.task
        box = QCheckBox(plain_menu(task.title))
        box.setObjectName(f"analyze.{task.id}")
        box.setChecked(item.chosen and not item.license_open)
        box.setEnabled(item.fits and not item.license_open)
        box.setToolTip(plain_tip(task.description))
        box.toggled.connect(lambda _: self._sum_up())
        self.boxes[task.id] = box
        grid.addWidget(box, row, TASK)
        if not item.fits:
            grid.addWidget(label(item.reason, role="soft"), row, WHERE, 1, OPTIONS)
            return
        grid.addWidget(label(device_name(item.device)), row, WHERE)
        grid.addWidget(_time(item), row, TIME)
        grid.addWidget(label(f"{item.memory / 1e9:.1f} GB" if item.memory else "", role="soft"), row, MEMORY)
        if item.license_open:
            grid.addWidget(self._accept_button(item), row, LICENSE)
        else:
            grid.addWidget(label(task.license, role="soft"), row, LICENSE)
        options = push_button(
            f"options.{task.id}", "Options ✓" if item.parameters else "Options",
            lambda: self._show_options(item), tip="Set the parameters of this task; they are remembered",
        )  # fmt: skip
        grid.addWidget(options, row, OPTIONS)

    def _accept_button(self, item: PlanItem) -> QPushButton:
        task = item.task
        button = push_button(
            f"accept.{task.id}", f"{task.license}: accept…", lambda: self._ask_license(item),
            tip="This model has a licence that must be accepted before its first run",
        )  # fmt: skip
        self._accept[task.id] = button
        return button

    def _ask_license(self, item: PlanItem) -> None:
        task = item.task
        if not accept_license(self._app, task, self):
            return
        self._accept.pop(task.id).setEnabled(False)
        self._plan = [replace(i, license_open=False) if i.task.id == task.id else i for i in self._plan]
        self.boxes[task.id].setEnabled(True)
        self.boxes[task.id].setChecked(True)

    # ---- parameters

    def _show_options(self, item: PlanItem) -> None:
        """Show the form of a task below the table, or hide it again."""
        task_id = item.task.id
        hide = self._asked == task_id
        self._asked = "" if hide else task_id
        for other, holder in self._holders.items():
            holder.setVisible(other == self._asked)
        if hide or task_id in self._holders:
            return
        try:
            self._app.analyze.request_form(task_id, lambda specs: self._fill_form(item, specs))
        except MedViewerError as error:
            self._app.messages.error(error)

    def _fill_form(self, item: PlanItem, specs: tuple[ParamSpec, ...]) -> None:
        task_id = item.task.id
        if not self._links.open or task_id in self._forms:
            return
        holder = QWidget()
        column = QVBoxLayout(holder)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(label(f"Options of {item.task.title}" + ("" if specs else ": none"), role="heading"))
        form = ParamForm(specs)
        form.setObjectName(f"planForm.{task_id}")
        form.set_values(item.parameters)
        column.addWidget(form)
        if specs:
            usual = push_button(f"resetForm.{task_id}", "Back to the usual", form.reset)
            column.addWidget(usual, 0, Qt.AlignmentFlag.AlignLeft)
        self._forms[task_id], self._specs[task_id], self._holders[task_id] = form, specs, holder
        self._place.addWidget(holder)
        holder.setVisible(self._asked == task_id)

    def _params(self) -> dict[str, dict[str, object]]:
        """Return what differs from each task's own values, of the tasks whose form was shown."""
        changed = {}
        for task_id, form in self._forms.items():
            usual = {spec.name: spec.default for spec in self._specs[task_id]}
            changed[task_id] = {name: value for name, value in form.values().items() if value != usual[name]}
        return changed

    # ---- the whole

    @property
    def chosen(self) -> list[str]:
        """Ids of the ticked tasks, in the order in which they run."""
        ticked = [item.task for item in self._plan if self.boxes[item.task.id].isChecked()]
        return [task.id for task in sorted(ticked, key=lambda task: (task.order, task.id))]

    def _sum_up(self) -> None:
        chosen = set(self.chosen)
        seconds = sum(item.seconds for item in self._plan if item.task.id in chosen)
        self.start_button.setEnabled(bool(chosen))
        if not any(item.fits for item in self._plan):
            text = "No task fits this series."
        elif chosen:
            text = (
                f"{counted(len(chosen), 'task')}, about {duration(seconds)} in all. You can go on reading meanwhile, "
                "and undo each result. Nothing leaves this machine. Analyze (F5) runs the same the next time at once; "
                "Shift+F5 shows this plan."
            )
        else:
            text = "Tick at least one task."
        self.total.setText(text)

    def _start(self) -> None:
        analyze, chosen = self._app.analyze, self.chosen
        analyze.remember(self._plan, chosen, self._params())
        try:
            analyze.start(self._volume_id, chosen, {task_id: analyze.parameters(task_id) for task_id in chosen})
        except MedViewerError as error:
            self._app.messages.error(error)
        self.accept()

    def done(self, result: int) -> None:
        """Close; a form that comes late is not wanted."""
        self._links.close()
        super().done(result)


def _time(item: PlanItem) -> QLabel:
    said = label(f"about {duration(item.seconds)}")
    said.setToolTip("Measured in earlier runs on this machine" if item.measured else "What the task says of itself")
    return said
