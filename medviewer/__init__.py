"""MedViewer: open a study, analyze it on your own machine, correct the masks, export a labelled dataset.

From Python::

    import medviewer as mv

    study = mv.scan("study.zip")[0]
    volume = mv.load(study.series[0])
    results = mv.analyze(volume)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medviewer.core.version import __version__

if TYPE_CHECKING:
    from medviewer.app.scripting import analyze, export, interactive, load, open_workspace, scan, statistics
    from medviewer.core.dicom_ref import SeriesRef, Study
    from medviewer.core.errors import MedViewerError
    from medviewer.core.prompt import Prompt
    from medviewer.core.volume import Volume
    from medviewer.core.workspace import Workspace

__all__ = [
    "MedViewerError",
    "Prompt",
    "SeriesRef",
    "Study",
    "Volume",
    "Workspace",
    "__version__",
    "analyze",
    "export",
    "interactive",
    "load",
    "open_workspace",
    "scan",
    "statistics",
]

#: Loaded at first use: `import medviewer` alone must stay fast, every part of the program does it.
_HOMES = {
    "MedViewerError": "medviewer.core.errors",
    "Prompt": "medviewer.core.prompt",
    "SeriesRef": "medviewer.core.dicom_ref",
    "Study": "medviewer.core.dicom_ref",
    "Volume": "medviewer.core.volume",
    "Workspace": "medviewer.core.workspace",
    "analyze": "medviewer.app.scripting",
    "export": "medviewer.app.scripting",
    "interactive": "medviewer.app.scripting",
    "load": "medviewer.app.scripting",
    "open_workspace": "medviewer.app.scripting",
    "scan": "medviewer.app.scripting",
    "statistics": "medviewer.app.scripting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
