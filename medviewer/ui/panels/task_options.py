"""What the task that answers a tool's clicks can be told, and its licence where that was not accepted yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QVBoxLayout, QWidget

from medviewer.core.errors import MedViewerError
from medviewer.plugin_host.forms import ParamSpec
from medviewer.ui.bind import Links
from medviewer.ui.dialogs.license_dialog import accept_license
from medviewer.ui.forms.param_form import ParamForm
from medviewer.ui.panels.panel import push_button

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


class TaskOptions(QWidget):
    """The form of one task; what is entered is remembered."""

    def __init__(self, app: AppContext, links: Links) -> None:
        super().__init__()
        self._app = app
        self._links = links
        self._task = ""
        self._form: ParamForm | None = None
        self._specs: tuple[ParamSpec, ...] = ()
        self.license_button = push_button(
            "taskLicense", "Accept licence…", self._accept,
            tip="This model has a licence that must be accepted before it answers",
        )  # fmt: skip
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(6)
        self._layout.addWidget(self.license_button)
        links.connect(app.models.changed, self._show_license)
        self.hide()

    def show_task(self, task_id: str) -> None:
        """Show the options of a task; none for an empty id."""
        if task_id == self._task:
            return
        self._task = task_id
        if self._form is not None:
            self._form.deleteLater()
            self._form = None
        self._show_license()
        if not task_id:
            return
        try:
            self._app.analyze.request_form(task_id, lambda specs: self._fill(task_id, specs))
        except MedViewerError as error:
            self._app.messages.error(error)

    def _show_license(self) -> None:
        task = next((task for task in self._app.plugins.tasks if task.id == self._task), None)
        self.license_button.setVisible(task is not None and self._app.models.must_accept(task))
        self._show_if_any()

    def _show_if_any(self) -> None:
        self.setVisible(bool(self._specs and self._form is not None) or not self.license_button.isHidden())

    def _accept(self) -> None:
        accept_license(self._app, self._app.plugins.task(self._task), self)

    def _fill(self, task_id: str, specs: tuple[ParamSpec, ...]) -> None:
        # The answer may come after another task was chosen, or the window closed.
        if not self._links.open or task_id != self._task or self._form is not None:
            return
        self._specs = specs
        self._form = ParamForm(specs)
        self._form.setObjectName(f"taskOptions.{task_id}")
        self._form.set_values(self._app.analyze.parameters(task_id))
        self._form.edited.connect(lambda *_: self._edited())
        self._layout.addWidget(self._form)
        self._show_if_any()

    def _edited(self) -> None:
        assert self._form is not None
        values = self._form.values()
        changed = {spec.name: values[spec.name] for spec in self._specs if values[spec.name] != spec.default}
        self._app.analyze.keep_parameters(self._task, changed)
        self._app.settings.save()
