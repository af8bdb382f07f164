"""What a tool computes: how far it is, apply it, or drop it; the preview pulses meanwhile."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QWidget

from medviewer.ui.bind import Links
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

_TICK_MS = 120
_PERIOD_S = 1.6


class EffectRow(QWidget):
    """Shown while a tool that computes is in the hand, or stays beside another."""

    def __init__(self, app: AppContext, links: Links) -> None:
        super().__init__()
        self.setObjectName("effectRow")
        self._app = app
        self._host = host = app.router.effects
        self.state = label("", role="soft")
        self.state.setObjectName("effectState")
        self.preview = push_button("effectPreview", "Preview", host.preview, tip="Show what would change")
        self.apply = push_button("effectApply", "Apply", host.apply, tip="Make the change (Enter in a view)")
        self.cancel = push_button("effectCancel", "Cancel", host.discard, tip="Drop it (Esc)")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.state, 1)
        for button in (self.preview, self.apply, self.cancel):
            row.addWidget(button)
        self._pulse = QTimer(self)
        self._pulse.setInterval(_TICK_MS)
        self._pulse.timeout.connect(self._beat)
        links.connect(host.changed, self._show)
        links.connect(app.router.changed, self._show)
        self._show()

    def stop(self) -> None:
        """Let the preview rest."""
        self._pulse.stop()

    def _show(self) -> None:
        host = self._host
        self.setVisible(host.effect is not None)
        self.preview.setVisible(host.effect is not None and not host.effect.live)
        self.apply.setEnabled(host.effect is not None)
        self.cancel.setEnabled(host.state != "idle")
        result = host.result
        empty = host.state == "previewing" and not self._app.workspace.view.preview
        texts = {
            "idle": host.refusal,
            "computing": "Computing…",
            "previewing": "Nothing would change" if empty else "Preview",
        }
        self.state.setText(result.note if result is not None and result.note else texts[host.state])
        if host.state == "previewing":
            self._pulse.start()
        else:
            self._pulse.stop()

    def _beat(self) -> None:
        wave = (1 - math.cos(2 * math.pi * time.monotonic() / _PERIOD_S)) / 2
        self._app.workspace.view.preview_opacity = 0.25 + 0.5 * wave
