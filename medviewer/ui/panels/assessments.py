"""What models say of the whole image: how probable each concept is, what is doubtful, maps to lay over the image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QProgressBar, QPushButton, QSlider, QVBoxLayout, QWidget

from medviewer.core.finding import Assessment
from medviewer.core.shown_text import percent
from medviewer.core.volume import Volume
from medviewer.ui.bind import Merged
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import Command, Panel, push_button
from medviewer.ui.text import label, made_by, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

FIRST_OPACITY = 0.5
SCALE = 1000


class AssessmentsPanel(Panel):
    """Stands above the list of findings; takes no room where no model has said anything."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "assessmentsPanel", command, parent)
        self._inside = QWidget()
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setObjectName("mapOpacity")
        self.opacity.setRange(0, 100)
        self.opacity.setValue(round(FIRST_OPACITY * 100))
        self.opacity.setToolTip("How strongly the map covers the image")
        self.opacity.setAccessibleName("Map opacity")
        self.opacity.valueChanged.connect(lambda value: self.app.overlays.set_opacity(value / 100))
        self._opacity_row = QWidget()
        row = QHBoxLayout(self._opacity_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(label("Opacity", role="soft"))
        row.addWidget(self.opacity, 1)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(8, 8, 8, 0)
        self._layout.setSpacing(6)
        self._layout.addWidget(self._inside)
        self._layout.addWidget(self._opacity_row)
        self._buttons: dict[str, QPushButton] = {}
        self._refresh = Merged(self, self._fill)
        self.links.connect(app.workspace.assessments_changed, self._refresh)
        self.links.connect(app.workspace.active_changed, self._refresh)
        self.links.connect(app.workspace.overlay_changed, self._show_overlay)
        self._fill()

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        super().close_panel()

    def _fill(self) -> None:
        volume = self.volume
        said = self.app.workspace.assessments(volume.id) if volume is not None else ()
        self._buttons.clear()
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for assessment in said:
            column.addLayout(self._one(assessment))
        self._layout.replaceWidget(self._inside, inside)
        self._inside.deleteLater()
        self._inside = inside
        self._show_overlay()
        self.setVisible(bool(said))

    def _show_overlay(self) -> None:
        overlay = self.app.workspace.overlay
        shown = overlay.volume.id if overlay is not None else ""
        for map_id, button in self._buttons.items():
            button.setChecked(map_id == shown)
        self._opacity_row.setVisible(shown in self._buttons)

    def _one(self, said: Assessment) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(5)
        grid.setColumnStretch(1, 1)
        title = label(said.name, name=f"assessment.{said.provenance.task}", role="heading", wrap=True)
        title.setToolTip(plain_tip(made_by(said.provenance)))
        grid.addWidget(title, 0, 0, 1, 2)
        for n, finding in enumerate(said.findings):
            bar = QProgressBar()
            bar.setObjectName(f"probability.{said.provenance.task}.{n}")
            bar.setRange(0, SCALE)
            bar.setValue(round(finding.probability * SCALE))
            bar.setFormat(percent(finding.probability))
            name = finding.concept.code_meaning
            bar.setAccessibleName(name)
            bar.setToolTip(plain_tip(f"{name}: {percent(finding.probability)}\n{made_by(said.provenance)}"))
            row = grid.rowCount()
            grid.addWidget(label(name, role="" if n == 0 else "soft", wrap=True), row, 0)
            grid.addWidget(bar, row, 1)
        for flag in said.flags:
            grid.addLayout(_doubt(flag.text, f"doubt.{said.provenance.task}.{flag.code}"), grid.rowCount(), 0, 1, 2)
        if said.maps:
            grid.addLayout(self._maps(said.maps), grid.rowCount(), 0, 1, 2)
        return grid

    def _maps(self, maps: tuple[Volume, ...]) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(6)
        for n, volume in enumerate(maps):
            button = push_button(
                f"map.{volume.name}", volume.name, partial(self._toggle, volume), picture="eye",
                tip=f"Show “{volume.name}” over the image, or hide it",
            )  # fmt: skip
            button.setCheckable(True)
            self._buttons[volume.id] = button
            grid.addWidget(button, n // 2, n % 2)
        return grid

    def _toggle(self, volume: Volume) -> None:
        active, overlay = self.volume, self.app.workspace.overlay
        if overlay is not None and overlay.volume.id == volume.id:
            self.app.overlays.hide()
        elif active is not None:
            self.attempt(lambda: self.app.overlays.show_map(active.id, volume.id, self.opacity.value() / 100))


def _doubt(text: str, name: str) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    sign = label()
    sign.setPixmap(icon("warning", "warning").pixmap(14))
    row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
    row.addWidget(label(text, name=name, role="warning", wrap=True), 1)
    return row
