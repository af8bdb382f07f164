"""Export open volumes with their segments and findings; success means that the files were read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


class ExportCases:
    """Runs exporters as jobs."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
