"""The real window over the real context, with a small phantom: by object names and waitUntil, never by sleeping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pytestqt")

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.app.paths import settings_file
from medviewer.app.settings import Settings
from medviewer.core.volume import Volume
from medviewer.phantoms import spheres_volume, write_series
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.ui.main_thread import MainThread
from medviewer.ui.main_window import MainWindow
from medviewer.ui.run import set_surface_format
from medviewer.ui.theme import apply_theme

WAIT_MS = 30_000


@pytest.fixture(scope="session")
def qapp_args() -> list[str]:
    """Called before the application is made, which is when the surface format must be set."""
    set_surface_format()
    return ["medviewer"]


@pytest.fixture(scope="session")
def phantom_volume() -> Volume:
    return spheres_volume().volume


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_series(spheres_volume(), folder)
    return folder


@pytest.fixture
def app(qtbot: QtBot, tmp_plugin: Callable[..., Path]) -> Iterator[AppContext]:
    """A context with one plugin, `tmp_air.air`; ends with the window if there is one."""
    registry = PluginRegistry()
    registry.discover([tmp_plugin().parent])
    main_thread = MainThread()
    context = AppContext(main_thread.post, Settings.load(settings_file()), registry)
    context.settings.notice_read = True
    yield context
    context.close()
    main_thread.close()


@pytest.fixture
def window(qtbot: QtBot, app: AppContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    apply_theme(application)
    made = MainWindow(app)
    made.setWindowState(Qt.WindowState.WindowNoState)
    made.resize(1280, 760)
    with qtbot.waitSignal(made.painted, timeout=WAIT_MS):
        made.show()
    # Without a window manager nobody else gives it the focus.
    made.activateWindow()
    made.make_views()
    yield made
    app.workspace.dirty = False
    for job in app.jobs.running:
        job.cancel()
    made.close()
    made.deleteLater()
    application.processEvents()


@pytest.fixture
def opened(qtbot: QtBot, app: AppContext, window: MainWindow, phantom_folder: Path) -> Volume:
    """The phantom, opened in the window as a drop does."""
    window.open_paths([phantom_folder])
    qtbot.waitUntil(lambda: app.workspace.active is not None and not app.jobs.running, timeout=WAIT_MS)
    assert app.workspace.active is not None
    return app.workspace.active
