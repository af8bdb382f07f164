"""Under the views: play a film or go through the points of a time axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtGui import QHideEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSlider, QWidget

from medviewer.app.volumes import count_of
from medviewer.core.geometry import Vec3, vec3
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.ui.bind import Links
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import tool_button
from medviewer.ui.text import label
from medviewer.ui.views.player import Player, clean_times

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0)
#: For a film that does not say how fast it was taken, and for the points of a time axis, ms.
USUAL_FRAME_MS, USUAL_POINT_MS = 100.0, 250.0


class PlayBar(QWidget):
    """Shown for a film, for pictures one behind the other, and for a volume with a time axis.

    Parameters
    ----------
    workspace : Workspace
        The document; followed until `close_bar`.
    show_time : callable
        Shows a point of the time axis of a volume: its id, the index.
    """

    def __init__(
        self, workspace: Workspace, show_time: Callable[[str, int], None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("playBar")
        self._workspace = workspace
        self._show_time = show_time
        self._volume: Volume | None = None
        self.player = Player(self._show, self)
        self.player.changed.connect(self._show_state)
        self._lay_out()
        self._links = Links()
        self._links.connect(workspace.active_changed, self._active_changed)
        self._links.connect(workspace.volume_updated, self._volume_updated)
        self._links.connect(workspace.view.crosshair_changed, self._crosshair_changed)
        self._active_changed(workspace.active)

    def _lay_out(self) -> None:
        self.back = tool_button("playBack", "step_back", lambda: self.step(-1), "One back (,)")
        self.play_button = tool_button("playButton", "run", self.toggle, "Play (P)")
        self.on = tool_button("playOn", "step_on", lambda: self.step(1), "One on (.)")
        self.repeat = tool_button("playLoop", "loop", self._loop_clicked, "Begin again at the end")
        self.repeat.setCheckable(True)
        self.repeat.setChecked(True)
        for button in (self.back, self.play_button, self.on, self.repeat):
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("playSlider")
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slider.valueChanged.connect(self._slid)
        self.where = label("", name="playWhere")
        self.speed = QComboBox()
        self.speed.setObjectName("playSpeed")
        self.speed.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.speed.setAccessibleName("Speed")
        self.speed.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.speed.activated.connect(lambda _: self._speed_chosen())
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 8, 4)
        row.setSpacing(6)
        parts: tuple[QWidget, ...] = (
            self.back, self.play_button, self.on, self.slider, self.where, self.repeat, self.speed,
        )  # fmt: skip
        for part in parts:
            row.addWidget(part, 1 if part is self.slider else 0)

    def close_bar(self) -> None:
        """Stop playing and following the document."""
        self.player.pause()
        self._links.close()

    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody looks: stop."""
        super().hideEvent(event)
        self.player.pause()

    # --- what the user asks for

    def toggle(self) -> None:
        """Play or pause."""
        if self.player.playing:
            self.player.pause()
        elif self._volume is not None and self._volume.stacking != "number":
            self.player.play()

    def step(self, by: int) -> None:
        """Go by frames or points; not beyond the ends."""
        self.player.pause()
        index = min(max(self.player.index + by, 0), self.player.count - 1)
        if self._volume is not None and index != self.player.index:
            self._show(index)

    def _slid(self, value: int) -> None:
        if value != self.player.index:
            self.player.pause()
            self._show(value)

    def _loop_clicked(self) -> None:
        self.player.loop = self.repeat.isChecked()

    def _speed_chosen(self) -> None:
        self.player.speed = float(self.speed.currentData())

    # --- the document

    def _show(self, index: int) -> None:
        """Show a frame or point; the answer comes as a signal of the document."""
        volume = self._volume
        if volume is None:
            return
        self.player.index = index
        if volume.stacking == "place":
            self._show_time(volume.id, index)
        else:
            ijk = volume.geometry.lps_to_index(self._workspace.view.crosshair_lps)
            ijk[2] = index
            self._workspace.view.crosshair_lps = vec3(volume.geometry.index_to_lps(ijk))

    def _active_changed(self, volume: Volume | None) -> None:
        self.player.pause()
        self._volume = volume if volume is not None and count_of(volume) > 1 else None
        self.setVisible(self._volume is not None)
        if self._volume is not None:
            self._load(self._volume)

    def _load(self, volume: Volume) -> None:
        count, film = count_of(volume), volume.stacking == "time"
        usual = USUAL_POINT_MS if volume.stacking == "place" else USUAL_FRAME_MS
        times = clean_times(volume.frame_times_ms, count, usual)
        self.player.load(times, self._index_of(volume))
        plays = volume.stacking != "number"
        for widget in (self.play_button, self.repeat, self.speed):
            widget.setVisible(plays)
        self._name_speeds(count * 1000.0 / times[-1], known=film and bool(volume.frame_times_ms))
        what = {"time": "Frame", "number": "Picture", "place": volume.time.name.capitalize() if volume.time else ""}
        self.slider.setAccessibleName(what[volume.stacking])
        self.slider.blockSignals(True)
        self.slider.setRange(0, count - 1)
        self.slider.blockSignals(False)
        # As wide as its widest text, so that the slider does not move while it plays.
        widest = max((self._where_text(volume, n) for n in range(count)), key=len)
        self.where.setMinimumWidth(self.where.fontMetrics().horizontalAdvance(widest.replace("1", "0")) + 4)
        self._follow()
        self._show_state()

    def _name_speeds(self, rate: float, *, known: bool) -> None:
        chosen = self.player.speed
        self.speed.clear()
        for speed in SPEEDS:
            times = {0.25: "¼", 0.5: "½"}.get(speed, f"{speed:g}")
            self.speed.addItem(f"{times}× ({rate * speed:.3g}/s)", speed)
        self.speed.setCurrentIndex(SPEEDS.index(chosen))
        self.speed.setToolTip("Speed; 1× is as it was taken" if known else "Speed; how fast it was taken is not known")

    def _volume_updated(self, volume: Volume) -> None:
        if self._volume is None or volume.id != self._volume.id:
            if self._workspace.active is volume:
                self._active_changed(volume)  # the rest of a series has arrived, and with it the other points
            return
        if count_of(volume) != count_of(self._volume) or volume.frame_times_ms != self._volume.frame_times_ms:
            self._active_changed(volume)
            return
        self._volume = volume
        self._follow()

    def _crosshair_changed(self, _lps: Vec3) -> None:
        if self._volume is not None and self._volume.stacking != "place":
            self._follow()

    def _follow(self) -> None:
        volume = self._volume
        if volume is None:
            return
        index = self._index_of(volume)
        if index != self.player.index:
            # Somebody else went there: the wheel, a key, a finding.
            self.player.pause()
            self.player.index = index
        self.slider.setValue(index)
        self.where.setText(self._where_text(volume, index))
        self.back.setEnabled(index > 0)
        self.on.setEnabled(index < self.player.count - 1)

    def _index_of(self, volume: Volume) -> int:
        if volume.stacking == "place":
            return volume.time.index if volume.time is not None else 0
        k = float(volume.geometry.lps_to_index(self._workspace.view.crosshair_lps)[2])
        return min(max(int(k + 0.5), 0), volume.geometry.size[2] - 1)

    def _where_text(self, volume: Volume, index: int) -> str:
        if volume.stacking == "place" and volume.time is not None:
            return replace(volume.time, index=index).text
        count = volume.geometry.size[2]
        if volume.stacking == "number":
            return f"picture {index + 1}/{count}"
        times = volume.frame_times_ms
        return f"frame {index + 1}/{count}" + (f"  {times[index] / 1000:.2f} s" if index < len(times) else "")

    def _show_state(self) -> None:
        playing = self.player.playing
        self.play_button.setIcon(icon("pause" if playing else "run"))
        tip = "Pause (P)" if playing else "Play (P)"
        self.play_button.setToolTip(tip)
        self.play_button.setAccessibleName(tip)
