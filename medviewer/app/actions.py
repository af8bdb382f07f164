"""Commands as data: what menus, toolbars and shortcuts are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from medviewer.app.context import AppContext
from medviewer.app.flags import (
    always,
    can_redo,
    can_undo,
    has_a_segment,
    has_active_segment,
    has_depth,
    has_frames,
    has_grey,
    has_suv,
    has_unit,
    has_volume,
    is_dirty,
    is_turned,
    may_have_hounsfield,
)
from medviewer.app.windows import auto_window, percentile_window
from medviewer.core.errors import MedViewerError
from medviewer.core.suv import BQML, PET_UNITS, SUV_BSA, SUV_BW, SUV_LBM
from medviewer.core.tilt import STRAIGHT
from medviewer.core.view_state import LABEL_STYLES, WindowLevel
from medviewer.editing.tool import ToolGroup, all_tools


class Ui(Protocol):
    """What a command may ask of the window."""

    def ask_open_paths(self) -> list[Path]:
        """Let the user choose files."""

    def ask_open_folder(self) -> list[Path]:
        """Let the user choose a folder."""

    def ask_segment_paths(self) -> list[Path]:
        """Let the user choose files of segments."""

    def ask_save_path(self, suffix: str) -> Path | None:
        """Let the user choose where to save."""

    def confirm(self, text: str) -> bool:
        """Ask a yes-or-no question."""

    def show_about(self) -> None:
        """Show the About box."""

    def show_export(self) -> None:
        """Show the export dialog."""

    def show_analyze(self) -> None:
        """Show what Analyze would run."""

    def show_models(self) -> None:
        """Show the models there are."""

    def show_terms(self) -> None:
        """Let the user say what the active segment is."""

    def show_compare(self) -> None:
        """Compare two segments of the image that is looked at."""

    def show_statistics(self) -> None:
        """Measure the segments of the image that is looked at."""

    def show_library(self) -> None:
        """Show the library of studies."""

    def show_pacs(self) -> None:
        """Show the servers and what they have."""

    def show_priors(self) -> None:
        """Search the server used last for other studies of the patient who is looked at."""

    def show_send(self) -> None:
        """Let the user choose what of the image that is looked at to send, and to which server."""

    def show_settings(self) -> None:
        """Show the settings."""

    def show_shortcuts(self) -> None:
        """Show all commands with their keys."""

    def play(self) -> None:
        """Play a film or the points of a time axis, or pause."""

    def step_frames(self, by: int) -> None:
        """Go by frames, pictures or time points."""

    def reset_views(self) -> None:
        """Fit all views."""

    def reset_layout(self) -> None:
        """Put all panels back to where they were at the first start."""

    def quit(self) -> None:
        """Close the window; asks when work is unsaved."""


Run = Callable[[AppContext, Ui], None]


@dataclass(frozen=True, slots=True)
class Action:
    """One command.

    Attributes
    ----------
    id : str
        Stable; the QAction's object name.
    menu : str
        Menu it is in; ``"A/B"`` is a submenu. Empty: shortcut only.
    enabled : callable
        Whether it can run now.
    """

    id: str
    title: str
    shortcut: str
    menu: str
    enabled: Callable[[AppContext], bool]
    run: Run


def _guarded(run: Run) -> Run:
    """A refusal of a command is a message, not a traceback."""

    def guarded(app: AppContext, ui: Ui) -> None:
        try:
            run(app, ui)
        except MedViewerError as error:
            app.messages.error(error)

    return guarded


def open_paths(app: AppContext, ui: Ui, paths: list[Path]) -> None:
    """Open what the user chose or dropped; a saved workspace takes the place of what is open, after asking."""
    if not paths:
        return
    replaces = len(paths) == 1 and paths[0].suffix == ".mvw" and app.workspace.dirty
    if not replaces or ui.confirm("Opening a saved workspace closes the present one. Its unsaved work is lost. Go on?"):
        app.studies.scan(paths, open_best=True)


def _open_folder(app: AppContext, ui: Ui) -> None:
    open_paths(app, ui, ui.ask_open_folder())


def _open_files(app: AppContext, ui: Ui) -> None:
    open_paths(app, ui, ui.ask_open_paths())


def _load_segments(app: AppContext, ui: Ui) -> None:
    """Load files of segments onto the image that is looked at."""
    volume = app.workspace.active
    if volume is not None:
        for path in ui.ask_segment_paths():
            app.attach.start(volume.id, path)


def _previous_segment(app: AppContext, ui: Ui) -> None:
    app.segments.step_active(False)


def _next_segment(app: AppContext, ui: Ui) -> None:
    app.segments.step_active(True)


def _save(app: AppContext, ui: Ui) -> None:
    path = app.documents.path or ui.ask_save_path(".mvw")
    if path is not None:
        app.documents.save(path)


def _save_as(app: AppContext, ui: Ui) -> None:
    path = ui.ask_save_path(".mvw")
    if path is not None:
        app.documents.save(path)


def _close_volume(app: AppContext, ui: Ui) -> None:
    volume = app.workspace.active
    if volume is None:
        return
    work = app.workspace
    edited = bool(work.segmentation(volume.id).segments or work.boxes(volume.id) or work.assessments(volume.id))
    if edited and not ui.confirm(f"Close “{volume.name}” with its segments and findings?"):
        return
    app.documents.close_volume(volume.id)


def _delete_segment(app: AppContext, ui: Ui) -> None:
    segmentation = app.workspace.active_segmentation
    if segmentation is not None and segmentation.active:
        app.segments.remove(segmentation.volume_id, segmentation.active)


def _add_segment(app: AppContext, ui: Ui) -> None:
    if app.workspace.active is not None:
        app.segments.add(app.workspace.active.id)


def _new_instance(app: AppContext, ui: Ui) -> None:
    segmentation = app.workspace.active_segmentation
    if segmentation is not None and segmentation.active:
        app.segments.new_instance(segmentation.volume_id, segmentation.active)


def _analyze(app: AppContext, ui: Ui) -> None:
    """Run what was chosen the last time; the first time, or when there is something new, show the plan."""
    volume = app.workspace.active
    if volume is None:
        return
    if app.analyze.needs_decision(volume.id):
        ui.show_analyze()
    else:
        app.analyze.start_chosen(volume.id)


def window_preset(center: float, width: float) -> Run:
    """Return a command that sets a window."""

    def run(app: AppContext, ui: Ui) -> None:
        app.workspace.view.window = WindowLevel(center, width)

    return run


def _auto_window(app: AppContext, ui: Ui) -> None:
    if app.workspace.active is not None:
        app.workspace.view.window = percentile_window(app.workspace.active)


def _file_window(app: AppContext, ui: Ui) -> None:
    """Show the image as its own file says: also without the shutter of a presentation state."""
    volume = app.workspace.active
    if volume is not None:
        if volume.shutter is not None:
            app.workspace.replace_volume(replace(volume, shutter=None))
        app.workspace.view.window = auto_window(volume)


def use_tool(tool_id: str) -> Run:
    """Return a command that takes up a tool."""

    def run(app: AppContext, ui: Ui) -> None:
        app.router.activate(tool_id)

    return run


def choose_segment(number: int) -> Run:
    """Return a command that makes a segment active by its place in the list."""

    def run(app: AppContext, ui: Ui) -> None:
        app.segments.choose(number)

    return run


def show_unit(unit: str) -> Run:
    """Return a command that shows a PET image in another unit."""

    def run(app: AppContext, ui: Ui) -> None:
        if app.workspace.active is not None:
            app.volumes.show_unit(app.workspace.active.id, unit)

    return run


def _invert(app: AppContext, ui: Ui) -> None:
    app.workspace.view.inverted = not app.workspace.view.inverted


def _next_style(app: AppContext, ui: Ui) -> None:
    """Fill and outline, outline, fill, and again."""
    view = app.workspace.view
    at = LABEL_STYLES.index(view.look.style)
    view.look = replace(view.look, style=LABEL_STYLES[(at + 1) % len(LABEL_STYLES)])


def _only_active(app: AppContext, ui: Ui) -> None:
    view = app.workspace.view
    view.look = replace(view.look, only_active=not view.look.only_active)


def _neighbors(app: AppContext, ui: Ui) -> None:
    view = app.workspace.view
    view.look = replace(view.look, neighbors=not view.look.neighbors)


def _toggle_oblique(app: AppContext, ui: Ui) -> None:
    """Give the planes handles to turn them, or put them back into the grid of the image."""
    view = app.workspace.view
    view.tilt = STRAIGHT if view.tilt is None else None
    if view.tilt is not None:
        view.crosshair_visible = True
        app.messages.add("info", "Drag a ring on a line of the crosshair to turn the other two planes.")


def _straighten(app: AppContext, ui: Ui) -> None:
    app.workspace.view.tilt = STRAIGHT


def _toggle_crosshair(app: AppContext, ui: Ui) -> None:
    if not app.router.key("back"):  # X drops the last point of what is being drawn
        app.workspace.view.crosshair_visible = not app.workspace.view.crosshair_visible


def _action(
    action_id: str, title: str, shortcut: str, menu: str, enabled: Callable[[AppContext], bool], run: Run
) -> Action:
    return Action(action_id, title, shortcut, menu, enabled, _guarded(run))


GROUP_TITLES: dict[ToolGroup, str] = {"draw": "Draw", "grow": "Grow", "shape": "Shape", "model": "Model"}

_UNITS = {
    SUV_BW: "SUV by body weight (SUVbw)",
    SUV_LBM: "SUV by lean body mass (SUVlbm)",
    SUV_BSA: "SUV by body surface area (SUVbsa)",
    BQML: "Activity (Bq/ml)",
}

ACTIONS: tuple[Action, ...] = (
    _action("open_folder", "Open folder…", "Ctrl+O", "File", always, _open_folder),
    _action("open_files", "Open files or zip…", "Ctrl+Shift+O", "File", always, _open_files),
    _action("library", "Library…", "Ctrl+L", "File", always, lambda a, u: u.show_library()),
    _action("pacs", "PACS…", "Ctrl+P", "File", always, lambda a, u: u.show_pacs()),
    _action("load_segments", "Load segments…", "Ctrl+Shift+L", "File", has_volume, _load_segments),
    _action("save", "Save workspace", "Ctrl+S", "File", is_dirty, _save),
    _action("save_as", "Save workspace as…", "Ctrl+Shift+S", "File", has_volume, _save_as),
    _action("export", "Export…", "Ctrl+E", "File", has_volume, lambda a, u: u.show_export()),
    _action("priors", "Earlier studies in PACS…", "", "File", has_volume, lambda a, u: u.show_priors()),
    _action("send", "Send to PACS…", "", "File", has_volume, lambda a, u: u.show_send()),
    _action("close_volume", "Close series", "Ctrl+W", "File", has_volume, _close_volume),
    _action("quit", "Quit", "Ctrl+Q", "File", always, lambda a, u: u.quit()),
    _action("undo", "Undo", "Ctrl+Z", "Edit", can_undo, lambda a, u: a.undo()),
    _action("redo", "Redo", "Ctrl+Y", "Edit", can_redo, lambda a, u: a.redo()),
    _action("add_segment", "Add segment", "Ctrl+N", "Edit", has_volume, _add_segment),
    _action("delete_segment", "Delete segment", "Ctrl+Delete", "Edit", has_active_segment, _delete_segment),
    _action("new_instance", "New instance of segment", "Ctrl+Shift+N", "Edit", has_active_segment, _new_instance),
    _action("describe_segment", "Describe segment…", "Ctrl+D", "Edit", has_active_segment, lambda a, u: u.show_terms()),
    _action("previous_segment", "Previous segment", "Q", "Edit", has_active_segment, _previous_segment),
    _action("next_segment", "Next segment", "W", "Edit", has_active_segment, _next_segment),
    _action("pick_segment", "Segment under the pointer", "A", "Edit", has_volume, lambda a, u: a.router.pick()),
    *(
        _action(f"segment_{n}", f"Segment {n}", f"{n % 10}", "Edit/Choose segment", has_volume, choose_segment(n))
        for n in range(1, 11)
    ),
    _action("toggle_range", "Value range on or off", "I", "Edit", has_volume, lambda a, u: a.router.toggle_range()),
    _action("settings", "Settings…", "Ctrl+,", "Edit", always, lambda a, u: u.show_settings()),
    _action("navigate", "Navigate", "Esc", "Tools", always, lambda a, u: a.router.navigate()),
    _action("swap_tools", "Last tool (Space)", "", "Tools", has_volume, lambda a, u: a.router.swap()),
    *(
        _action(tool.id, tool.title, tool.shortcut, f"Tools/{GROUP_TITLES[tool.group]}", has_volume, use_tool(tool.id))
        for tool in all_tools()
    ),
    _action("analyze", "Analyze", "F5", "Analyze", has_volume, _analyze),
    _action("analyze_plan", "Plan…", "Shift+F5", "Analyze", has_volume, lambda a, u: u.show_analyze()),
    _action("compare", "Compare segments or times…", "", "Analyze", has_a_segment, lambda a, u: u.show_compare()),
    _action("statistics", "Segment statistics…", "", "Analyze", has_a_segment, lambda a, u: u.show_statistics()),
    _action("models", "Models…", "Ctrl+M", "Analyze", always, lambda a, u: u.show_models()),
    _action("reset_views", "Reset views", "R", "View", has_volume, lambda a, u: u.reset_views()),
    _action("play", "Play or pause", "P", "View", has_frames, lambda a, u: u.play()),
    _action("frame_back", "Frame or time point back", ",", "View", has_frames, lambda a, u: u.step_frames(-1)),
    _action("frame_on", "Frame or time point on", ".", "View", has_frames, lambda a, u: u.step_frames(1)),
    _action("label_style", "Segments: fill, outline or both", "O", "View", has_volume, _next_style),
    _action("only_active", "Active segment only, or all", "Shift+O", "View", has_active_segment, _only_active),
    _action(
        "neighbors", "Outlines of the neighbouring slices", "Alt+O", "View", has_active_segment, _neighbors
    ),
    _action("oblique", "Oblique planes", "Alt+X", "View", has_depth, _toggle_oblique),
    _action("straighten", "Straighten oblique planes", "Alt+R", "View", is_turned, _straighten),
    _action("toggle_crosshair", "Crosshair", "X", "View", has_volume, _toggle_crosshair),
    _action("window_file", "As stored in the file", "F1", "View/Window", has_volume, _file_window),
    _action("window_auto", "Auto", "F2", "View/Window", has_volume, _auto_window),
    _action("window_soft", "Soft tissue 350 / 50", "F6", "View/Window", may_have_hounsfield, window_preset(50, 350)),
    _action("window_lung", "Lung 1500 / −600", "F7", "View/Window", may_have_hounsfield, window_preset(-600, 1500)),
    _action("window_bone", "Bone 1000 / 400", "F8", "View/Window", may_have_hounsfield, window_preset(400, 1000)),
    _action("window_brain", "Brain 80 / 40", "F9", "View/Window", may_have_hounsfield, window_preset(40, 80)),
    _action("window_liver", "Liver 150 / 70", "F10", "View/Window", may_have_hounsfield, window_preset(70, 150)),
    _action("window_suv_5", "PET, SUV 0 to 5", "", "View/Window", has_suv, window_preset(2.5, 5)),
    _action("window_suv_10", "PET, SUV 0 to 10", "", "View/Window", has_suv, window_preset(5, 10)),
    _action("window_suv_20", "PET, SUV 0 to 20", "", "View/Window", has_suv, window_preset(10, 20)),
    _action("invert", "Invert grey", "Ctrl+I", "View/Window", has_grey, _invert),
    *(
        _action(f"unit_{unit}", _UNITS[unit], "", "View/Window/PET unit", has_unit(unit), show_unit(unit))
        for unit in PET_UNITS
    ),
    _action("reset_layout", "Reset layout", "", "View", always, lambda a, u: u.reset_layout()),
    _action("shortcuts", "Keyboard shortcuts…", "Ctrl+/", "Help", always, lambda a, u: u.show_shortcuts()),
    _action("about", "About MedViewer", "", "Help", always, lambda a, u: u.show_about()),
)  # fmt: skip
