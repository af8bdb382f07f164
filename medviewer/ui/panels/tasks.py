"""Analyze: one big button; under it every task, whether it fits, and its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QScrollArea, QVBoxLayout, QWidget

from medviewer.api.plugin import TaskInfo
from medviewer.app.run_tasks import PlanItem, why_not
from medviewer.plugin_host.forms import ParamSpec
from medviewer.ui.bind import Merged
from medviewer.ui.forms.param_form import ParamForm
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import Command, Panel, push_button
from medviewer.ui.text import counted, duration, label, plain_tip
from medviewer.ui.theme import color, restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

TASK_ID = Qt.ItemDataRole.UserRole


class TasksPanel(Panel):
    """The Analyze button and the list of tasks."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "tasksPanel", command, parent)
        self._asked = ""
        self._filling = False
        self._fits: dict[str, bool] = {}
        self.analyze_button = push_button(
            "analyzeButton", "Analyze", lambda: self.command("analyze"), picture="analyze",
            tip="Run what you chose in the plan; the first time, the plan is shown (F5)",
        )  # fmt: skip
        self.analyze_button.setProperty("big", True)
        self.analyze_button.setIconSize(QSize(22, 22))
        self.explain = label("", name="analyzeExplain", role="soft", wrap=True)
        self.list = QListWidget()
        self.list.setObjectName("tasksList")
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentItemChanged.connect(lambda *_: self._selected())
        self.run_button = push_button(
            "runTask", "Run this task only", self._run, picture="run", tip="Run the selected task with these values"
        )
        self._area = QScrollArea()
        self._area.setObjectName("taskParameters")
        self._area.setWidgetResizable(True)
        self._area.hide()
        self._form: ParamForm | None = None
        self.models_button = push_button(
            "modelsButton", "Models…", lambda: self.command("models"),
            tip="Every model there is, with its card (Ctrl+M)",
        )  # fmt: skip
        row = QHBoxLayout()
        row.addWidget(self.run_button)
        row.addStretch(1)
        row.addWidget(self.models_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 10, 8, 8)
        layout.setSpacing(7)
        self.plan_button = push_button(
            "planButton", "Plan…", lambda: self.command("analyze_plan"),
            tip="What fits this series, where it runs, how long it takes; choose and set (Shift+F5)",
        )  # fmt: skip
        head = QHBoxLayout()
        head.addWidget(self.analyze_button, 1)
        head.addWidget(self.plan_button)
        layout.addLayout(head)
        layout.addWidget(self.explain)
        layout.addWidget(self.list, 3)
        layout.addWidget(self._area, 2)
        layout.addLayout(row)
        self._refresh = Merged(self, self.fill)
        for signal in (
            app.workspace.active_changed, app.workspace.volume_updated, app.workspace.run_added, app.models.changed,
        ):  # fmt: skip
            self.links.connect(signal, self._refresh)
        self.fill()

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        super().close_panel()

    def fill(self) -> None:
        """Show the tasks anew: another image, or plugins were found."""
        chosen = self._chosen_id()
        volume = self.volume
        plan = {item.task.id: item for item in self.app.analyze.plan(volume.id)} if volume is not None else {}
        self._fits = {}
        self._filling = True
        self.list.clear()
        tasks = [task for task in self.app.plugins.tasks if list(task.inputs.values()) == ["volume"]]
        # What Analyze would run first, then what else fits.
        for task in sorted(tasks, key=lambda task: _rank(plan.get(task.id))):
            planned = plan.get(task.id)
            by_tags = why_not(task, volume) if volume is not None else ""
            # What the image only looks like is said, and left to the user.
            note = planned.reason if planned is not None else by_tags
            self._fits[task.id] = not by_tags
            about = f"about {duration(planned.seconds)}" if planned is not None else ""
            self.list.addItem(_task_item(task, note or about, grey=bool(by_tags)))
            if task.id == chosen:
                self.list.setCurrentRow(self.list.count() - 1)
        for broken in self.app.plugins.broken:
            self.list.addItem(_broken_item(broken.name, broken.reason))
        self._filling = False
        if not self._chosen_id():
            self._selected()
        fitting = [item for item in plan.values() if item.fits]
        ticked = [item for item in fitting if item.chosen]
        self.analyze_button.setEnabled(bool(fitting))
        self.plan_button.setEnabled(self.volume is not None)
        self._explain(len(fitting), len(ticked), sum(item.seconds for item in ticked))
        self._enable()

    def suggest(self, on: bool) -> None:
        """Make the button stand out, or not."""
        if bool(self.analyze_button.property("next")) != on:
            self.analyze_button.setProperty("next", on)
            restyle(self.analyze_button)

    def _explain(self, count: int, chosen: int, seconds: float) -> None:
        if self.volume is None:
            text = "Open a series, then press Analyze."
        elif self.volume.id in self.app.loading:
            text = "The series is still loading."
        elif count:
            text = f"{counted(count, 'task')} {'fits' if count == 1 else 'fit'} this series; "
            text += f"Analyze runs {chosen}, about {duration(seconds)}. " if chosen else "choose in the plan. "
            text += "Everything stays on this machine."
        else:
            text = "No task fits this series; the list says what each one is made for."
        self.explain.setText(text)

    def _chosen_id(self) -> str:
        row = self.list.currentRow()
        return str(self.list.item(row).data(TASK_ID) or "") if row >= 0 else ""

    def _selected(self) -> None:
        if self._filling:
            return
        task_id = self._chosen_id()
        self._enable()
        if task_id == self._asked:
            return
        self._asked = task_id
        self._area.hide()
        if task_id:
            self.attempt(lambda: self.app.analyze.request_form(task_id, lambda specs: self._show_form(task_id, specs)))

    def _show_form(self, task_id: str, specs: tuple[ParamSpec, ...]) -> None:
        if task_id != self._asked:
            return
        self._form = ParamForm(specs)
        self._form.setObjectName(f"taskForm.{task_id}")
        self._area.setWidget(self._form)
        self._area.setVisible(bool(specs))

    def _enable(self) -> None:
        task_id = self._chosen_id()
        self.run_button.setEnabled(bool(task_id) and self.volume is not None and self._fits.get(task_id, True))

    def _run(self) -> None:
        task_id, volume = self._chosen_id(), self.volume
        if task_id and volume is not None:
            values = self._form.values() if self._form is not None and self._asked == task_id else {}
            self.attempt(lambda: self.app.analyze.start(volume.id, [task_id], {task_id: values}))


def _rank(planned: PlanItem | None) -> int:
    if planned is None or not planned.fits:
        return 2
    return 0 if planned.chosen else 1


def _task_item(task: TaskInfo, note: str, *, grey: bool) -> QListWidgetItem:
    item = QListWidgetItem(
        icon(task.kind, "soft" if grey else "accent"), f"{task.title}\n{note}" if note else task.title
    )
    item.setData(TASK_ID, task.id)
    facts = [
        task.title,
        task.description,
        f"Model {task.id} {task.model_version}" if task.model else f"{task.kind}, {task.plugin} {task.plugin_version}",
        f"Licence: {task.license}",
        f"Reaches beyond this program: {', '.join(sorted(task.reaches))}" if task.reaches else "",
    ]
    item.setToolTip(plain_tip("\n".join(fact for fact in facts if fact)))
    if grey:
        item.setForeground(color("soft"))
    return item


def _broken_item(name: str, reason: str) -> QListWidgetItem:
    item = QListWidgetItem(icon("warning", "disabled"), f"{name}\n{reason}")
    item.setFlags(Qt.ItemFlag.NoItemFlags)
    item.setForeground(color("disabled"))
    item.setToolTip(plain_tip(f"{name} cannot be used: {reason}"))
    return item
