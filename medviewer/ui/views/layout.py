"""The four views in a 2x2 splitter, one of them maximised by double click."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QByteArray, QDataStream, QIODevice, Qt, Signal
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from medviewer.app.positions import first_look
from medviewer.core.view_state import PLANES, Plane
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.render.plane import only_plane
from medviewer.ui.views.hand import Hand
from medviewer.ui.views.play_bar import PlayBar
from medviewer.ui.views.pointer_map import NavigationMode
from medviewer.ui.views.slice_panel import SlicePanel
from medviewer.ui.views.volume_panel import VolumePanel
from medviewer.ui.views.warning_strip import WarningStrip

_STATE_VERSION = 1
_ROWS = (("axial", "sagittal"), ("coronal", "volume"))


class FourViews(QWidget):
    """Axial and sagittal above, coronal and 3D below, as they follow a workspace.

    An image without depth (a single slice, a picture, a film) has one view for itself; the arrangement of the user
    comes back with the next volume.

    Parameters
    ----------
    workspace : Workspace
        The document; followed until `close_views`.
    hand : Hand
        Holds the active tool.
    show_time : callable
        Shows a point of the time axis of a volume: its id, the index.

    Signals
    -------
    cursor_info(CursorInfo or None)
        What lies under the mouse.
    """

    cursor_info = Signal(object)

    def __init__(
        self,
        workspace: Workspace,
        hand: Hand,
        show_time: Callable[[str, int], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("four_views")
        self._workspace = workspace
        self.slices = {plane: SlicePanel(plane, workspace, hand) for plane in PLANES}
        self.volume = VolumePanel(workspace, hand)
        self._panels: dict[str, SlicePanel | VolumePanel] = {self.volume.name: self.volume}
        self._panels.update({panel.name: panel for panel in self.slices.values()})
        self._rows = tuple(self._row(*names) for names in _ROWS)
        self._column = QSplitter(Qt.Orientation.Vertical)
        self._column.setObjectName("views_column")
        for row in self._rows:
            self._column.addWidget(row)
        for splitter in (*self._rows, self._column):
            splitter.setChildrenCollapsible(False)
            splitter.setHandleWidth(4)
            for n in range(2):
                splitter.setStretchFactor(n, 1)
            splitter.setSizes([10_000, 10_000])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.warnings = WarningStrip(workspace)
        layout.addWidget(self.warnings)
        layout.addWidget(self._column, 1)
        self.play_bar = PlayBar(workspace, show_time)
        layout.addWidget(self.play_bar)
        # Without a graphics card a picture in 3D takes longer than a point of time is shown.
        self.play_bar.player.changed.connect(lambda: self.volume.hold(self.play_bar.player.playing))
        # Both rows share their columns.
        self._rows[0].splitterMoved.connect(lambda *_: self._rows[1].setSizes(self._rows[0].sizes()))
        self._rows[1].splitterMoved.connect(lambda *_: self._rows[0].setSizes(self._rows[1].sizes()))
        for name, panel in self._panels.items():
            panel.title.maximise_asked.connect(lambda name=name: self._toggle(name))
        for plane, panel in self.slices.items():
            panel.canvas.maximise_asked.connect(lambda name=plane: self._toggle(name))
            panel.canvas.cursor_moved.connect(self.cursor_info)
        self.volume.maximise_asked.connect(lambda: self._toggle(self.volume.name))
        workspace.view.maximised_changed.connect(self._arrange)
        workspace.active_changed.connect(self._active_changed)
        self._active_changed(workspace.active)

    def _row(self, left: str, right: str) -> QSplitter:
        row = QSplitter(Qt.Orientation.Horizontal)
        row.setObjectName(f"views_row_{left}")
        row.addWidget(self._panels[left])
        row.addWidget(self._panels[right])
        return row

    # --- what the window asks for

    @property
    def navigation(self) -> NavigationMode:
        """What the left button does on a slice when no tool takes it."""
        return self.slices["axial"].canvas.buttons.navigation

    @navigation.setter
    def navigation(self, mode: NavigationMode) -> None:
        for panel in self.slices.values():
            panel.canvas.buttons.navigation = mode

    def reset_views(self) -> None:
        """Fit all views."""
        for panel in self._panels.values():
            panel.reset_view()

    def set_cursor_dirty(self) -> None:
        """Another tool is active, or its pointer looks different."""
        for panel in self.slices.values():
            panel.canvas.refresh_cursor()
        self.volume.refresh_cursor()

    def close_views(self) -> None:
        """Stop following the document and let go of the graphics; before the window dies."""
        self._workspace.view.maximised_changed.disconnect(self._arrange)
        self._workspace.active_changed.disconnect(self._active_changed)
        self.warnings.close_strip()
        self.play_bar.close_bar()
        for panel in self._panels.values():
            panel.close_view()

    def room_above(self) -> int:
        """Return how many pixels at the top hold warnings, over which nothing may lie."""
        return 0 if self.warnings.isHidden() else self.warnings.height()

    def save_state(self) -> bytes:
        """Return the sizes of the views, for `restore_state`."""
        state = QByteArray()
        stream = QDataStream(state, QIODevice.OpenModeFlag.WriteOnly)
        stream.writeInt32(_STATE_VERSION)
        for splitter in (self._column, *self._rows):
            stream << splitter.saveState()
        return bytes(state.data())

    def restore_state(self, state: bytes) -> bool:
        """Take sizes that `save_state` returned; False, and nothing changed, for anything else."""
        stream = QDataStream(QByteArray(state))
        if not state or stream.readInt32() != _STATE_VERSION:
            return False
        parts = []
        for _ in range(3):
            part = QByteArray()
            stream >> part
            parts.append(part)
        if stream.status() is not QDataStream.Status.Ok:
            return False
        return all(s.restoreState(p) for s, p in zip((self._column, *self._rows), parts, strict=True))

    # --- the document has changed

    def _toggle(self, name: str) -> None:
        view = self._workspace.view
        if self._only is None:
            view.maximised = "" if view.maximised == name else name

    @property
    def _only(self) -> Plane | None:
        volume = self._workspace.active
        return only_plane(volume) if volume is not None else None

    def _arrange(self, maximised: str) -> None:
        only = self._only
        single = only or (maximised if maximised in self._panels else "")
        for name, panel in self._panels.items():
            panel.setVisible(not single or name == single)
            panel.title.show_maximised(bool(single), possible=only is None)
        for row, names in zip(self._rows, _ROWS, strict=True):
            row.setVisible(not single or single in names)

    def _active_changed(self, volume: Volume | None) -> None:
        view = self._workspace.view
        for panel in self.slices.values():
            panel.show_kind(volume)
        self._arrange(view.maximised)
        # A crosshair that is nowhere in the image would be lost.
        if volume is not None and volume.geometry.voxel_at(view.crosshair_lps) is None:
            view.crosshair_lps = first_look(volume)
