"""The tools and their options, what they may paint over, undo and redo by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.actions import GROUP_TITLES
from medviewer.editing.rules import EditRules
from medviewer.editing.tool import ToolInfo
from medviewer.ui.forms.param_form import ParamForm
from medviewer.ui.icons import icon
from medviewer.ui.panels.effect_row import EffectRow
from medviewer.ui.panels.histogram import ToolHistogram
from medviewer.ui.panels.limits import Limits
from medviewer.ui.panels.panel import Command, Panel, tool_button
from medviewer.ui.panels.task_options import TaskOptions
from medviewer.ui.text import label, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

TOOLS_IN_ROW = 10
LIMITS = "Limits: what tools may change"
LIMITED = "Limits are set: tools do not change everything"

#: Options of the brush that are kept between sessions, and the settings that keep them.
REMEMBERED = {"radius_mm": "brush_radius_mm", "shape": "brush_shape"}


class ToolsPanel(Panel):
    """Buttons made from the tools that exist, and the options of the active one."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "toolsPanel", command, parent)
        self._forms: dict[str, ParamForm] = {}
        self._buttons: dict[str, QToolButton] = {}
        self._group = QButtonGroup(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 4)
        layout.setSpacing(6)
        layout.addLayout(self._make_palette())
        self.title = label("", role="title")
        self.title.setObjectName("toolTitle")
        self._options = QVBoxLayout()
        self.limits = tool_button("toolLimits", "settings", self._show, LIMITS)
        self.limits.setCheckable(True)
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.limits)
        self.rules = Limits(app, self.links, self)
        self.rules.closed.connect(lambda: self.limits.setChecked(False))
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(head)
        self.histogram = ToolHistogram(app, self.links)
        column.addWidget(self.histogram)
        column.addLayout(self._options)
        self.task_options = TaskOptions(app, self.links)
        column.addWidget(self.task_options)
        layout.addWidget(Room(inside))
        self.effect = EffectRow(app, self.links)
        layout.addWidget(self.effect)
        self._take_remembered()
        self.links.connect(app.router.changed, self._show)
        self.links.connect(app.history.changed, self._show)
        self.links.connect(app.workspace.active_changed, self._show)
        self.links.connect(app.models.changed, self._models_changed)
        self.links.connect(app.keys.changed, self._show_tips)
        self._show_tips()
        self._show()

    def _make_palette(self) -> QGridLayout:
        """A row of buttons for each group of tools, or as many rows as it needs."""
        grid = QGridLayout()
        grid.setSpacing(1)
        grid.setColumnStretch(TOOLS_IN_ROW + 1, 1)
        navigate = tool_button(
            "tool.navigate", "tools/navigate", partial(self.app.router.activate, ""), "Navigate (Esc)"
        )
        self._add_tool("", navigate)
        self.undo_button = tool_button("undoButton", "undo", partial(self.command, "undo"), "Undo")
        self.redo_button = tool_button("redoButton", "redo", partial(self.command, "redo"), "Redo")
        for column, button in enumerate((navigate, self.undo_button, self.redo_button), start=1):
            grid.addWidget(button, 0, column)
        row = 1
        for group, title in GROUP_TITLES.items():
            tools = [tool for tool in self.app.router.tools if tool.group == group]
            if group == "model":
                # What asks a model has room in the first row.
                first = TOOLS_IN_ROW + 1 - len(tools)
                self._add_row(grid, tools, 0, first)
                continue
            if tools:
                grid.addWidget(label(title, role="soft"), row, 0)
            for start in range(0, len(tools), TOOLS_IN_ROW):
                self._add_row(grid, tools[start : start + TOOLS_IN_ROW], row, 1)
                row += 1
        return grid

    def _add_row(self, grid: QGridLayout, tools: Sequence[ToolInfo], row: int, column: int) -> None:
        for n, info in enumerate(tools):
            activate = partial(self.app.router.activate, info.id)
            button = tool_button(f"tool.{info.id}", f"tools/{info.id}", activate, info.title)
            self._add_tool(info.id, button)
            grid.addWidget(button, row, column + n)

    def _show_tips(self) -> None:
        for info in self.app.router.tools:
            keys = self.app.keys.of(info.id, info.shortcut)
            self._buttons[info.id].setToolTip(f"{info.title} ({keys[0]})" if keys else info.title)

    def _add_tool(self, tool_id: str, button: QToolButton) -> None:
        button.setCheckable(True)
        button.setProperty("dense", True)
        self._group.addButton(button)
        self._buttons[tool_id] = button

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self.effect.stop()
        self.rules.close_limits()
        super().close_panel()

    def _show(self, *_: object) -> None:
        router, history = self.app.router, self.app.history
        usable = self.volume is not None
        for tool_id, button in self._buttons.items():
            button.setEnabled(usable or not tool_id)
            button.setChecked(tool_id == router.active_id)
        for button, possible, verb, what in (
            (self.undo_button, history.can_undo, "Undo", history.undo_label),
            (self.redo_button, history.can_redo, "Redo", history.redo_label),
        ):
            button.setEnabled(possible)
            button.setToolTip(plain_tip(f"{verb} {what}".strip()))
        active = next((tool for tool in router.tools if tool.id == router.active_id), None)
        self.title.setText(active.title if active is not None else "")
        self.title.setVisible(active is not None)
        for tool_id, form in self._forms.items():
            form.setVisible(tool_id == router.active_id)
        if router.active_id and router.active_id not in self._forms:
            self._add_form(router.active_id)
        if router.active_id in self._forms:
            self._load(router.active_id)
        self.task_options.show_task(router.chosen_task(router.active_id))
        self.limits.setVisible(active is not None)
        limited = router.rules != EditRules(area_segment=router.rules.area_segment)
        self.limits.setIcon(icon("settings", "warning" if limited else "text"))
        self.limits.setToolTip(plain_tip(LIMITED if limited else LIMITS))
        if active is not None and self.limits.isChecked():
            self.rules.show_beside(self.limits)
        else:
            self.rules.hide()

    def _add_form(self, tool_id: str) -> None:
        if self.app.router.options(tool_id) is None:
            return
        form = ParamForm(self.app.router.form(tool_id), columns=2)
        form.setObjectName(f"toolOptions.{tool_id}")
        form.edited.connect(lambda name, value: self._option_edited(tool_id, name, value))
        self._forms[tool_id] = form
        self._options.addWidget(form)

    def _models_changed(self) -> None:
        """Make the forms anew in which a task is chosen: others are there now."""
        for tool_id in [tool_id for tool_id in self._forms if self.app.router.chosen_task(tool_id)]:
            self._forms.pop(tool_id).deleteLater()
        self._show()

    def _load(self, tool_id: str) -> None:
        options = self.app.router.options(tool_id)
        form = self._forms[tool_id]
        segmentation = self.app.workspace.active_segmentation
        form.show_segments(segmentation.segments if segmentation is not None else ())
        form.show_lengths_in("mm" if self.volume is None or self.volume.in_mm else "px")
        shown = form.values()
        actual = {name: getattr(options, name) for name in shown}
        if shown != actual:
            form.set_values(actual)
            self._remember(options)

    def _option_edited(self, tool_id: str, name: str, value: object) -> None:
        options = self.app.router.options(tool_id)
        if options is not None and getattr(options, name) != value:
            setattr(options, name, value)
            self._remember(options)
            self.app.router.options_changed()

    def _take_remembered(self) -> None:
        """Give the brush what the settings say."""
        options = self.app.router.options("brush")
        for name, setting in REMEMBERED.items():
            if hasattr(options, name):
                setattr(options, name, getattr(self.app.settings, setting))

    def _remember(self, options: object) -> None:
        if options is self.app.router.options("brush"):
            for name, setting in REMEMBERED.items():
                setattr(self.app.settings, setting, getattr(options, name))


class Room(QScrollArea):
    """As high as what is inside; where there is not so much room, that can be scrolled."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setWidget(inside)
        self._inside = inside
        inside.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take another size when what is inside does."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return False

    def sizeHint(self) -> QSize:
        """As high as what is inside."""
        return self._inside.sizeHint()

    def minimumSizeHint(self) -> QSize:
        """Room for two lines, if there is anything at all."""
        hint = self._inside.minimumSizeHint()
        return QSize(hint.width(), min(hint.height(), 64))
