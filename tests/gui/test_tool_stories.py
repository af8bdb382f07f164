"""Every tool in the real window, in three planes: taken up, used with the mouse, applied, seen, undone.

With ``MEDVIEWER_GUIDE_IMAGES`` it works on a chest and keeps the pictures of the user guide.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolButton
from pytestqt.qtbot import QtBot
from scipy import ndimage

from medviewer.app.context import AppContext
from medviewer.core.geometry import Vec3, vec3
from medviewer.core.region import Region
from medviewer.core.tilt import STRAIGHT, turned
from medviewer.core.view_state import PLANES, Plane, WindowLevel
from medviewer.core.volume import Volume
from medviewer.editing.editor import LabelEditor
from medviewer.editing.tool import all_tools
from medviewer.phantoms import make_thorax, spheres_volume
from medviewer.ui.main_window import MainWindow
from medviewer.ui.views.slice_canvas import SliceCanvas
from tests.gui.conftest import WAIT_MS

GUIDE = os.environ.get("MEDVIEWER_GUIDE_IMAGES", "")
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


#: Stands for the label value of the second segment.
REST = -1


@dataclass(frozen=True)
class Act:
    """How a tool is used: what the mouse does, with what options, and what comes of it."""

    gesture: Literal["drag", "box", "around", "clicks", "two clicks", "click", "edge", "nothing"] = "nothing"
    options: dict[str, Any] = field(default_factory=dict)
    planes: tuple[Plane, ...] = PLANES
    #: What it leaves: other voxels of the active segment, or of any, or something that is no voxel.
    leaves: Literal["mask", "labels", "image", "nothing"] = "mask"


#: A tool that is not here is dragged across the object.
ACTS: dict[str, Act] = {
    "active_contour": Act(planes=("axial",)),
    "fill_between": Act(planes=("axial",)),
    "grow_from_seeds": Act(planes=("axial",)),
    # In the chest of the guide, what the traced border encloses is drawn already.
    "level_tracing": Act("edge", leaves="nothing" if GUIDE else "mask"),
    "random_walker": Act(planes=("axial",)),
    "threshold": Act(planes=("axial",)),
    "track": Act("two clicks"),
    "wand": Act("click"),
    "watershed": Act(planes=("axial",)),
    "copy_slices": Act(),
    "cut_plane": Act("two clicks"),
    "ellipse": Act("box"),
    "fill_holes": Act(planes=("axial",)),
    "hollow": Act(planes=("axial",)),
    "islands": Act(planes=("axial",)),
    "lasso": Act("around"),
    "livewire": Act("clicks"),
    "logic": Act(options={"operation": "add", "other": REST}, planes=("axial",)),
    "margin": Act(planes=("axial",)),
    "mask_image": Act(planes=("axial",), leaves="image"),
    "mirror": Act(planes=("axial",)),
    "polygon": Act("clicks"),
    "rectangle": Act("box"),
    "scissors": Act("around"),
    "smooth": Act(planes=("axial",)),
}


class Stage:
    """The window with an object that is roughly segmented: a hole, an island, a spike, and a second segment."""

    def __init__(self, qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
        self.qtbot, self.app, self.window = qtbot, app, window
        self.volume, truth, level = _scene()
        app.workspace.add_volume(self.volume)
        app.workspace.activate(self.volume.id)
        app.workspace.view.window = level
        self.center = tuple(round(n) for n in ndimage.center_of_mass(truth))
        self.one = app.segments.add(self.volume.id, "Object")
        self.two = app.segments.add(self.volume.id, "Rest")
        segmentation = app.workspace.segmentation(self.volume.id)
        editor = LabelEditor(app.workspace, app.history, self.volume.id)
        for segment, mask in ((self.one, _rough(truth)), (self.two, _beside(truth))):
            with editor.stroke("Prepare", segment.value) as stroke:
                stroke.paint(Region.whole(mask.shape), mask)
        segmentation.active = self.one.value
        app.workspace.view.crosshair_lps = self.at()
        self.asked: list[str] = []
        app.router.ask = lambda text: self.asked.append(text) is None
        if GUIDE:
            app.workspace.view.crosshair_visible = False
        radius = (3 * truth.sum() * self.volume.geometry.voxel_volume_mm3 / (4 * np.pi)) ** (1 / 3)
        self.radius_mm = float(radius)
        self.prepared = len(app.history.done)
        qtbot.waitUntil(lambda: window.views is not None and window.views.isVisible(), timeout=WAIT_MS)
        qtbot.waitUntil(lambda: all(self.canvas(plane).frames for plane in PLANES), timeout=WAIT_MS)

    @property
    def labels(self) -> np.ndarray:
        return self.app.workspace.segmentation(self.volume.id).groups[0].labels.copy()

    def at(self) -> Vec3:
        return vec3(self.volume.geometry.index_to_lps(self.center[::-1]))

    def canvas(self, plane: Plane) -> SliceCanvas:
        assert self.window.views is not None
        return self.window.views.slices[plane].canvas

    def points(self, plane: Plane, count: int, radius: float) -> list[QPoint]:
        """Points on a circle around the object, `radius` times its own, in pixels of the widget."""
        canvas = self.canvas(plane)
        frame = canvas.scene.frame
        assert frame is not None
        x, y = frame.lps_to_display(self.at())
        length = radius * self.radius_mm / frame.mm_per_pixel
        ratio = canvas.devicePixelRatioF()
        turns = np.linspace(0.3, 0.3 + 2 * np.pi, count, endpoint=False)
        return [QPoint(round((x + length * np.cos(t)) / ratio), round((y + length * np.sin(t)) / ratio)) for t in turns]

    def play(self, act: Act, plane: Plane) -> None:
        canvas = self.canvas(plane)
        match act.gesture:
            case "drag":
                start, *_ = self.points(plane, 4, 0.9)
                end = self.points(plane, 4, 0.9)[2]
                press_drag(canvas, [start + (end - start) * n / 6 for n in range(7)])
            case "box":
                start, *_ = self.points(plane, 4, 1.7)
                end = self.points(plane, 4, 1.7)[2]
                press_drag(canvas, [start + (end - start) * n / 6 for n in range(7)])
            case "around":
                press_drag(canvas, self.points(plane, 24, 1.2))
            case "clicks" | "two clicks":
                ring = self.points(plane, 6, 1.1)
                for point in ring[:5] if act.gesture == "clicks" else ring[:4:3]:
                    move(canvas, point, Qt.MouseButton.NoButton)
                    QTest.mouseClick(canvas, LEFT, NONE, point)
            case "click":
                QTest.mouseClick(canvas, LEFT, NONE, self.points(plane, 1, 0.1)[0])
            case "edge":
                (point,) = self.points(plane, 1, 1.0)
                move(canvas, point, Qt.MouseButton.NoButton)
                QTest.mouseClick(canvas, LEFT, NONE, point)
            case "nothing":
                pass

    def settled(self) -> bool:
        return self.app.router.effects.state != "computing"


def press_drag(canvas: SliceCanvas, points: list[QPoint]) -> None:
    QTest.mousePress(canvas, LEFT, NONE, points[0])
    for point in points[1:]:
        move(canvas, point, LEFT)
    QTest.mouseRelease(canvas, LEFT, NONE, points[-1])


def move(canvas: SliceCanvas, to: QPoint, buttons: Qt.MouseButton) -> None:
    place = QPointF(to)
    none = Qt.MouseButton.NoButton
    event = QMouseEvent(QEvent.Type.MouseMove, place, canvas.mapToGlobal(place), none, buttons, NONE)
    QApplication.sendEvent(canvas, event)


@cache
def _scene() -> tuple[Volume, np.ndarray, WindowLevel]:
    """Return an image, the truth of one object in it, and a window."""
    phantom = make_thorax((256, 256, 128)) if GUIDE else spheres_volume()
    if GUIDE:
        heart = next(value for value, name in phantom.names.items() if name == "heart")
        return phantom.volume, phantom.labels == heart, WindowLevel(50, 400)
    sizes = np.bincount(phantom.labels.ravel())
    return phantom.volume, phantom.labels == 1 + int(np.argmax(sizes[1:])), WindowLevel(-200.0, 1600.0)


def _rough(truth: np.ndarray) -> np.ndarray:
    """What a hurried hand would leave of the truth: too small, with a hole, a spike, an island and a slice left out."""
    step = 3 if GUIDE else 1
    mask = ndimage.binary_erosion(truth, iterations=step)
    k, j, i = (round(n) for n in ndimage.center_of_mass(mask))
    wide = truth.any(axis=(0, 2)).sum() // 2
    mask[k - step : k + step + 1, j - step : j + 2 * step, i - 2 * step : i] = False
    mask[k, max(0, j - wide - 2) : j + wide + 3, i + step : i + 2 * step] = True
    mask[k + 2 * step + 1] = False
    corner = (k - 1, max(1, j - wide - 3 * step), max(1, i - wide - 2 * step))
    mask[tuple(slice(start, start + 2 * step) for start in corner)] = True
    return mask


def _beside(truth: np.ndarray) -> np.ndarray:
    """A shell some way around the truth: what is not the object."""
    far = ndimage.binary_dilation(truth, iterations=5)
    return ndimage.binary_dilation(far, iterations=2) & ~far


@pytest.fixture
def stage(qtbot: QtBot, app: AppContext, window: MainWindow) -> Stage:
    return Stage(qtbot, app, window)


TOOLS = [info for info in all_tools() if info.group != "model"]


@pytest.mark.timeout(600 if GUIDE else 120)
@pytest.mark.parametrize("tool_id", [info.id for info in TOOLS])
def test_tool_in_three_planes(stage: Stage, tool_id: str) -> None:
    use(stage, tool_id)


@pytest.mark.parametrize("tool_id", [info.id for info in TOOLS])
def test_tool_in_three_turned_planes(stage: Stage, tool_id: str) -> None:
    view = stage.app.workspace.view
    view.tilt = turned(turned(STRAIGHT, (0.0, 0.0, 1.0), 0.3), (1.0, 0.4, 0.0), 0.6)
    view.crosshair_visible = False  # its handles would be in the way
    for plane in PLANES:
        frame = stage.canvas(plane).scene.frame
        assert frame is not None
        assert frame.grid.image is not None
    use(stage, tool_id)


def use(stage: Stage, tool_id: str) -> None:
    """Take a tool up, use it in its planes, apply, and undo."""
    act = ACTS.get(tool_id, Act("drag"))
    app = stage.app
    options = app.router.options(tool_id)
    for name, value in act.options.items():
        setattr(options, name, stage.two.value if value == REST else value)
    before, images = stage.labels, len(app.workspace.volumes)
    for plane in act.planes:
        button = stage.window.findChild(QToolButton, f"tool.{tool_id}")
        assert button is not None
        button.click()
        assert app.router.active_id == tool_id
        stage.play(act, plane)
        stage.qtbot.waitUntil(stage.settled, timeout=WAIT_MS)
        if plane == act.planes[0]:
            shot(stage, tool_id, plane)
        canvas = stage.canvas(plane)
        QTest.keyClick(canvas, Qt.Key.Key_Return)
        stage.qtbot.waitUntil(lambda: app.router.effects.state == "idle", timeout=WAIT_MS)
        errors = [m.text for m in app.messages.messages if m.level == "error"]
        assert not errors, errors
        if act.leaves in ("mask", "labels"):
            changed = int((stage.labels != before).sum())
            assert changed, f"nothing changed in the {plane} plane"
        if act.leaves == "mask":
            changed = int(((stage.labels == stage.one.value) != (before == stage.one.value)).sum())
            assert changed, f"the active segment did not change in the {plane} plane"
        assert (len(app.workspace.volumes) > images) == (act.leaves == "image")
        app.router.activate("")
        while len(app.history.done) > stage.prepared:
            assert app.history.undo_label
            app.undo()
        np.testing.assert_array_equal(stage.labels, before)


def shot(stage: Stage, tool_id: str, plane: Plane) -> None:
    """Keep a picture of the view where the guide is made."""
    if not GUIDE:
        return
    stage.app.workspace.view.preview_opacity = 0.6
    QApplication.processEvents()
    folder = Path(GUIDE) / "tools"
    folder.mkdir(exist_ok=True)
    canvas = stage.canvas(plane)
    ring = stage.points(plane, 4, 1.0)
    middle = (ring[0] + ring[2]) / 2
    side = round(2.8 * (ring[2] - middle).manhattanLength())
    picture = canvas.grab().copy(middle.x() - side // 2, middle.y() - side // 2, side, side)
    picture.scaled(240, 240, mode=Qt.TransformationMode.SmoothTransformation).save(str(folder / f"{tool_id}.png"))
