"""What a tool is, and how the host finds them: one file per tool in `medviewer.editing.tools`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Vec3
from medviewer.core.prompt import Prompt
from medviewer.editing.editor import LabelEditor

Phase = Literal["press", "move", "release", "hover"]
Modifier = Literal["shift", "ctrl", "alt"]


@dataclass(frozen=True, slots=True)
class PointerEvent:
    """Something the pointer did in a slice view.

    Attributes
    ----------
    phase : "press", "move", "release" or "hover"
        Of the left button.
    lps : (float, float, float)
        LPS mm, on the shown slice.
    axis : int
        Index axis of the active volume (0 = i, 1 = j, 2 = k) normal to the view.
    modifiers : frozenset of "shift", "ctrl", "alt"
    """

    phase: Phase
    lps: Vec3
    axis: int
    modifiers: frozenset[Modifier] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class CursorSpec:
    """What the pointer looks like over a slice, and what the tool shows there.

    Attributes
    ----------
    kind : "arrow", "cross", "circle" or "box"
        A circle of a radius in mm; a box from a corner to the pointer.
    corner_lps : (float, float, float)
        LPS mm.
    prompts : tuple of Prompt
        Clicks that are shown where they are.
    """

    kind: Literal["arrow", "cross", "circle", "box"] = "arrow"
    radius_mm: float = 0.0
    corner_lps: Vec3 = (0.0, 0.0, 0.0)
    prompts: tuple[Prompt, ...] = ()


def _no_model(task_id: str, prompt: Prompt) -> None:
    raise MedViewerError("No models can be asked here.", hint="Use this tool in the window.", code="E_EDIT")


def _no_prompts(task_id: str) -> tuple[Prompt, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may use while it is active.

    Attributes
    ----------
    editor : LabelEditor
    prompt : callable
        Gives a prompt to an interactive task; its answer lands in the active segment later.
    prompts : callable
        Returns what the active segment was made with by an interactive task.
    """

    editor: LabelEditor
    prompt: Callable[[str, Prompt], None] = _no_model
    prompts: Callable[[str], tuple[Prompt, ...]] = _no_prompts


@runtime_checkable
class Tool(Protocol):
    """One way to edit. `options`, if there are any, is a dataclass; the host makes a form from it."""

    @property
    def cursor(self) -> CursorSpec:
        """What the pointer looks like now."""

    def activate(self, ctx: ToolContext) -> None:
        """Become the active tool."""

    def deactivate(self) -> None:
        """Stop; an open stroke is committed or cancelled here."""

    def pointer(self, event: PointerEvent) -> bool:
        """Take an event; True when it was used."""


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool as the list shows it."""

    id: str
    title: str
    shortcut: str
    make: Callable[[], Tool]


T = TypeVar("T", bound="Tool")


def tool(tool_id: str, title: str, shortcut: str = "") -> Callable[[type[T]], type[T]]:
    """Mark a class as a tool."""

    def mark(cls: type[T]) -> type[T]:
        cls.tool_info = ToolInfo(tool_id, title, shortcut, cls)  # type: ignore[attr-defined]  # the mark itself
        return cls

    return mark


def all_tools() -> tuple[ToolInfo, ...]:
    """Import `medviewer.editing.tools` and return what is there, in the order of the ids."""
    package = importlib.import_module("medviewer.editing.tools")
    found: dict[str, ToolInfo] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        for value in vars(module).values():
            info: Any = getattr(value, "tool_info", None) if isinstance(value, type) else None
            if isinstance(info, ToolInfo) and value.__module__ == module.__name__:
                found[info.id] = info
    return tuple(found[key] for key in sorted(found))
