"""``medviewer statistics``: the segments of a saved workspace in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medviewer.app.statistics import StatisticsTable, statistics_of
from medviewer.cli.console import Output
from medviewer.cli.opened import opened_workspace


def measure_workspace(output: Output, workspace: Path) -> dict[str, Any]:
    """Measure the segments of every image and show them as CSV; return the same as data.

    Raises
    ------
    MedViewerError
        The workspace or its images cannot be opened.
    """
    with opened_workspace(output, workspace) as (ctx, opened):
        ctx.step("Measuring segments")
        tables = [
            statistics_of(ctx, volume, opened.segmentation(volume.id))
            for volume in opened.volumes
            if opened.segmentation(volume.id).segments
        ]
    for table in tables:
        output.show(table.to_csv().rstrip("\n"))
    return {"images": [_facts(table) for table in tables]}


def _facts(table: StatisticsTable) -> dict[str, Any]:
    segments = [
        {"name": row.name, "value": row.segment.value, **{column.id: column.value(row) for column in table.columns}}
        for row in table.rows
    ]
    return {"image": table.volume.name, "intensity_unit": table.volume.unit, "segments": segments}
