"""Findings in 3D."""

from __future__ import annotations

from collections.abc import Sequence

from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer

from medviewer.core.annotation import Box3D
from medviewer.core.segmentation import Color
from medviewer.render.marks import REVIEW_COLORS, SELECTED


def _paint(actor: vtkActor, color: Color, opacity: float = 1.0) -> None:
    look = actor.GetProperty()
    look.SetColor(*(channel / 255 for channel in color))
    look.SetOpacity(opacity)


class FindingProps:
    """A sphere for every finding that is not rejected."""

    def __init__(self, renderer: vtkRenderer) -> None:
        self._renderer = renderer
        self._actors: list[vtkActor] = []

    def show(self, boxes: Sequence[Box3D], selected: str) -> None:
        """Show these findings instead of the ones before."""
        for actor in self._actors:
            self._renderer.RemoveActor(actor)
        self._actors = [self._sphere(box, box.id == selected) for box in boxes if box.review != "rejected"]
        for actor in self._actors:
            self._renderer.AddActor(actor)

    def _sphere(self, box: Box3D, chosen: bool) -> vtkActor:
        smallest = min(b - a for a, b in zip(box.lower, box.upper, strict=True))
        source = vtkSphereSource()
        source.SetCenter(*box.center_lps)
        source.SetRadius(max(2.0, (box.diameter_mm or smallest) / 2 * 1.2))
        source.SetThetaResolution(20)
        source.SetPhiResolution(14)
        mapper = vtkPolyDataMapper()
        mapper.SetInputConnection(source.GetOutputPort())
        actor = vtkActor()
        actor.SetMapper(mapper)
        _paint(actor, SELECTED if chosen else REVIEW_COLORS[box.review], 0.75 if chosen else 0.5)
        return actor
