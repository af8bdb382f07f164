"""The clock of a film: which frame is due now. What was missed is left out, never caught up with."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import monotonic

from PySide6.QtCore import QObject, Qt, QTimer, Signal


def clean_times(times_ms: Sequence[float], count: int, usual_ms: float) -> tuple[float, ...]:
    """Return when each of `count` frames begins, ms, and when the last one ends.

    Times that are missing, or do not rise, give way to one frame every `usual_ms`.
    """
    rising = len(times_ms) == count and all(b > a for a, b in pairwise(times_ms))
    if count < 2 or not rising:
        return tuple(n * usual_ms for n in range(count + 1))
    first = times_ms[0]
    return (*(t - first for t in times_ms), times_ms[-1] - first + (times_ms[-1] - first) / (count - 1))


class Player(QObject):
    """Shows frames when they are due.

    Parameters
    ----------
    show : callable
        Shows the frame with this index, counted from 0.
    now_ms : callable
        A clock that never goes back.

    Signals
    -------
    changed()
        It began or stopped to play.
    """

    changed = Signal()

    def __init__(
        self,
        show: Callable[[int], None],
        parent: QObject | None = None,
        now_ms: Callable[[], float] = lambda: monotonic() * 1000.0,
    ) -> None:
        super().__init__(parent)
        self._show = show
        self._now_ms = now_ms
        self._times: tuple[float, ...] = (0.0, 1.0)
        self._speed = 1.0
        self._began_ms = 0.0
        self.index = 0
        self.loop = True
        self._playing = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.tick)

    @property
    def playing(self) -> bool:
        """Whether it plays."""
        return self._playing

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._times) - 1

    @property
    def speed(self) -> float:
        """How many times faster than it was taken."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._speed = speed
        if self._playing:
            self._begin_at(self.index)
            self._wait()

    def load(self, times_ms: Sequence[float], index: int = 0) -> None:
        """Take another film, which does not play yet; `times_ms` as `clean_times` returns them."""
        self.pause()
        self._times = tuple(times_ms)
        self.index = index

    def play(self) -> None:
        """Go on; from the beginning when it stands at the end."""
        if self._playing or self.count < 2:
            return
        self._playing = True
        at_end = self.index >= self.count - 1
        self._begin_at(0 if at_end else self.index)
        if at_end:
            self._put(0)
        self._wait()
        self.changed.emit()

    def pause(self) -> None:
        """Stop at this frame."""
        self._timer.stop()
        if self._playing:
            self._playing = False
            self.changed.emit()

    def tick(self) -> None:
        """Show what is due now."""
        if not self._playing:
            return
        elapsed = (self._now_ms() - self._began_ms) * self._speed
        if elapsed >= self._times[-1]:
            if not self.loop:
                self._put(self.count - 1)
                self.pause()
                return
            elapsed %= self._times[-1]
            self._began_ms = self._now_ms() - elapsed / self._speed
        self._put(min(self.count - 1, bisect_right(self._times, elapsed) - 1))
        self._wait()

    def _begin_at(self, index: int) -> None:
        self._began_ms = self._now_ms() - self._times[index] / self._speed

    def _put(self, index: int) -> None:
        if index != self.index:
            self.index = index
            self._show(index)

    def _wait(self) -> None:
        # After the frame has been shown: a machine that is too slow for the film misses frames, and none queue up.
        due_ms = self._began_ms + self._times[self.index + 1] / self._speed
        self._timer.start(max(1, round(due_ms - self._now_ms())))
