"""Start the window: context, theme, window, event loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QSurfaceFormat
from PySide6.QtWidgets import QApplication

from medviewer.app.context import AppContext
from medviewer.jobs.runner import Post
from medviewer.ui.main_thread import MainThread
from medviewer.ui.main_window import MainWindow
from medviewer.ui.theme import apply_theme


def set_surface_format() -> None:
    """Ask for what VTK needs; before the application is made."""
    wanted = QSurfaceFormat()
    wanted.setRenderableType(QSurfaceFormat.RenderableType.OpenGL)
    wanted.setVersion(3, 2)
    wanted.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
    wanted.setDepthBufferSize(24)
    wanted.setStencilBufferSize(8)
    wanted.setSamples(0)
    QSurfaceFormat.setDefaultFormat(wanted)


def make_application(arguments: Sequence[str] = ("medviewer",)) -> QApplication:
    """Return the application, dressed."""
    set_surface_format()
    QApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    application = QApplication(list(arguments))
    application.setApplicationName("medviewer")
    application.setApplicationDisplayName("MedViewer")
    apply_theme(application)
    return application


def run(build_context: Callable[[Post], AppContext], paths: Sequence[Path] = ()) -> int:
    """Show the window and return the exit status.

    Parameters
    ----------
    build_context : callable
        Builds the context, given what brings a function to the main thread.
    paths : sequence of Path
        Opened once the window is there.
    """
    application = make_application(sys.argv[:1] or ("medviewer",))
    main_thread = MainThread()
    app = build_context(main_thread.post)
    window = MainWindow(app)

    def after_first_paint() -> None:
        window.make_views()
        window.ui.show_notice()
        window.ui.show_recovery()
        window.open_paths(paths)
        QTimer.singleShot(500, app.warm)

    window.painted.connect(after_first_paint)
    window.show()
    status = application.exec()
    main_thread.close()
    return status
