"""The active tool: events go to it, and to nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from medviewer.core.errors import MedViewerError
from medviewer.core.prompt import Prompt
from medviewer.editing.editor import LabelEditor
from medviewer.editing.rules import EditRules
from medviewer.editing.tool import CursorSpec, PointerEvent, Tool, ToolContext, ToolInfo, all_tools
from medviewer.plugin_host.forms import ParamSpec, describe_params

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

ARROW = CursorSpec()


class ToolRouter:
    """Knows the tools, holds the active one, and deactivates it when the volume or the tool changes.

    Signals
    -------
    changed()
        Another tool is active, or its cursor changed.
    """

    changed = Signal()

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self.tools: tuple[ToolInfo, ...] = all_tools()
        self._made: dict[str, Tool] = {}
        self._active_id = ""
        self.rules = EditRules()
        app.workspace.active_changed.connect(self._volume_changed)

    @property
    def active_id(self) -> str:
        """Id of the active tool; empty when the mouse navigates."""
        return self._active_id

    @property
    def cursor(self) -> CursorSpec:
        """What the pointer looks like over a slice."""
        return self._made[self._active_id].cursor if self._active_id else ARROW

    def options(self, tool_id: str) -> object | None:
        """Return the options (a dataclass) of a tool, or None."""
        return getattr(self._tool(tool_id), "options", None)

    def form(self, tool_id: str) -> tuple[ParamSpec, ...]:
        """Return the fields of a tool's options; where a task is chosen, those there are, the first if need be."""
        options = self.options(tool_id)
        return () if options is None else tuple(self._with_tasks(options, s) for s in describe_params(type(options)))

    def _with_tasks(self, options: object, spec: ParamSpec) -> ParamSpec:
        ids = tuple(task.id for task in self._app.plugins.tasks if task.kind == spec.tasks)
        if not ids:
            return spec
        if getattr(options, spec.name) not in ids:
            setattr(options, spec.name, ids[0])
        return replace(spec, kind="choice", options=ids, default=getattr(options, spec.name))

    def options_changed(self) -> None:
        """Tell listeners that the cursor may look different."""
        self.changed.emit()

    def activate(self, tool_id: str) -> None:
        """Make a tool active; an empty id gives the mouse back to navigation."""
        if self._active_id:
            self._made[self._active_id].deactivate()
        self._active_id = ""
        if tool_id and self._app.workspace.active is not None:
            tool = self._tool(tool_id)
            editor = LabelEditor(self._app.workspace, self._app.history, self._app.workspace.active.id, self.rules)
            tool.activate(ToolContext(editor, self._prompt, self._prompts))
            self._active_id = tool_id
        self.changed.emit()

    def pointer(self, event: PointerEvent) -> bool:
        """Give an event to the active tool; True when it was used. A refusal becomes a message."""
        if not self._active_id:
            return False
        try:
            if event.phase == "press":
                self._app.segments.ensure_one()
            return self._made[self._active_id].pointer(event)
        except MedViewerError as error:
            self._app.messages.error(error)
            return True

    def finish(self) -> None:
        """Commit what is in the hand, before undo, save or export."""
        if self._active_id:
            self.activate(self._active_id)

    def _prompt(self, task_id: str, prompt: Prompt) -> None:
        volume = self._app.workspace.active
        if volume is not None:
            self._app.interactive.prompt(volume.id, task_id, prompt)

    def _prompts(self, task_id: str) -> tuple[Prompt, ...]:
        volume = self._app.workspace.active
        if volume is None:
            return ()
        segmentation = self._app.workspace.segmentation(volume.id)
        segment = segmentation.find(segmentation.active)
        return () if segment is None else self._app.interactive.prompts(segment, task_id)

    def _tool(self, tool_id: str) -> Tool:
        if tool_id not in self._made:
            self._made[tool_id] = next(info for info in self.tools if info.id == tool_id).make()
        return self._made[tool_id]

    def _volume_changed(self, _volume: object) -> None:
        if self._active_id:
            self.activate(self._active_id)
