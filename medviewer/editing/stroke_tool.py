"""What tools share that write from press to release."""

from __future__ import annotations

from medviewer.core.geometry import Vec3
from medviewer.editing.editor import Stroke
from medviewer.editing.tool import BaseTool, Key


class StrokeTool(BaseTool):
    """A tool with a stroke in the hand: Esc takes it back, and what ends the tool keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self._stroke: Stroke | None = None
        #: Where the pointer was last in this stroke, LPS mm.
        self._last: Vec3 | None = None

    def deactivate(self) -> None:
        """Stop, keeping what was written."""
        self._finish()
        super().deactivate()

    def key(self, key: Key) -> bool:
        """Esc takes back the stroke in the hand."""
        if key != "cancel" or self._stroke is None or self.ctx is None:
            return False
        self._stroke = self._last = None
        self.ctx.editor.cancel()
        return True

    def _finish(self) -> None:
        """Keep the stroke in the hand, if there is one."""
        if self._stroke is not None:
            self._stroke = self._last = None
            if self.ctx is not None:
                self.ctx.editor.commit()
