"""``medviewer analyze``: the main job without a window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medviewer.app.bootstrap import discover_plugins
from medviewer.app.context import WARM_MODULES
from medviewer.app.headless import analyze_volume, choose_series, open_at
from medviewer.app.paths import settings_file
from medviewer.app.report import clear_report, write_report
from medviewer.app.settings import Settings
from medviewer.cli.console import Output, ProgressBar
from medviewer.core.errors import InputError
from medviewer.io.archive import close_all
from medviewer.io.decode_worker import new_decode_worker
from medviewer.io.dicom_scan import scan_paths
from medviewer.jobs.shared_array import sweep_blocks
from medviewer.jobs.worker import WorkerProcess


def analyze_path(
    output: Output,
    path: Path,
    folder: Path,
    series: str | None,
    task_ids: Sequence[str] | None,
    device: str,
    time: int = 0,
) -> dict[str, Any]:
    """Scan, open, analyze, write; return what report.json holds.

    Raises
    ------
    MedViewerError
        Nothing could be analyzed, or every task failed.
    """
    sweep_blocks()
    registry = discover_plugins()
    for task_id in task_ids or ():
        registry.task(task_id)
    _check_folder(folder)
    clear_report(folder)
    accepted = Settings.load(settings_file()).accepted_licenses
    model, decode = WorkerProcess("model", warm=WARM_MODULES, device=device), new_decode_worker()
    try:
        with ProgressBar(output, f"Reading {path.name}", device) as ctx:
            # The worker imports torch while the series is read.
            model.start()
            ref = choose_series(scan_paths(ctx, [path]), series)
            ctx.step(f"Opening {ref.title}")
            volume = open_at(ctx, ref, time, decode)
            analysis = analyze_volume(ctx, volume, registry, model, task_ids, ctx.step, accepted)
            analysis.peak_rss |= {"model": model.peak_rss, "decode": decode.peak_rss}
            ctx.step("Writing results")
            report = write_report(ctx, analysis, folder, (path.absolute(),))
    finally:
        model.close()
        decode.close()
        close_all()
    _show(output, report, folder)
    return report


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be made ({error.strerror}).", hint="Choose another with -o.", code="E_OUTPUT"
        ) from error


def _show(output: Output, report: dict[str, Any], folder: Path) -> None:
    for task in report["tasks"]:
        if task["state"] != "success":
            output.show(f"{task['title']}: failed. {task['error']['text']} {task['error']['hint']}")
            continue
        output.show(f"{task['title']}: {task['seconds']:.1f} s")
        for segment in task["segments"]:
            output.show(f"  {segment['name']:32} {segment['size']:10.1f} {segment['size_unit']}  {segment['file']}")
        if task["candidates"]:
            output.show(f"  {task['candidates']} candidates, see lesions.csv")
        for finding in task["findings"]:
            output.show(f"  {finding['concept']:32} {finding['probability']:10.1%}")
        for about, flag in [
            *(("", flag) for flag in task["flags"]),
            *((f"{segment['name']}: ", flag) for segment in task["segments"] for flag in segment["flags"]),
        ]:
            output.show(f"  Look twice: {about}{flag['text']}")
    memory = ", ".join(f"{name} {n / 1e6:.0f} MB" for name, n in report["peak_memory_bytes"].items() if n)
    output.show(f"{report['seconds']:.1f} s in tasks; peak memory: {memory}")
    output.show(f"Results: {folder}")
