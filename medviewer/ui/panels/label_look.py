"""How segments are drawn: fill and outline, how strongly all of them and the active one, and what else is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QMenu,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)  # fmt: skip

from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.shown_text import shown
from medviewer.core.view_state import MAX_OUTLINE, LabelStyle
from medviewer.core.volume import Volume
from medviewer.ui.bind import Binding, Links, Merged, bind
from medviewer.ui.icons import icon
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

_STYLES: tuple[tuple[LabelStyle, str], ...] = (("both", "Fill + outline"), ("outline", "Outline"), ("fill", "Fill"))


class LabelLookControls(QWidget):
    """One row for all segments, and a menu for the active one and what is changed rarely."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("labelLook")
        self._app = app
        self._links = Links()
        self._watched: Segmentation | None = None
        #: The active segment as it was before a drag of its slider.
        self._before: Segment | None = None
        view = app.workspace.view
        self.opacity = _slider("overlayOpacity", "Opacity of all segments", "How strongly segments cover the image")
        self._bindings: list[Binding] = [bind(self.opacity, view, "overlay_opacity", view.overlay_changed, scale=100)]
        self.style_box = QComboBox()
        self.style_box.setObjectName("labelStyle")
        self.style_box.setAccessibleName("Fill or outline")
        self.style_box.setToolTip("How segments are drawn over slices (O)")
        for style, text in _STYLES:
            self.style_box.addItem(text, style)
        self.style_box.activated.connect(lambda _: self._set_look(style=self.style_box.currentData()))
        self.own = _slider("segmentOpacity", "Opacity of the active segment", "")
        self.own_name = label("", name="segmentOpacityName", role="soft")
        self.own.sliderPressed.connect(self._pressed)
        self.own.valueChanged.connect(self._moved)
        self.own.sliderReleased.connect(self._released)
        self.more = self._make_more()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(label("Opacity", role="soft"))
        row.addWidget(self.opacity, 1)
        row.addWidget(self.style_box)
        row.addWidget(self.more)
        self._refresh = Merged(self, self._show)
        self._links.connect(view.overlay_changed, self._show_look)
        self._links.connect(app.workspace.active_changed, self._watch)
        self._show_look()
        self._watch(app.workspace.active)

    def _make_more(self) -> QToolButton:
        button = QToolButton()
        button.setObjectName("labelLookMore")
        button.setIcon(icon("settings"))
        button.setAccessibleName("More about how segments are drawn")
        button.setToolTip("Opacity of the active segment, width of outlines, active segment only, neighbouring slices")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.addAction(self._own_row(menu))
        menu.addSeparator()
        self.widths = QActionGroup(menu)
        for width in range(1, MAX_OUTLINE + 1):
            action = QAction(f"Outline {width} px", self.widths)
            action.setObjectName(f"outlineWidth.{width}")
            action.setCheckable(True)
            action.setData(width)
        self.widths.triggered.connect(lambda action: self._set_look(width=action.data()))
        menu.addActions(self.widths.actions())
        menu.addSeparator()
        self.only = self._switch(menu, "onlyActive", "Active segment only", "Shift+O", "only_active")
        self.neighbors = self._switch(menu, "neighbors", "Its outline in the neighbouring slices", "Alt+O", "neighbors")
        button.setMenu(menu)
        return button

    def _own_row(self, menu: QMenu) -> QWidgetAction:
        """The opacity of the active segment, as an entry of the menu."""
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(12, 6, 12, 6)
        column.setSpacing(2)
        column.addWidget(self.own_name)
        column.addWidget(self.own)
        action = QWidgetAction(menu)
        action.setDefaultWidget(inside)
        return action

    def _switch(self, menu: QMenu, name: str, text: str, key: str, field: str) -> QAction:
        action = menu.addAction(f"{text}\t{key}")
        action.setObjectName(name)
        action.setCheckable(True)
        action.triggered.connect(lambda on: self._set_look(**{field: on}))
        return action

    def close_controls(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        self._watch(None)
        self._links.close()
        for binding in self._bindings:
            binding.close()

    # --- all segments

    def _set_look(self, **changes: object) -> None:
        view = self._app.workspace.view
        view.look = replace(view.look, **changes)  # type: ignore[arg-type]  # fields of the look by their names

    def _show_look(self) -> None:
        look = self._app.workspace.view.look
        self.style_box.setCurrentIndex(self.style_box.findData(look.style))
        self.widths.actions()[look.width - 1].setChecked(True)
        self.widths.setEnabled(look.style != "fill")
        self.only.setChecked(look.only_active)
        self.neighbors.setChecked(look.neighbors)

    # --- the active one

    def _watch(self, volume: Volume | None) -> None:
        if self._watched is not None:
            self._watched.segments_changed.disconnect(self._refresh, missing_ok=True)
            self._watched.active_changed.disconnect(self._refresh, missing_ok=True)
        self._watched = None
        if volume is not None and self._app.workspace.has_volume(volume.id):
            self._watched = self._app.workspace.segmentation(volume.id)
            self._watched.segments_changed.connect(self._refresh)
            self._watched.active_changed.connect(self._refresh)
        self._show()

    @property
    def _active(self) -> Segment | None:
        return self._watched.find(self._watched.active) if self._watched is not None else None

    def _show(self) -> None:
        active = self._active
        self.own.setEnabled(active is not None)
        if self.own.isSliderDown():
            return
        self.own.blockSignals(True)
        self.own.setValue(round(100 * active.opacity) if active is not None else 100)
        self.own.blockSignals(False)
        self.own_name.setText(f"Opacity of “{shown(active.name, 30)}”" if active is not None else "No active segment")

    def _pressed(self) -> None:
        self._before = self._active

    def _moved(self, percent: int) -> None:
        """Show at once what a drag does; it becomes a step when it ends. A key or the wheel is a step of its own."""
        active = self._active
        if active is None or self._watched is None:
            return
        if self.own.isSliderDown():
            self._watched.put_segment(replace(active, opacity=percent / 100))
        else:
            self._commit(active, percent / 100)

    def _released(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            self._commit(before, self.own.value() / 100)

    def _commit(self, before: Segment, opacity: float) -> None:
        if self._watched is not None and self._watched.find(before.value) is not None:
            self._app.segments.set_opacity(self._watched.volume_id, before, opacity)


def _slider(name: str, accessible: str, tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setObjectName(name)
    slider.setRange(0, 100)
    slider.setAccessibleName(accessible)
    slider.setToolTip(tip)
    return slider
