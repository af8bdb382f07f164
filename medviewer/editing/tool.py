"""What a tool is, and how the host finds them: one file per tool in `medviewer.editing.tools`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, runtime_checkable

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry, Points, Vec3
from medviewer.core.prompt import Prompt
from medviewer.editing.editor import LabelEditor

Phase = Literal["press", "move", "release", "hover", "double"]
Key = Literal["apply", "cancel", "back"]
ToolGroup = Literal["draw", "grow", "shape", "model"]
Modifier = Literal["shift", "ctrl", "alt"]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Where the pointer is on the screen of a 3D view, and what is seen there.

    Attributes
    ----------
    point : (float, float)
        Device pixels from the top left.
    world_to_screen : float array (4, 4)
        From LPS mm (x, y, z, 1) to (x, y, depth, w) before the division by w; depth is 0 at the eye's end of what is
        seen and 1 at the far end, w is above 0 before the eye.
    """

    point: tuple[float, float]
    world_to_screen: Points


@dataclass(frozen=True, slots=True)
class PointerEvent:
    """Something the pointer did in a view.

    Attributes
    ----------
    phase : "press", "move", "release", "hover" or "double"
        Of the left button; a double click comes after the press and release of its first click.
    lps : (float, float, float)
        LPS mm, on the shown slice; in 3D on what is seen there, else beside it.
    axis : int
        Index axis of the active volume (0 = i, 1 = j, 2 = k) normal to the view, or nearest to it in 3D.
    modifiers : frozenset of "shift", "ctrl", "alt"
    mm_per_pixel : float
        Of the desktop, in a slice; 0 where nobody knows.
    view_mm : float
        Shorter side of the view of a slice; 0 where nobody knows.
    pressure : float
        Of a pen, 0..1; 1 for a mouse.
    sight : Sight or None
        In a 3D view only; goes to tools that are `in_3d`.
    tilted : Geometry or None
        Grid of a view that is turned against the active volume's (`core.tilt`): `axis` is then an axis of this grid,
        and `lps` lies on one of its slices. None where the view follows the volume's own grid, and in 3D.
    """

    phase: Phase
    lps: Vec3
    axis: int
    modifiers: frozenset[Modifier] = field(default_factory=frozenset)
    mm_per_pixel: float = 0.0
    view_mm: float = 0.0
    pressure: float = 1.0
    sight: Sight | None = None
    tilted: Geometry | None = None


@dataclass(frozen=True, slots=True)
class CursorLine:
    """A line over the slices in which its points lie.

    Attributes
    ----------
    points_lps : tuple of (float, float, float)
        LPS mm.
    closed : bool
        Whether the last point is joined to the first.
    handles : bool
        Whether the points can be taken hold of.
    in_3d : bool
        Whether it is shown in the 3D view, and in no slice.
    """

    points_lps: tuple[Vec3, ...]
    closed: bool = False
    handles: bool = False
    in_3d: bool = False


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
    lines : tuple of CursorLine
    in_3d : bool
        Whether the pointer is the tool's in the 3D view too.
    """

    kind: Literal["arrow", "cross", "circle", "box"] = "arrow"
    radius_mm: float = 0.0
    corner_lps: Vec3 = (0.0, 0.0, 0.0)
    prompts: tuple[Prompt, ...] = ()
    lines: tuple[CursorLine, ...] = ()
    in_3d: bool = False


ARROW = CursorSpec()


def _no_model(task_id: str, prompt: Prompt) -> None:
    raise MedViewerError("No models can be asked here.", hint="Use this tool in the window.", code="E_EDIT")


def _no_host() -> None:
    """Whoever holds the tool applies what it plans."""


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
    apply : callable
        For an `Effect` that does not wait for Enter: computes, and applies the result when it is there.
    """

    editor: LabelEditor
    prompt: Callable[[str, Prompt], None] = _no_model
    prompts: Callable[[str], tuple[Prompt, ...]] = _no_prompts
    apply: Callable[[], None] = _no_host


@runtime_checkable
class Tool(Protocol):
    """One way to edit. `options`, if there are any, is a dataclass; the host makes a form from it."""

    hint: ClassVar[str]

    @property
    def in_3d(self) -> bool:
        """Whether it takes the left button in the 3D view too."""

    @property
    def cursor(self) -> CursorSpec:
        """What the pointer looks like now."""

    def activate(self, ctx: ToolContext) -> None:
        """Become the active tool."""

    def deactivate(self) -> None:
        """Stop; an open stroke is committed or cancelled here."""

    def pointer(self, event: PointerEvent) -> bool:
        """Take an event; True when it was used."""

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Take a turn of the wheel away from the user (positive) or towards him; True when it was used."""

    def key(self, key: Key) -> bool:
        """Take Enter ("apply"), Esc ("cancel") or Backspace ("back"); True when it was used."""


class BaseTool:
    """A tool that does nothing; tools say only in what they differ.

    Attributes
    ----------
    ctx : ToolContext or None
        None while the tool is not active.
    hint : str
        One line for the status bar.
    """

    hint: ClassVar[str] = ""

    def __init__(self) -> None:
        self.ctx: ToolContext | None = None

    @property
    def in_3d(self) -> bool:
        """Whether it takes the left button in the 3D view too: it does not."""
        return False

    @property
    def cursor(self) -> CursorSpec:
        """An arrow."""
        return ARROW

    def activate(self, ctx: ToolContext) -> None:
        """Become the active tool."""
        self.ctx = ctx

    def deactivate(self) -> None:
        """Stop."""
        self.ctx = None

    def pointer(self, event: PointerEvent) -> bool:
        """Leave the event to the view."""
        return False

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Leave the wheel to the view."""
        return False

    def key(self, key: Key) -> bool:
        """Leave the key to the window."""
        return False

    def applied(self) -> None:
        """Go on: a tool whose clicks say what it computes forgets them here."""


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool as the list shows it.

    Attributes
    ----------
    group : "draw", "grow", "shape" or "model"
        Row of the palette.
    """

    id: str
    title: str
    shortcut: str
    make: Callable[[], Tool]
    group: ToolGroup = "draw"


T = TypeVar("T", bound="Tool")


def tool(tool_id: str, title: str, shortcut: str = "", group: ToolGroup = "draw") -> Callable[[type[T]], type[T]]:
    """Mark a class as a tool."""

    def mark(cls: type[T]) -> type[T]:
        cls.tool_info = ToolInfo(tool_id, title, shortcut, cls, group)  # type: ignore[attr-defined]  # the mark itself
        return cls

    return mark


def all_tools() -> tuple[ToolInfo, ...]:
    """Import `medviewer.editing.tools` and return what is there, by group and then by id."""
    package = importlib.import_module("medviewer.editing.tools")
    found: dict[str, ToolInfo] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        for value in vars(module).values():
            info: Any = getattr(value, "tool_info", None) if isinstance(value, type) else None
            if isinstance(info, ToolInfo) and value.__module__ == module.__name__:
                found[info.id] = info
    groups = get_args(ToolGroup)
    return tuple(sorted(found.values(), key=lambda info: (groups.index(info.group), info.id)))
