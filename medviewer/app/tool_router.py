"""The active tool: events go to it, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from medviewer.app.effect_host import EffectHost
from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Vec3
from medviewer.core.prompt import Prompt
from medviewer.editing.editor import LabelEditor
from medviewer.editing.effect import Effect
from medviewer.editing.rules import EditRules
from medviewer.editing.tool import (
    ARROW,
    CursorSpec,
    Key,
    Modifier,
    PointerEvent,
    Tool,
    ToolContext,
    ToolInfo,
    all_tools,
)
from medviewer.plugin_host.forms import ParamSpec, describe_params

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


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
        self._before_id = "brush"
        self._editor: LabelEditor | None = None
        self._pointed: Vec3 | None = None
        self._rules = EditRules()
        #: The last range of values; kept while it does not count.
        self._range = (-100.0, 300.0)
        #: Asks whether a change that looks like a leak is wanted; the window asks the user.
        self.ask: Callable[[str], bool] = lambda text: True
        #: What the active tool, or one that stays beside it, computes.
        self.effects = EffectHost(app)
        app.workspace.active_changed.connect(self._volume_changed)

    @property
    def rules(self) -> EditRules:
        """What may be changed."""
        return self._rules

    @rules.setter
    def rules(self, rules: EditRules) -> None:
        if rules != self._rules:
            self._rules = rules
            self._range = rules.intensity or self._range
            if self.effects.editor is not None:
                self.effects.editor.rules = rules
                self.effects.rules_changed()
            self.finish()
            self.changed.emit()

    @property
    def hint(self) -> str:
        """How the active tool is used; empty when it says nothing of its own."""
        return self._made[self._active_id].hint if self._active_id else ""

    def toggle_range(self) -> None:
        """Change only voxels whose value lies in the range of the limits, or all again."""
        limited = self._rules.intensity is None
        self.rules = replace(self._rules, intensity=self._range if limited else None)
        low, high = self._range
        said = f"Tools change only values from {low:g} to {high:g}." if limited else "Tools change all values again."
        self._app.messages.add("info", said)

    @property
    def active_id(self) -> str:
        """Id of the active tool; empty when the mouse navigates."""
        return self._active_id

    @property
    def cursor(self) -> CursorSpec:
        """What the pointer looks like over a slice."""
        return self._made[self._active_id].cursor if self._active_id else ARROW

    @property
    def in_hand(self) -> bool:
        """Whether a stroke is begun and not yet a step."""
        return self._editor is not None and self._editor.stroke_open

    def options(self, tool_id: str) -> object | None:
        """Return the options (a dataclass) of a tool, or None."""
        return getattr(self._tool(tool_id), "options", None)

    def form(self, tool_id: str) -> tuple[ParamSpec, ...]:
        """Return the fields of a tool's options; where a task is chosen, those there are, the first if need be."""
        options = self.options(tool_id)
        return () if options is None else tuple(self._with_tasks(options, s) for s in describe_params(type(options)))

    def _with_tasks(self, options: object, spec: ParamSpec) -> ParamSpec:
        tasks = [task for task in self._app.plugins.tasks if task.kind == spec.tasks]
        ids = tuple(task.id for task in tasks)
        if not ids:
            return spec
        if getattr(options, spec.name) not in ids:
            setattr(options, spec.name, ids[0])
        titles = tuple(task.title for task in tasks)
        return replace(spec, kind="choice", options=ids, titles=titles, default=getattr(options, spec.name))

    def chosen_task(self, tool_id: str) -> str:
        """Return the id of the task that answers a tool, chosen among its options; empty for a tool without."""
        if not tool_id or self.options(tool_id) is None:
            return ""
        return next((str(getattr(self.options(tool_id), s.name)) for s in self.form(tool_id) if s.tasks), "")

    def options_changed(self) -> None:
        """Tell listeners that the cursor, or what a tool computes, may be different."""
        self.effects.inputs_changed()
        self.changed.emit()

    def activate(self, tool_id: str) -> None:
        """Make a tool active; an empty id gives the mouse back to navigation."""
        self._take_up(tool_id, add_segment=True)

    def _take_up(self, tool_id: str, *, add_segment: bool) -> None:
        if tool_id != self._active_id:
            self._before_id = self._active_id
        if self._active_id:
            self._made[self._active_id].deactivate()
        self._active_id = ""
        if not self._effect_stays(tool_id):
            self.effects.stop()
        if tool_id and self._app.workspace.active is not None:
            tool = self._tool(tool_id)
            self._editor = editor = LabelEditor(
                self._app.workspace, self._app.history, self._app.workspace.active.id, self._rules,
                lambda text: self.ask(text),
            )  # fmt: skip
            tool.activate(ToolContext(editor, self._prompt, self._prompts, self._apply))
            self._active_id = tool_id
            if isinstance(tool, Effect) and tool is not self.effects.effect:
                if add_segment and self._info(tool_id).group != "shape":
                    # Nothing has no shape: a new segment would only be in the way.
                    self._app.segments.ensure_one()
                self.effects.start(tool, editor, self._info(tool_id).title)
        self.changed.emit()

    def _effect_stays(self, tool_id: str) -> bool:
        """Whether what is being computed goes on beside another tool: one that draws, on the same image."""
        effect = self.effects.effect
        if effect is None or not tool_id or self._app.workspace.active is None:
            return False
        editor = self.effects.editor
        same = editor is not None and editor.volume_id == self._app.workspace.active.id
        return same and effect.stays and (self._tool(tool_id) is effect or self._info(tool_id).group == "draw")

    def pointer(self, event: PointerEvent) -> bool:
        """Give an event to the active tool; True when it was used. A refusal becomes a message."""
        self._pointed = event.lps
        if event.phase == "press" and "alt" in event.modifiers:
            self.pick()
            return True
        if not self._active_id or (event.sight is not None and not self._made[self._active_id].in_3d):
            return False
        try:
            if event.phase == "press":
                self._app.segments.ensure_one()
            self.effects.axis = event.axis
            used = self._made[self._active_id].pointer(event)
        except MedViewerError as error:
            self._app.messages.error(error)
            return True
        if used and self._made[self._active_id] is self.effects.effect:
            # A drag may also have changed an option that the form shows.
            self.options_changed()
        return used

    def pick(self) -> None:
        """Make the segment under the pointer active."""
        if self._pointed is not None:
            self._app.segments.pick(self._pointed)

    def swap(self) -> None:
        """Take up the tool that was in the hand before, or none if the mouse navigated."""
        self.activate(self._before_id)

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Give a turn of the wheel to the active tool; True when it was used."""
        if not self._active_id or not self._made[self._active_id].wheel(steps, modifiers):
            return False
        self.options_changed()
        return True

    def key(self, key: Key) -> bool:
        """Give Enter, Esc or Backspace to the active tool, then to what it computes; True when it was used."""
        try:
            if self._active_id and self._made[self._active_id].key(key):
                self.changed.emit()
                return True
        except MedViewerError as error:
            self._app.messages.error(error)
            return True
        if key == "apply":
            return self.effects.apply()
        return key == "cancel" and self.effects.discard()

    def navigate(self) -> None:
        """Esc: first drop what is begun or shown, then give the mouse back."""
        if not self.key("cancel"):
            self.activate("")

    def finish(self) -> None:
        """Commit what is in the hand, before undo, save or export."""
        if self._active_id:
            # Rules may end with the segment they name, in the middle of an undo: nothing is added then.
            self._take_up(self._active_id, add_segment=False)

    def _apply(self) -> None:
        self.effects.apply()

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
            self._made[tool_id] = self._info(tool_id).make()
        return self._made[tool_id]

    def _info(self, tool_id: str) -> ToolInfo:
        return next(info for info in self.tools if info.id == tool_id)

    def _volume_changed(self, _volume: object) -> None:
        if self._active_id:
            self.activate(self._active_id)
