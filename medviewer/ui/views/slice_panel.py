"""One slice view: a title, the picture, and a slider for the slice at its edge."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QLabel, QSizePolicy, QSlider, QVBoxLayout, QWidget

from medviewer.core.segmentation import Color
from medviewer.core.view_state import Plane
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.render.marks import DIM, PLANE_COLORS
from medviewer.render.plane import PlaneGrid
from medviewer.ui.views.hand import Hand
from medviewer.ui.views.slice_canvas import SliceCanvas


def view_title(volume: Volume | None, plane: Plane, *, oblique: bool = False) -> str:
    """Return what a view is called; a plane of the patient only where the volume lies in one."""
    if volume is None or (volume.stacking == "place" and volume.in_patient):
        return f"{plane.capitalize()}, oblique" if oblique else plane.capitalize()
    if volume.stacking == "time":
        return "Film"
    if not volume.has_depth:
        return "Pictures" if volume.geometry.size[2] > 1 else "Picture"
    grid = PlaneGrid.of(volume.geometry, plane)
    return f"Plane {'ijk'[grid.across]}, {'ijk'[grid.down]}"


class _MaximiseButton(QAbstractButton):
    """One frame: this view alone; two: all views again. Drawn, because fonts and styles differ."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFixedSize(22, 20)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.maximised = False

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the sign."""
        painter = QPainter(self)
        painter.setPen(QColor("#e4e7ec" if self.underMouse() else "#a9b1bd"))
        frames = (QRect(8, 4, 8, 8), QRect(5, 7, 8, 8)) if self.maximised else (QRect(6, 5, 10, 10),)
        for frame in frames:
            painter.fillRect(frame, self.palette().window())
            painter.drawRect(frame)
            painter.drawLine(frame.topLeft() + QPoint(0, 1), frame.topRight() + QPoint(1, 1))
        painter.end()


class ViewTitle(QWidget):
    """The strip above a view: its colour, its name, and a button to maximise it.

    Signals
    -------
    maximise_asked()
    """

    maximise_asked = Signal()

    def __init__(self, name: str, title: str, color: Color, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"{name}_title")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(8, 3, 2, 1)
        self.row.setSpacing(6)
        self._label = QLabel()
        self.row.addWidget(self._label)
        self.row.addStretch(1)
        self._button = _MaximiseButton(f"{name}_maximise")
        self._button.clicked.connect(self.maximise_asked)
        self.row.addWidget(self._button)
        self.rename(title, color)
        self.show_maximised(False)

    def rename(self, title: str, color: Color) -> None:
        """Show another name in another colour."""
        self._color = QColor(*color)
        self._label.setText(title)
        self._label.setStyleSheet(f"color: {self._color.name()}; font-weight: 600;")
        self.update()

    @property
    def text(self) -> str:
        """The name that is shown."""
        return self._label.text()

    def show_maximised(self, maximised: bool, *, possible: bool = True) -> None:
        """Say what the button would do; without another view to go to there is none."""
        self._button.setVisible(possible)
        self._button.maximised = maximised
        self._button.update()
        tip = "Show all views (double-click)" if maximised else "Maximise this view (double-click)"
        self._button.setToolTip(tip)
        self._button.setAccessibleName(tip)

    def paintEvent(self, event: QPaintEvent) -> None:
        """A line in the colour of the view."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.fillRect(0, 0, self.width(), 2, self._color)
        painter.end()


class SlicePanel(QWidget):
    """A slice of the active volume.

    Parameters
    ----------
    plane : Plane
        Which of the three.
    workspace : Workspace
        The document; followed until `close_view`.
    hand : Hand
        Holds the active tool.
    """

    def __init__(
        self,
        plane: Plane,
        workspace: Workspace,
        hand: Hand,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"{plane}_panel")
        self.name: str = plane
        self._plane: Plane = plane
        self.title = ViewTitle(plane, plane.capitalize(), PLANE_COLORS[plane])
        self.canvas = SliceCanvas(workspace, plane, hand)
        self.slider = QSlider(Qt.Orientation.Vertical)
        self.slider.setObjectName(f"{plane}_slider")
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slider.setAccessibleName(f"{plane.capitalize()} slice")
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.canvas, 1)
        row.addWidget(self.slider)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.title)
        column.addLayout(row, 1)
        self._following = False
        self._named: tuple[str, Color] | None = None
        self.canvas.slice_changed.connect(self._follow)
        self.slider.valueChanged.connect(self._slide)
        self._follow()

    def close_view(self) -> None:
        """Stop following the document."""
        self.canvas.close_scene()

    def show_kind(self, volume: Volume | None) -> None:
        """Be named after what is shown."""
        self.slider.setVisible(volume is None or volume.has_depth)
        self._rename()

    def _rename(self) -> None:
        scene = self.canvas.scene
        volume, frame = scene.volume, scene.frame
        oblique = frame is not None and frame.grid.tilt_degrees >= 0.5
        text = view_title(volume, self._plane, oblique=oblique)
        color = PLANE_COLORS[self._plane] if volume is None or volume.has_depth else DIM
        if (text, color) != self._named:
            self._named = text, color
            self.title.rename(text, color)

    def reset_view(self) -> None:
        """Show the whole slice."""
        self.canvas.scene.reset()

    def _follow(self) -> None:
        frame = self.canvas.scene.frame
        self._rename()
        self.slider.setEnabled(frame is not None)
        if frame is not None:
            count = frame.grid.count
            # The top of the slider is where the wheel goes forward: the head.
            value = frame.slice_index if frame.grid.forward > 0 else count - 1 - frame.slice_index
            self._following = True  # a new range moves the handle; nobody has moved it
            self.slider.setRange(0, count - 1)
            self.slider.setValue(value)
            self._following = False

    def _slide(self, value: int) -> None:
        frame = self.canvas.scene.frame
        if frame is not None and not self._following:
            index = value if frame.grid.forward > 0 else frame.grid.count - 1 - value
            if index != frame.slice_index:
                self.canvas.scene.show_slice(index)
