"""``medviewer export``: a saved workspace as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medviewer.app.documents import load_workspace
from medviewer.cli.console import Output, ProgressBar
from medviewer.core.errors import InputError
from medviewer.export.exporter import cases_of, find_exporter, run_export
from medviewer.io.archive import close_all
from medviewer.io.decode_worker import new_decode_worker


def export_workspace(output: Output, workspace: Path, format_id: str, folder: Path) -> dict[str, Any]:
    """Open a workspace and export it; return what was written and compared.

    Raises
    ------
    MedViewerError
        The workspace or its images cannot be opened, or the export is refused.
    """
    find_exporter(format_id)
    if not workspace.is_file():
        raise InputError(
            f"There is no workspace {workspace}.", hint="`medviewer analyze` writes one.", code="E_NO_WORKSPACE"
        )
    decode = new_decode_worker()
    try:
        with ProgressBar(output, f"Opening {workspace.name}", "cpu") as ctx:
            opened = load_workspace(ctx, workspace, decode)
            ctx.step(f"Exporting {format_id}")
            report = run_export(ctx, format_id, cases_of(opened), folder)
    finally:
        decode.close()
        close_all()
    for path in report.files:
        output.show(str(path))
    for note in report.notes:
        output.note(note)
    output.show(f"{len(report.files)} files, read back and compared in {len(report.checks)} checks")
    return report.to_json()
