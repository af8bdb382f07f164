"""What the exit status of a command says."""

from __future__ import annotations

from typing import Final

from medviewer.core.errors import ExportError, MedViewerError, PluginError, TaskError
from medviewer.io.network.errors import NetworkError

OK: Final = 0
USAGE: Final = 2
BAD_INPUT: Final = 3
TASK_FAILED: Final = 4
INTERRUPTED: Final = 130

#: Refusals of what was typed, not of a file.
_USAGE_CODES: Final = frozenset({"E_UNKNOWN_TASK", "E_FORMAT", "E_PARAMETER", "E_DEVICE", "E_SERVER", "E_DATE"})


def exit_code(error: MedViewerError) -> int:
    """Return the exit status for a refusal."""
    if error.code in _USAGE_CODES:
        return USAGE
    return TASK_FAILED if isinstance(error, TaskError | PluginError | ExportError | NetworkError) else BAD_INPUT
