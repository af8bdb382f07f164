"""The bridge from other threads to the thread of the window."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, Signal, Slot


class MainThread(QObject):
    """Runs functions on the thread it was made on; handed to the `JobRunner` as ``post``.

    Signals
    -------
    posted(function)
        Queued: a function posted by any thread waits for the event loop, in order.
    """

    posted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._closed = False
        self.posted.connect(self._call, Qt.ConnectionType.QueuedConnection)

    def post(self, function: Callable[[], None]) -> None:
        """Have `function` called by the event loop of the main thread; after `close` it is dropped."""
        if not self._closed:
            self.posted.emit(function)

    def close(self) -> None:
        """Drop what comes from now on."""
        self._closed = True

    @Slot(object)
    def _call(self, function: Callable[[], None]) -> None:
        if not self._closed:
            function()
