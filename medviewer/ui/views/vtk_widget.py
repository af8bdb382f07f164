"""A Qt widget that owns one VTK render window.

Two kinds do the same. `ImageView` renders into an off-screen window of VTK's own and paints the finished frame, so it
composes with everything else and works on every Qt platform, with or without OpenGL in Qt. `GlView` lets VTK draw
into a QOpenGLWidget, which spares the way back from a graphics card.

The environment variable ``MEDVIEWER_GL`` chooses: ``image``, ``gl``, or ``auto`` (the default). ``auto`` is ``image``:
the first QOpenGLWidget makes Qt draw the whole window with OpenGL from then on, which on a computer without a graphics
card costs every repaint of a slice more than VTK's frame takes to read, and which recreates a window that is already
on the screen.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import (
    QGuiApplication,
    QImage,
    QOpenGLContext,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtOpenGLWidgets import QOpenGLWidget
from PySide6.QtWidgets import QSizePolicy, QWidget
from vtkmodules.vtkCommonCore import vtkCommand, vtkLogger, vtkOutputWindow
from vtkmodules.vtkInteractionStyle import vtkInteractorStyleTrackballCamera
from vtkmodules.vtkRenderingCore import vtkRenderWindow
from vtkmodules.vtkRenderingOpenGL2 import vtkGenericOpenGLRenderWindow
from vtkmodules.vtkRenderingUI import vtkGenericRenderWindowInteractor

from medviewer.render.marks import Mark
from medviewer.render.offscreen import window_pixels
from medviewer.render.volume_scene import is_software
from medviewer.ui.views.mark_painter import MarkPainter
from medviewer.ui.views.vtk_mouse import VtkMouse

log = logging.getLogger(__name__)

#: Qt platforms whose widgets can hold OpenGL.
_GL_PLATFORMS = ("xcb", "wayland", "windows", "cocoa")
_GL_LEQUAL, _GL_SCISSOR_TEST, _GL_COLOR_BUFFER_BIT, _GL_FRAMEBUFFER = 0x0203, 0x0C11, 0x4000, 0x8D40


MarksOf = Callable[[float], list[Mark]]


def _no_marks(_ratio: float) -> list[Mark]:
    return []


def _paint_marks(painter: QPainter, widget: QWidget, marks: MarksOf) -> None:
    ratio = widget.devicePixelRatioF()
    painter.scale(1 / ratio, 1 / ratio)
    MarkPainter(painter, widget.width() * ratio, widget.height() * ratio, ratio).paint(marks(ratio))


def log_vtk_messages() -> None:
    """Send what VTK has to say to the log instead of the console, or, on Windows, a window of its own."""
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    output = vtkOutputWindow.GetInstance()
    output.SetDisplayModeToNever()
    # A warning is VTK's own affair, as when it tries for an X server before it takes EGL.
    for event, level in ((vtkCommand.ErrorEvent, logging.ERROR), (vtkCommand.WarningEvent, logging.INFO)):

        def tell(_caller: Any, _event: str, text: str, level: int = level) -> None:
            log.log(level, "VTK: %s", " ".join(text.split()))

        tell.CallDataType = "string0"  # type: ignore[attr-defined]  # how VTK is asked for the text
        output.AddObserver(event, tell)


class _Owner:
    """What both kinds hold: the window, its interactor, the mouse. Released in order by `release`."""

    def __init__(self, widget: ImageView | GlView, window: vtkRenderWindow) -> None:
        window.SetMultiSamples(0)
        self.window = window
        self.interactor = vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(window)
        self.interactor.EnableRenderOff()  # Qt says when
        self._style = vtkInteractorStyleTrackballCamera()
        self.interactor.SetInteractorStyle(self._style)
        self.mouse = VtkMouse(widget, self.interactor)
        self.closed = False
        self._observer = self.interactor.AddObserver(vtkCommand.RenderEvent, lambda *_: widget.schedule())
        widget.setMouseTracking(True)
        widget.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        widget.setMinimumSize(64, 64)

    def resize(self, width: int, height: int) -> None:
        """Take a size in device pixels."""
        self.window.SetSize(width, height)
        self.interactor.SetSize(width, height)
        self.interactor.ConfigureEvent()

    def release(self) -> None:
        """Let go of everything but the context: no event reaches VTK any more."""
        self.closed = True
        self.mouse.close()
        self.interactor.RemoveObserver(self._observer)
        self._style.EnabledOff()
        renderers = self.window.GetRenderers()
        while (renderer := renderers.GetFirstRenderer()) is not None:
            self.window.RemoveRenderer(renderer)


class ImageView(QWidget):
    """VTK off the screen, its frame painted as an image.

    Signals
    -------
    ready(bool)
        OpenGL works; True when it is computed by the processor.
    failed()
        There is no OpenGL.
    """

    ready = Signal(bool)
    failed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        window = vtkRenderWindow()
        window.SetOffScreenRendering(True)
        self.owner = _Owner(self, window)
        self.marks: MarksOf = _no_marks
        self.frames = 0
        self._started = False
        self._image: QImage | None = None

    def start(self) -> None:
        """Make the context; `ready` or `failed` follows."""
        if self.owner.closed or self._started:
            return
        window = self.owner.window
        window.SetSize(64, 64)
        if window.SupportsOpenGL():
            self._started = True
            self.owner.interactor.Initialize()
            self._fit()
            window.Render()  # the driver answers once there is a context
            self.ready.emit(is_software(window))
        else:
            self.failed.emit()

    def _fit(self) -> None:
        ratio = self.devicePixelRatioF()
        size = (max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio)))
        if tuple(self.owner.window.GetSize()) != size:
            self.owner.resize(*size)
            self._image = None

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the new size."""
        super().resizeEvent(event)
        if self._started and not self.owner.closed:
            self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Render, and paint the frame."""
        painter = QPainter(self)
        if self._started and not self.owner.closed:
            self._fit()
            if self._image is None:
                self._image = self._render()
            painter.drawImage(0, 0, self._image)
            _paint_marks(painter, self, self.marks)
        else:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
        painter.end()

    def _render(self) -> QImage:
        self.owner.window.Render()
        pixels = np.ascontiguousarray(window_pixels(self.owner.window))
        height, width, _ = pixels.shape
        # The image has no copy of the pixels, the widget keeps them.
        self._pixels = pixels
        image = QImage(pixels.data.cast("B"), width, height, 4 * width, QImage.Format.Format_RGBX8888)
        image.setDevicePixelRatio(self.devicePixelRatioF())
        self.frames += 1
        return image

    def schedule(self) -> None:
        """Ask for another frame; `update` alone paints the marks again over the one there is."""
        self._image = None
        self.update()

    def close_view(self) -> None:
        """Free what VTK holds, in order."""
        if not self.owner.closed:
            self.owner.release()
            self.owner.window.Finalize()


class GlView(QOpenGLWidget):
    """VTK inside Qt's own OpenGL.

    Signals
    -------
    ready(bool)
        OpenGL works; True when it is computed by the processor.
    failed()
        There is no OpenGL.
    """

    ready = Signal(bool)
    failed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setUpdateBehavior(QOpenGLWidget.UpdateBehavior.NoPartialUpdate)
        self._generic = vtkGenericOpenGLRenderWindow()
        self._generic.SetReadyForRendering(False)
        self._generic.SetOwnContext(0)
        self._generic.SetFrameBlitModeToBlitToCurrent()
        self.owner = _Owner(self, self._generic)
        self.marks: MarksOf = _no_marks
        self._current = self._generic.AddObserver(vtkCommand.WindowMakeCurrentEvent, self._make_current)
        self.frames = 0

    def start(self) -> None:
        """Qt makes the context when the widget is shown; `ready` follows."""

    def _make_current(self, _caller: Any, _event: str) -> None:
        context = self.context()
        # Never when it is current already: makeCurrent binds Qt's framebuffer again behind VTK's back.
        if QOpenGLContext.currentContext() is not context:
            self.makeCurrent()
        self._generic.SetIsCurrent(True)

    def initializeGL(self) -> None:
        """Take the context that Qt has made."""
        window = self._generic
        window.SetMapped(True)
        window.SetIsCurrent(True)
        window.SetReadyForRendering(True)
        window.OpenGLInit()
        self.owner.interactor.Initialize()
        # The context goes when the widget moves to another window, or dies.
        self.context().aboutToBeDestroyed.connect(self._context_gone, Qt.ConnectionType.DirectConnection)
        self.ready.emit(is_software(window))

    def _context_gone(self) -> None:
        self.makeCurrent()
        self._generic.SetIsCurrent(True)
        self._generic.Finalize()
        self._generic.SetReadyForRendering(False)
        self.doneCurrent()

    def resizeGL(self, width: int, height: int) -> None:
        """Take the new size."""
        ratio = self.devicePixelRatioF()
        self.owner.resize(max(1, round(width * ratio)), max(1, round(height * ratio)))

    def paintGL(self) -> None:
        """Render into Qt's framebuffer."""
        if self.owner.closed:
            return
        window, state = self._generic, self._generic.GetState()
        window.SetIsCurrent(True)
        state.Reset()
        state.Push()
        state.vtkglDepthFunc(_GL_LEQUAL)  # Qt leaves GL_LESS, with which overlays vanish
        window.SetReadyForRendering(True)
        window.Render()
        state.Pop()
        # What is transparent in VTK's frame would let the window behind through.
        gl = self.context().functions()
        gl.glBindFramebuffer(_GL_FRAMEBUFFER, self.defaultFramebufferObject())
        gl.glDisable(_GL_SCISSOR_TEST)
        gl.glColorMask(False, False, False, True)
        gl.glClearColor(0.0, 0.0, 0.0, 1.0)
        gl.glClear(_GL_COLOR_BUFFER_BIT)
        gl.glColorMask(True, True, True, True)
        painter = QPainter(self)
        _paint_marks(painter, self, self.marks)
        painter.end()
        self.frames += 1

    def schedule(self) -> None:
        """Ask for another frame."""
        self.update()

    def close_view(self) -> None:
        """Free what VTK holds, in order."""
        if self.owner.closed:
            return
        if self.context() is not None:
            self.makeCurrent()
        self.owner.release()
        if self.context() is not None:
            self.context().aboutToBeDestroyed.disconnect(self._context_gone)
            self._context_gone()
        self._generic.RemoveObserver(self._current)


VtkView = ImageView | GlView


def make_vtk_view(parent: QWidget | None = None) -> VtkView:
    """Return the view that ``MEDVIEWER_GL`` asks for and Qt's platform can show."""
    can_gl = QGuiApplication.platformName() in _GL_PLATFORMS
    if os.environ.get("MEDVIEWER_GL", "auto") == "gl" and can_gl:
        return GlView(parent)
    return ImageView(parent)
