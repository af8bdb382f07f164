"""nnInteractive in the real window: its licence, its answers, and a server that is used only when it was allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from medviewer.ai.model_import import import_models
from medviewer.ai.weights import ModelStore
from medviewer.app.context import AppContext
from medviewer.app.paths import settings_file
from medviewer.app.settings import Settings
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from medviewer.phantoms import spheres_volume
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.ui.main_thread import MainThread
from medviewer.ui.main_window import MainWindow
from tests.conftest import ROOT
from tests.gui.conftest import WAIT_MS
from tests.gui.test_click import CTRL, NONE, click_at, mask_of, shot, use_tool
from tests.nninteractive_makers import write_nninteractive
from tests.nninteractive_server import Held, serving


@pytest.fixture
def app(qtbot: QtBot, tmp_path: Path) -> Iterator[AppContext]:
    """The program's plugins, and a small model in the layout of nnInteractive that the user has imported."""
    store = ModelStore(tmp_path / "none", tmp_path / "own")
    import_models(NullContext(), store, write_nninteractive(tmp_path / "hub", like_the_click=True))
    registry = PluginRegistry()
    registry.discover([ROOT / "plugins"], store)
    main_thread = MainThread()
    context = AppContext(main_thread.post, Settings.load(settings_file()), registry)
    context.models.store = store
    context.settings.notice_read = True
    yield context
    context.close()
    main_thread.close()


def test_the_licence_is_shown_before_the_first_click_and_the_model_then_answers(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    window.resize(1500, 1100)
    phantom = spheres_volume()
    nodule = max(phantom.nodules, key=lambda one: one.diameter_mm)
    use_tool(qtbot, app, window, "nninteractive")
    choice = window.findChild(QComboBox, "param.model")
    assert choice.currentText() == "nnInteractive"
    app.workspace.view.crosshair_lps = nodule.lps
    click_at(window, "axial", nodule.lps, NONE)
    assert app.messages.messages[-1].details == "E_LICENSE"
    assert not app.interactive.busy
    seen: list[str] = []

    def read_and_accept() -> None:
        box = window.findChild(QWidget, "licenseBox")
        shot(window, "nninteractive_licence")
        seen.append(box.findChild(QPlainTextEdit, "licenseText").toPlainText())
        box.findChild(QPushButton, "licenseAccept").click()

    button = window.findChild(QPushButton, "taskLicense")
    assert button.isVisible()
    shot(window, "nninteractive_chosen")
    QTimer.singleShot(0, read_and_accept)
    button.click()
    assert "NonCommercial-ShareAlike" in seen[0]
    assert not button.isVisible()

    click_at(window, "axial", nodule.lps, NONE)
    qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
    ball = phantom.labels == 1 + [one.label for one in phantom.nodules].index(nodule.label)
    one = mask_of(app)
    # The made model takes all that is bright in its window: the whole ball is part of it.
    assert (one & ball).sum() > 0.9 * ball.sum()
    shot(window, "nninteractive_click")
    click_at(window, "axial", nodule.lps, CTRL)
    qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
    assert mask_of(app).sum() < one.sum()
    assert app.history.undo_label == "Click away"
    segment = app.workspace.active_segmentation.segments[0]  # type: ignore[union-attr]
    assert segment.provenance.model == "nninteractive"
    assert segment.provenance.model_version == "1.0"
    assert len(segment.provenance.weights_sha256) == 64


def test_a_server_is_asked_only_after_its_address_was_entered_and_sending_allowed(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    window.resize(1500, 1100)
    nodule = spheres_volume().nodules[0]
    held = Held()
    with serving(held) as address:
        use_tool(qtbot, app, window, "nninteractive_server")
        app.workspace.view.crosshair_lps = nodule.lps
        qtbot.waitUntil(
            lambda: window.findChild(QWidget, "taskOptions.nninteractive_server") is not None, timeout=4 * WAIT_MS
        )
        form = window.findChild(QWidget, "taskOptions.nninteractive_server")
        for step, code in ((lambda: None, "E_NO_SERVER"), (lambda: enter(form, address), "E_NOT_ALLOWED")):
            step()
            click_at(window, "axial", nodule.lps, NONE)
            qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
            assert app.messages.messages[-1].details == code
        assert held.asked == []
        form.findChild(QCheckBox, "param.may_send").click()
        shot(window, "nninteractive_server")
        click_at(window, "axial", nodule.lps, NONE)
        qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
        assert [path for path, _ in held.asked] == ["/upload_image", "/add_point_interaction"]
        assert mask_of(app).sum() == 125
        shot(window, "nninteractive_server_click")
    click_at(window, "axial", nodule.lps, NONE)
    qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
    assert app.messages.messages[-1].details == "E_SERVER"
    assert mask_of(app).sum() == 125, "what was found stays"


def enter(form: QWidget, address: str) -> None:
    line = form.findChild(QLineEdit, "param.server")
    line.setText(address)
    line.editingFinished.emit()
