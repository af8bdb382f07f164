"""Connections to signals that are taken back together."""

from __future__ import annotations

from collections.abc import Callable

from psygnal import SignalInstance


class Links:
    """Who connects disconnects: pairs of a signal and who listens to it."""

    def __init__(self, *pairs: tuple[SignalInstance, Callable[..., None]]) -> None:
        self._pairs = pairs
        for signal, slot in pairs:
            signal.connect(slot)

    def close(self) -> None:
        """Disconnect all; calling it twice is harmless."""
        for signal, slot in self._pairs:
            signal.disconnect(slot)
        self._pairs = ()
