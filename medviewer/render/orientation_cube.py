"""A cube with the letters of the patient's sides in a corner of the 3D view."""

from __future__ import annotations

from typing import Any

from vtkmodules.vtkCommonCore import vtkCommand
from vtkmodules.vtkRenderingAnnotation import vtkAnnotatedCubeActor
from vtkmodules.vtkRenderingCore import vtkRenderer

_CORNER = (0.0, 0.0, 0.16, 0.2)


class OrientationCube:
    """Turns with the camera of another renderer."""

    def __init__(self, main: vtkRenderer) -> None:
        self._main = main
        self.renderer = vtkRenderer()
        self.renderer.SetLayer(1)
        self.renderer.SetViewport(*_CORNER)
        self.renderer.InteractiveOff()
        cube = vtkAnnotatedCubeActor()
        cube.SetXPlusFaceText("L")
        cube.SetXMinusFaceText("R")
        cube.SetYPlusFaceText("P")
        cube.SetYMinusFaceText("A")
        cube.SetZPlusFaceText("H")
        cube.SetZMinusFaceText("F")
        cube.SetXFaceTextRotation(0.0)
        cube.SetYFaceTextRotation(0.0)
        cube.SetZFaceTextRotation(-90.0)
        cube.SetFaceTextScale(0.6)
        cube.GetCubeProperty().SetColor(0.30, 0.34, 0.40)
        cube.GetTextEdgesProperty().SetColor(0.10, 0.11, 0.13)
        cube.GetTextEdgesProperty().SetLineWidth(1.0)
        for face in ("XPlus", "XMinus", "YPlus", "YMinus", "ZPlus", "ZMinus"):
            getattr(cube, f"Get{face}FaceProperty")().SetColor(0.92, 0.93, 0.95)
        self._cube = cube
        self.renderer.AddActor(cube)
        self._observer = main.AddObserver(vtkCommand.StartEvent, self._turn)

    @property
    def visible(self) -> bool:
        """Whether it is shown: not for an image that lies nowhere in the patient."""
        return bool(self._cube.GetVisibility())

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._cube.SetVisibility(visible)

    def _turn(self, _caller: Any, _event: str) -> None:
        camera, main = self.renderer.GetActiveCamera(), self._main.GetActiveCamera()
        x, y, z = main.GetDirectionOfProjection()
        camera.SetFocalPoint(0.0, 0.0, 0.0)
        camera.SetPosition(-4.0 * x, -4.0 * y, -4.0 * z)
        camera.SetViewUp(*main.GetViewUp())
        self.renderer.ResetCameraClippingRange()

    def close(self) -> None:
        """Stop turning."""
        self._main.RemoveObserver(self._observer)
        self.renderer.RemoveAllViewProps()
