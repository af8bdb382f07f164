"""``medviewer statistics``: the segments of a saved workspace in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medviewer.app.documents import load_workspace
from medviewer.app.statistics import StatisticsTable, statistics_of
from medviewer.cli.console import Output, ProgressBar
from medviewer.core.errors import InputError
from medviewer.io.archive import close_all
from medviewer.io.decode_worker import new_decode_worker


def measure_workspace(output: Output, workspace: Path) -> dict[str, Any]:
    """Measure the segments of every image and show them as CSV; return the same as data.

    Raises
    ------
    MedViewerError
        The workspace or its images cannot be opened.
    """
    if not workspace.is_file():
        raise InputError(
            f"There is no workspace {workspace}.", hint="`medviewer analyze` writes one.", code="E_NO_WORKSPACE"
        )
    decode = new_decode_worker()
    try:
        with ProgressBar(output, f"Opening {workspace.name}", "cpu") as ctx:
            opened = load_workspace(ctx, workspace, decode)
            ctx.step("Measuring segments")
            tables = [
                statistics_of(ctx, volume, opened.segmentation(volume.id))
                for volume in opened.volumes
                if opened.segmentation(volume.id).segments
            ]
    finally:
        decode.close()
        close_all()
    for table in tables:
        output.show(table.to_csv().rstrip("\n"))
    return {"images": [_facts(table) for table in tables]}


def _facts(table: StatisticsTable) -> dict[str, Any]:
    segments = [
        {"name": row.name, "value": row.segment.value, **{column.id: column.value(row) for column in table.columns}}
        for row in table.rows
    ]
    return {"image": table.volume.name, "intensity_unit": table.volume.unit, "segments": segments}
