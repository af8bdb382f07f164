"""The 3D view: made after the first paint, because its graphics take longer to load than all the rest."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from medviewer.core.segmentation import Color
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.tool import Phase, PointerEvent, Sight
from medviewer.imaging.scissors import screen_points, seen_point
from medviewer.render.marks import Mark, line_marks
from medviewer.render.presets import PRESETS, preset, preset_for
from medviewer.ui.views.hand import Hand
from medviewer.ui.views.pointer_map import held
from medviewer.ui.views.slice_panel import ViewTitle

if TYPE_CHECKING:
    from medviewer.render.surface_scene import SurfaceResult, SurfaceTask
    from medviewer.render.volume_scene import VolumeScene
    from medviewer.ui.views.vtk_widget import VtkView

TITLE_COLOR: Color = (110, 165, 230)
NO_VOLUME = "No volume"
#: After the last change, ms: surfaces and volume rendering follow the hand, not each of its movements.
_DEBOUNCE_MS = 300
#: Where a graphics card draws, a long movement is followed this often; the processor has no time for both.
_FOLLOW_S = 1.0
#: While many surfaces are made they are shown this often: each frame keeps the window waiting.
_GATHER_S = 2.0

#: What the view is made of, in steps that do not keep the window waiting. Not in a thread: the modules of VTK change
#: tables that are in use while slices are drawn, and a process has died of it.
_MODULES: Final = (
    *(f"vtkmodules.vtk{name}" for name in (
        "FiltersCore", "RenderingCore", "RenderingUI", "RenderingOpenGL2", "InteractionStyle", "RenderingVolume",
        "RenderingVolumeOpenGL2", "RenderingFreeType", "RenderingAnnotation", "FiltersSources",
    )),
    "medviewer.render.surface_scene",
    "medviewer.render.volume_scene",
    "medviewer.ui.views.vtk_widget",
)  # fmt: skip


class VolumePanel(QWidget):
    """Volume rendering, surfaces of segments, findings and crosshair of the active volume.

    Drag turns, wheel and right drag zoom, middle drag moves, a click puts the crosshair on what it hits.

    Parameters
    ----------
    workspace : Workspace
        The document; followed until `close_view`.
    hand : Hand
        Holds the active tool.

    Signals
    -------
    maximise_asked()
    ready()
        The view has been made.
    """

    maximise_asked = Signal()
    ready = Signal()
    _made = Signal(object)

    name = "volume"

    def __init__(self, workspace: Workspace, hand: Hand, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("volume_panel")
        self._workspace = workspace
        self._hand = hand
        self.scene: VolumeScene | None = None
        self.view: VtkView | None = None
        self._closed = False
        self.held = False
        self._worker: ThreadPoolExecutor | None = None
        self.title = ViewTitle(self.name, "3D", TITLE_COLOR)
        self.presets = self._make_presets()
        self.title.row.insertWidget(2, self.presets)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addWidget(self.title)
        self._hint = QLabel()
        self._hint.setObjectName("volume_hint")
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint.setWordWrap(True)
        self._hint.setStyleSheet("background: black; color: #a9b1bd;")
        self._column.addWidget(self._hint, 1)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_DEBOUNCE_MS)
        self._later.timeout.connect(self._update)
        self._asked_first = 0.0
        self._shown = 0.0
        self._software = True
        self._made.connect(self._apply, Qt.ConnectionType.QueuedConnection)
        workspace.active_changed.connect(self._active_changed)
        self._active_changed(workspace.active)

    def _make_presets(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("volume_preset")
        box.setAccessibleName("Volume rendering")
        box.setToolTip("Volume rendering")
        box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        box.addItem(NO_VOLUME)
        box.addItems([known.name for known in PRESETS])
        box.activated.connect(lambda _: self._choose(box.currentText()))
        return box

    # --- making the view

    def paintEvent(self, event: QPaintEvent) -> None:
        """The first one starts to load what the view is made of."""
        super().paintEvent(event)
        if self._worker is None and not self._closed:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="surfaces")
            QTimer.singleShot(0, self, lambda: self._load(iter(_MODULES)))

    def _load(self, modules: Iterator[str]) -> None:
        """Load one module and come back for the next when the events that wait have been dealt with."""
        name = next(modules, None)
        if name is None:
            self._build()
        elif not self._closed:
            import_module(name)
            QTimer.singleShot(0, self, lambda: self._load(modules))

    def _build(self) -> None:
        if self._closed or self.view is not None:
            return
        from medviewer.ui.views.vtk_widget import log_vtk_messages, make_vtk_view

        log_vtk_messages()
        self.view = make_vtk_view(self)
        self.view.setObjectName("volume_view")
        self.view.ready.connect(self._view_ready)
        self.view.failed.connect(self._view_failed)
        self._column.addWidget(self.view, 1)
        self._hint.hide()
        self.view.start()

    def _view_failed(self) -> None:
        if self.view is not None:
            self.view.hide()
        self._hint.setText("No 3D: this computer offers no OpenGL.\nSlices and all tools work without it.")
        self._hint.show()

    def _view_ready(self, software: bool) -> None:
        if self._closed or self.view is None or self.scene is not None:
            return  # a context made anew keeps its scene
        from medviewer.render.volume_scene import VolumeScene

        self._software = software
        self.scene = VolumeScene(
            self._workspace, self.view.schedule, self.view.update, self._request_update, software=software
        )
        self.view.marks = self._marks
        self.view.owner.mouse.offer = self._offer
        self.scene.attach(self.view.owner.window)
        # What the hand has turned is drawn at the rate of the scene again.
        self.view.owner.interactor.SetStillUpdateRate(self.view.owner.window.GetDesiredUpdateRate())
        self.view.owner.mouse.clicked.connect(self._pick)
        self.view.owner.mouse.double_clicked.connect(self.maximise_asked)
        if self.presets.property("chosen"):
            self._choose(self.presets.currentText())
        self._update()
        self.ready.emit()

    # --- keeping it up to date

    def _request_update(self) -> None:
        if not self._later.isActive():
            self._asked_first = monotonic()
        elif not self._software and monotonic() - self._asked_first > _FOLLOW_S:
            return  # let it come, though the hand still moves
        self._later.start()

    def showEvent(self, event: QShowEvent) -> None:
        """Do what was put off while nobody saw it."""
        super().showEvent(event)
        self._later.start()

    def hold(self, held: bool) -> None:
        """Leave the view as it is while something plays, and bring it up to date afterwards."""
        self.held = held
        if not held:
            self._later.start()

    def _update(self) -> bool:
        """Bring the scene up to date; whether another surface is being made now."""
        if self.scene is None or self._closed or self.held or not self.isVisible():
            return False
        self.scene.update()
        task = self.scene.surfaces.next_task() if self.scene.surfaces is not None else None
        if task is None or self._worker is None:
            return False
        self._worker.submit(self._make, task)
        return True

    def _make(self, task: SurfaceTask) -> None:
        self._made.emit(task.run())

    def _apply(self, result: SurfaceResult) -> None:
        if self.scene is not None and self.scene.surfaces is not None and not self._closed:
            self.scene.surfaces.apply(result)
            more = self._update()
            if self.view is not None and (not more or monotonic() - self._shown > _GATHER_S):
                self._shown = monotonic()
                self.view.schedule()

    def _active_changed(self, volume: Volume | None) -> None:
        self.presets.setEnabled(volume is not None)
        if volume is not None and not self.presets.property("chosen"):
            self.presets.setCurrentText(preset_for(volume.modality).name)

    # --- the user

    def _choose(self, name: str) -> None:
        self.presets.setProperty("chosen", True)
        if self.scene is not None:
            self.scene.choose(None if name == NO_VOLUME else preset(name))
            self._update()

    def _pick(self, x: float, y: float) -> None:
        lps = self.scene.pick(x, y) if self.scene is not None else None
        if lps is not None:
            self._workspace.view.crosshair_lps = lps

    def _offer(self, phase: Phase, position: QPointF, modifiers: Qt.KeyboardModifier) -> bool:
        """Offer an event of the left button to the active tool."""
        if self.scene is None or self.view is None or self._workspace.active is None:
            return False
        ratio = self.view.devicePixelRatioF()
        x, y = position.x() * ratio, position.y() * ratio
        # What is seen there takes a while to find; only where something begins does it matter.
        lps = self.scene.pick(x, self.view.height() * ratio - y) if phase == "press" else None
        matrix = self.scene.world_to_screen()
        if lps is None:
            lps = seen_point(matrix, (x, y), 0.0)
        event = PointerEvent(phase, lps, self.scene.nearest_axis(), held(modifiers), sight=Sight((x, y), matrix))
        used = self._hand.pointer(event)
        if used:
            self.view.update()
        return used

    def _marks(self, ratio: float) -> list[Mark]:
        """Return what lies over the frame: the crosshair, and what the active tool draws."""
        if self.scene is None:
            return []
        found = self.scene.marks(ratio)
        for line in self._hand.cursor.lines:
            if line.in_3d and line.points_lps:
                found.extend(
                    line_marks(line, screen_points(self.scene.world_to_screen(), line.points_lps), 3.5 * ratio)
                )
        return found

    def refresh_cursor(self) -> None:
        """Show the pointer of the active tool, and what it draws."""
        if self.view is not None:
            taken = self._hand.cursor.in_3d
            self.view.setCursor(Qt.CursorShape.CrossCursor if taken else Qt.CursorShape.ArrowCursor)
            self.view.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter and Backspace are for the tool that draws here."""
        match event.key():
            case Qt.Key.Key_Return | Qt.Key.Key_Enter if self._hand.key("apply"):
                self.refresh_cursor()
            case Qt.Key.Key_Backspace if self._hand.key("back"):
                self.refresh_cursor()
            case Qt.Key.Key_Space if not event.isAutoRepeat():
                self._hand.swap()
            case _:
                super().keyPressEvent(event)

    def reset_view(self) -> None:
        """Look from the front."""
        if self.scene is not None:
            self.scene.look_from_front()

    def close_view(self) -> None:
        """Stop following the document, then let go of the scene, then of the graphics."""
        if self._closed:
            return
        self._closed = True
        self._later.stop()
        self._workspace.active_changed.disconnect(self._active_changed)
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)
        if self.scene is not None:
            self.scene.close()
            self.scene = None
        if self.view is not None:
            self.view.close_view()
