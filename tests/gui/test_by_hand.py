"""A liver and a nodule from nothing, as a hand does it in the real window: every action is counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QToolButton
from pytestqt.qtbot import QtBot
from scipy import ndimage
from skimage.measure import find_contours

from medviewer.app.context import AppContext
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.view_state import PLANES, Plane
from medviewer.core.volume import Volume
from medviewer.ui.main_window import MainWindow
from tests.gui.conftest import WAIT_MS
from tests.gui.test_tool_stories import press_drag

SHAPE, SPACING = (40, 88, 96), (2.0, 2.0, 3.0)


def ball(center: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """An ellipsoid; (k, j, i) in voxels."""
    grid = np.indices(SHAPE, np.float32)
    parts = zip(grid, center, radii, strict=True)
    return np.asarray(sum(((g - c) / r) ** 2 for g, c, r in parts) < 1)


def liver() -> tuple[np.ndarray, np.ndarray]:
    """Values and truth of two lobes in fat, beside a kidney that is as bright."""
    truth = ball((20, 40, 36), (15, 26, 22)) | ball((24, 32, 62), (9, 14, 22))
    kidney = ball((14, 66, 62), (10, 9, 8)) & ~truth
    return np.select([truth, kidney], [60.0, 55.0], -90.0), truth


def nodule() -> tuple[np.ndarray, np.ndarray]:
    """Values and truth of a nodule in the lung; a vessel runs into it."""
    truth = ball((20, 40, 40), (4, 6, 6))
    vessel = ball((20, 40, 58), (1.2, 1.8, 20)) & ~truth
    return np.select([truth | vessel], [40.0], -850.0), truth


class Hand:
    """What a person does with mouse and keys, and how often."""

    def __init__(self, qtbot: QtBot, app: AppContext, window: MainWindow, values: np.ndarray, name: str) -> None:
        self.qtbot, self.app, self.window, self.actions = qtbot, app, window, 0
        noise = np.random.default_rng(4).normal(0, 15, SHAPE)
        array = ndimage.gaussian_filter(values, (0.4, 0.6, 0.6)) + noise
        volume = Volume(array.astype(np.int16), Geometry(SHAPE[::-1], SPACING), name, modality="CT", unit="HU")
        self.geometry, self.id = volume.geometry, volume.id
        app.workspace.add_volume(volume)
        app.workspace.activate(volume.id)
        qtbot.waitUntil(lambda: window.views is not None and window.views.isVisible(), timeout=WAIT_MS)
        qtbot.waitUntil(lambda: all(self.canvas(plane).frames for plane in PLANES), timeout=WAIT_MS)
        self.segment = app.segments.add(volume.id, name)
        self.actions += 1

    def canvas(self, plane: Plane = "axial"):
        return self.window.views.slices[plane].canvas

    def pixels(self, places: np.ndarray) -> list[QPoint]:
        """Where places (k, j, i) are drawn in the axial view."""
        frame, ratio = self.canvas().scene.frame, self.canvas().devicePixelRatioF()
        shown = [frame.lps_to_display(self.geometry.index_to_lps(place[::-1])) for place in places]
        return [QPoint(round(x / ratio), round(y / ratio)) for x, y in shown]

    def take(self, tool_id: str) -> None:
        self.actions += 1
        self.window.findChild(QToolButton, f"tool.{tool_id}").click()
        assert self.app.router.active_id == tool_id

    def show_slice(self, k: int) -> None:
        self.actions += 1
        self.app.workspace.view.crosshair_lps = vec3(self.geometry.index_to_lps((SHAPE[2] / 2, SHAPE[1] / 2, k)))
        height = self.geometry.index_to_lps((0, 0, k))[2]
        shown = self.canvas().scene
        self.qtbot.waitUntil(lambda: abs(shown.frame.display_to_lps(0.0, 0.0)[2] - height) < 0.1, timeout=WAIT_MS)

    def drag(self, places: np.ndarray) -> None:
        self.actions += 1
        press_drag(self.canvas(), self.pixels(places))

    def enter(self) -> None:
        self.actions += 1
        QTest.keyClick(self.canvas(), Qt.Key.Key_Return)
        self.qtbot.waitUntil(lambda: self.app.router.effects.state == "idle", timeout=WAIT_MS)

    def dice(self, truth: np.ndarray) -> float:
        mask = self.app.workspace.segmentation(self.id).mask(self.segment.value)
        return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


@pytest.mark.timeout(120)
def test_a_liver_by_five_outlines(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    values, truth = liver()
    hand = Hand(qtbot, app, window, values, "Liver")
    hand.take("lasso")
    rng = np.random.default_rng(2)
    slices = np.flatnonzero(truth.any(axis=(1, 2)))
    for k in np.linspace(slices[0] + 1, slices[-1] - 1, 5).round().astype(int):
        hand.show_slice(int(k))
        outline = max(find_contours(truth[k].astype(float), 0.5), key=len)
        # A hand is a millimetre off here and there.
        shake = ndimage.gaussian_filter1d(rng.normal(0, 1, outline.shape), 5, axis=0, mode="wrap")
        outline = outline + 0.5 * shake / shake.std()
        hand.drag(np.insert(outline[::2], 0, k, axis=1))
        hand.enter()
    assert app.history.undo_label == "Lasso"
    hand.take("fill_between")
    hand.enter()
    assert hand.dice(truth) > 0.92
    assert hand.actions == 19
    assert [step.label for step in app.history.done] == ["Add Liver", *["Lasso"] * 5, "Fill between slices"]


@pytest.mark.timeout(120)
def test_a_nodule_by_one_drag_of_the_wand(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    values, truth = nodule()
    hand = Hand(qtbot, app, window, values, "Nodule")
    hand.show_slice(20)
    hand.take("wand")
    # Upwards, until what is shown fills the nodule: from the noise around the click to half the step to the lung.
    hand.drag(np.array([(20, 40 - n, 40) for n in range(0, 28, 3)]))
    assert 300 < app.router.options("wand").tolerance < 700
    hand.enter()
    assert hand.dice(truth) > 0.9
    assert hand.actions == 5
    assert [step.label for step in app.history.done] == ["Add Nodule", "Magic wand"]
