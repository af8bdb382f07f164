"""Registration of two open images: choose, run, see the measure before and after, look at the overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFormLayout, QFrame, QHBoxLayout, QScrollArea, QSlider, QVBoxLayout, QWidget

from medviewer.app.positions import differ_in_frame
from medviewer.core.workspace import Registration
from medviewer.plugin_host.forms import ParamSpec
from medviewer.ui.bind import Merged
from medviewer.ui.forms.param_form import ParamForm
from medviewer.ui.panels.panel import Command, Panel, push_button
from medviewer.ui.panels.volumes import volume_title
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


class RegistrationPanel(Panel):
    """Aligns a moving image to a fixed one."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "registrationPanel", command, parent)
        self._form: ParamForm | None = None
        self._asked = ""
        self.hint = label("", name="registrationHint", role="soft", wrap=True)
        self.fixed, self.moving, self.method, self.done = (
            self._combo(name, tip)
            for name, tip in (
                ("fixedVolume", "Stays where it is"),
                ("movingVolume", "Is moved onto the fixed image"),
                ("registrationMethod", "How"),
                ("registrationResult", "Registrations made so far"),
            )
        )
        self.run_button = push_button("runRegistration", "Register", self._run, picture="registration")
        self.measure = label("", name="registrationMeasure", wrap=True)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setObjectName("registrationOpacity")
        self.opacity.setRange(0, 100)
        self.opacity.setValue(50)
        self.opacity.setAccessibleName("Overlay opacity")
        self._lay_out()
        for combo in (self.fixed, self.moving):
            combo.currentIndexChanged.connect(lambda _: self._enable())
        self.method.currentIndexChanged.connect(lambda _: self._method_chosen())
        self.done.activated.connect(lambda _: self._show_chosen())
        self.opacity.valueChanged.connect(lambda value: self.app.registration.set_opacity(value / 100))
        self._refresh = Merged(self, self.fill)
        for signal in (
            app.workspace.volume_added,
            app.workspace.volume_removed,
            app.workspace.registrations_changed,
            app.workspace.overlay_changed,
        ):
            self.links.connect(signal, self._refresh)
        self.fill()

    def _lay_out(self) -> None:
        self._parameters = QVBoxLayout()
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for title, combo in (("Fixed", self.fixed), ("Moving", self.moving), ("Method", self.method)):
            form.addRow(title, combo)
        self.hide_button = push_button("hideOverlay", "Hide overlay", lambda: self.app.registration.show_overlay(None))
        self.show_button = push_button("showOverlay", "Show overlay", self._show_chosen)
        shown = QHBoxLayout()
        shown.addWidget(self.show_button)
        shown.addWidget(self.hide_button)
        shown.addStretch(1)
        result = QFormLayout()
        result.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        result.addRow("Result", self.done)
        result.addRow("Overlay", self.opacity)
        inside = QWidget()
        area = QScrollArea()
        area.setObjectName("registrationArea")
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(8, 10, 8, 8)
        layout.setSpacing(7)
        layout.addWidget(self.hint)
        layout.addLayout(form)
        layout.addWidget(self.run_button)
        layout.addSpacing(8)
        layout.addLayout(result)
        layout.addWidget(self.measure)
        layout.addLayout(shown)
        # Last: what came out must be seen without scrolling, the values of the method need not.
        layout.addSpacing(8)
        layout.addLayout(self._parameters)
        layout.addStretch(1)

    def _combo(self, name: str, tip: str) -> QComboBox:
        combo = QComboBox()
        combo.setObjectName(name)
        combo.setToolTip(tip)
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(10)
        return combo

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        super().close_panel()

    def fill(self) -> None:
        """Show what is open, the methods there are, and what was registered."""
        volumes = [(volume_title(v), v.id) for v in self.app.workspace.volumes]
        _set_items(self.fixed, volumes, default=0)
        _set_items(self.moving, volumes, default=1)
        if len(volumes) > 1 and self.moving.currentData() == self.fixed.currentData():
            self.moving.setCurrentIndex((self.fixed.currentIndex() + 1) % len(volumes))
        methods = [(t.title, t.id) for t in self.app.plugins.tasks if t.kind == "registration"]
        _set_items(self.method, methods, default=0)
        results = [(self._result_title(r), r.id) for r in self.app.workspace.registrations]
        _set_items(self.done, results, default=len(results) - 1)
        overlay = self.app.workspace.overlay
        if overlay is not None and round(overlay.opacity * 100) != self.opacity.value():
            self.opacity.setValue(round(overlay.opacity * 100))
        self._enable()

    def _result_title(self, registration: Registration) -> str:
        names = {v.id: v.name for v in self.app.workspace.volumes}
        return f"{registration.name}: {names.get(registration.moving_id, '')} → {names.get(registration.fixed_id, '')}"

    def _enable(self) -> None:
        count = len(self.app.workspace.volumes)
        two = count > 1 and self.fixed.currentData() != self.moving.currentData()
        self.run_button.setEnabled(two and self.method.count() > 0)
        hint = "Aligns the moving image to the fixed one."
        if two and self._frames_differ():
            hint += " Their frames of reference differ: until then, places in them are not comparable."
        if count < 2:
            hint = "Open two series to align one to the other."
        elif not two:
            hint = "Choose two different images."
        elif not self.method.count():
            hint = "No registration plugin is installed."
        self.hint.setText(hint)
        has_result = self.done.count() > 0
        overlay = self.app.workspace.overlay is not None
        self.done.setEnabled(has_result)
        self.show_button.setEnabled(has_result and not overlay)
        self.hide_button.setEnabled(overlay)
        self.opacity.setEnabled(overlay)
        chosen = next((r for r in self.app.workspace.registrations if r.id == self.done.currentData()), None)
        lines = [f"{name}: {value:.4g}" for name, value in chosen.measures.items()] if chosen is not None else []
        self.measure.setText("\n".join(lines))
        if self.isVisible():
            self._ask_form()

    def _frames_differ(self) -> bool:
        workspace = self.app.workspace
        ids = [str(box.currentData()) for box in (self.fixed, self.moving)]
        return all(map(workspace.has_volume, ids)) and differ_in_frame(*map(workspace.volume, ids))

    def _method_chosen(self) -> None:
        self._asked = ""
        if self._form is not None:
            self._form.hide()
            self._form.deleteLater()
            self._form = None
        if self.isVisible():
            self._ask_form()

    def showEvent(self, event: object) -> None:  # noqa: D102
        self._ask_form()

    def _ask_form(self) -> None:
        task_id = str(self.method.currentData() or "")
        if task_id and task_id != self._asked and len(self.app.workspace.volumes) > 1:
            self._asked = task_id
            self.attempt(lambda: self.app.analyze.request_form(task_id, lambda specs: self._show_form(task_id, specs)))

    def _show_form(self, task_id: str, specs: tuple[ParamSpec, ...]) -> None:
        if task_id == self._asked and self._form is None:
            self._form = ParamForm(specs)
            self._form.setObjectName(f"taskForm.{task_id}")
            self._parameters.addWidget(self._form)

    def _run(self) -> None:
        fixed, moving, task_id = (str(c.currentData()) for c in (self.fixed, self.moving, self.method))
        values = self._form.values() if self._form is not None else {}
        self.attempt(lambda: self.app.registration.start(fixed, moving, task_id, values))

    def _show_chosen(self) -> None:
        chosen = self.done.currentData()
        if chosen is not None:
            self.attempt(lambda: self.app.registration.show_overlay(str(chosen), self.opacity.value() / 100))
        self._enable()


def _set_items(combo: QComboBox, items: list[tuple[str, str]], default: int) -> None:
    """Show other items, keeping the chosen one when it is still there."""
    shown = [(combo.itemText(n), combo.itemData(n)) for n in range(combo.count())]
    if shown == items:
        return
    chosen = combo.currentData()
    combo.clear()
    for title, data in items:
        combo.addItem(title, data)
    at = combo.findData(chosen) if chosen is not None else -1
    combo.setCurrentIndex(at if at >= 0 else min(default, len(items) - 1))
