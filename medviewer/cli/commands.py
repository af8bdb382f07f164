"""The commands. Each parses its arguments, calls the use case, and says what came of it."""

from __future__ import annotations

import logging
import re
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from medviewer.cli.console import CommandEnded, Output, ProgressBar
from medviewer.cli.exit_codes import OK, TASK_FAILED, exit_code
from medviewer.cli.models import models
from medviewer.cli.pacs import pacs
from medviewer.cli.training import evaluate, train
from medviewer.core.errors import MedViewerError
from medviewer.core.version import __version__

_EPILOG = (
    "Without a command: `medviewer [PATH…]` opens the window; PATH is a folder, a file, a zip or a saved workspace. "
    "Exit status: 0 fine, 2 wrong usage, 3 bad input, 4 a task failed. "
    "Research software, not a medical device."
)
cli = typer.Typer(
    name="medviewer",
    help="Open a study, analyze it on your own machine, correct the masks, export a labelled dataset.",
    epilog=_EPILOG,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

cli.add_typer(pacs, name="pacs")
cli.add_typer(models, name="models")
cli.command()(train)
cli.command()(evaluate)

_Path = Annotated[Path, typer.Argument(help="A folder, a file or a zip.", show_default=False)]
_Out = Annotated[
    Path, typer.Option("-o", "--output", help="Folder for the results; made if missing.", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="Write one JSON value to standard output and nothing else.")]


def run_command(words: Sequence[str]) -> int:
    """Run a command; return the exit status."""
    # Warnings are told by the commands themselves, in their own words.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    command = typer.main.get_command(cli)
    try:
        command.main(args=list(words), prog_name="medviewer")
    except CommandEnded as ended:
        return ended.code
    # Typer says what was wrong with the usage and ends with 2.
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    return OK


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medviewer {__version__}")
        raise typer.Exit


@cli.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Open a study, analyze it on your own machine, correct the masks, export a labelled dataset."""


@cli.command()
def info(path: _Path, as_json: _Json = False) -> None:
    """List patients, studies and series: modality, size, spacing, geometry, and what is wrong with it."""
    from medviewer.cli.info import show_studies, study_facts
    from medviewer.io.archive import close_all
    from medviewer.io.dicom_scan import scan

    output = Output(as_json=as_json)
    try:
        with output.refusals():
            with ProgressBar(output, f"Reading {path.name}") as ctx:
                found = scan(ctx, [path])
            if as_json:
                studies = [study_facts(study) for study in found.studies]
                output.result({"path": str(path), "studies": studies, "skipped": dict(found.skipped)})
            else:
                show_studies(output, found.studies, found.skipped)
    finally:
        close_all()


@cli.command()
def tasks(as_json: _Json = False) -> None:
    """List the analysis tasks of all plugins, and plugins that cannot be used."""
    from rich.table import Table

    from medviewer.app.bootstrap import discover_plugins

    output = Output(as_json=as_json)
    registry = discover_plugins()
    output.result(
        {
            "tasks": [_task_facts(task) for task in registry.tasks],
            "broken": [{"name": b.name, "path": str(b.path), "reason": b.reason} for b in registry.broken],
        }
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("Task", "Title", "Kind", "For", "By itself", "Plugin"):
        table.add_column(title, overflow="fold")
    for task in registry.tasks:
        fits = ", ".join(sorted(task.modalities)) or "any"
        own = "yes" if task.auto else ""
        table.add_row(task.id, task.title, task.kind, fits, own, f"{task.plugin} {task.plugin_version}")
    output.show(table)
    for broken in registry.broken:
        output.show(f"Cannot be used: {broken.name}: {broken.reason}")


def _task_facts(task: Any) -> dict[str, Any]:
    return {
        "id": task.id,
        "title": task.title,
        "description": task.description,
        "kind": task.kind,
        "inputs": dict(task.inputs),
        "modalities": sorted(task.modalities),
        "body_parts": sorted(task.body_parts),
        "auto": task.auto if isinstance(task.auto, bool) else sorted(task.auto),
        "lane": task.lane,
        "license": task.license,
        "plugin": task.plugin,
        "plugin_version": task.plugin_version,
    }


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise typer.BadParameter("use auto, cpu, cuda or cuda:N")
    return value


@cli.command()
def analyze(
    path: _Path,
    output_folder: _Out,
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID; default: the biggest volume.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task id, repeatable; default: all that fit.")] = None,
    time: Annotated[int, typer.Option(min=0, help="Point of a time axis, from 0, as `info` lists them.")] = 0,
    device: Annotated[str, typer.Option(callback=_device, help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: _Json = False,
) -> None:
    """Analyze a study; write report.json, lesions.csv, masks/ and workspace.mvw."""
    from medviewer.cli.analyze import analyze_path

    output = Output(as_json=as_json)
    with output.refusals():
        report = analyze_path(output, path, output_folder, series, task or None, device, time)
        output.result(report)
        if any(one["state"] != "success" for one in report["tasks"]):
            raise CommandEnded(TASK_FAILED)


@cli.command()
def export(
    workspace: Annotated[Path, typer.Argument(help="A saved workspace (.mvw).", show_default=False)],
    output_folder: _Out,
    file_format: Annotated[str, typer.Option("--format", help="nifti, nnunet or dicom-seg.", show_default=False)],
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the format, repeatable.")] = None,
    as_json: _Json = False,
) -> None:
    """Export a workspace; every file is read back and compared before success is reported."""
    from medviewer.cli.export import export_workspace

    output = Output(as_json=as_json)
    with output.refusals():
        output.result(export_workspace(output, workspace, file_format, output_folder, option or ()))


@cli.command()
def statistics(
    workspace: Annotated[Path, typer.Argument(help="A saved workspace (.mvw).", show_default=False)],
    as_json: _Json = False,
) -> None:
    """Measure the segments of a workspace; write CSV: sizes, diameters, shape, intensities."""
    from medviewer.cli.statistics import measure_workspace

    output = Output(as_json=as_json)
    with output.refusals():
        output.result(measure_workspace(output, workspace))


@cli.command()
def doctor(
    device: Annotated[str, typer.Option(callback=_device, help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: _Json = False,
) -> None:
    """Check this machine: versions, memory, GPU, OpenGL, decoders, workers, plugins, folders."""
    import tempfile

    from rich.text import Text

    from medviewer.app.bootstrap import discover_plugins
    from medviewer.app.paths import data_dir
    from medviewer.cli.doctor import examine, to_json
    from medviewer.jobs.shared_array import block_folder

    output = Output(as_json=as_json)
    folders = {"data": data_dir(), "temporary files": Path(tempfile.gettempdir()), "shared arrays": block_folder()}
    checks = []
    styles = {"ok": "green", "note": "yellow", "fail": "red"}
    for check in examine(discover_plugins(), folders, device):
        checks.append(check)
        output.show(Text.assemble((f"{check.state:5}", styles[check.state]), f"{check.name:24} {check.text}"))
        if check.hint and check.state != "ok":
            output.show("\n".join(f"{'':30}{line}" for line in check.hint.splitlines()))
    answer = to_json(checks)
    output.result(answer)
    output.show("The main job works here." if answer["ok"] else "The main job would fail here.")
    if not answer["ok"]:
        raise CommandEnded(TASK_FAILED)


def _size(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\d+,\d+,\d+", value):
        raise typer.BadParameter("use I,J,K, for example 256,256,128")
    return value


@cli.command()
def demo(
    output_folder: Annotated[Path, typer.Option("-o", "--output", help="Folder; made if missing.")] = Path(
        "medviewer-demo"
    ),
    size: Annotated[str | None, typer.Option(callback=_size, help="Voxels I,J,K; default 256,256,128.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same patient.")] = 0,
    kind: Annotated[str, typer.Option(help="thorax (CT) or brain (MR).")] = "thorax",
    as_json: _Json = False,
) -> None:
    """Write a synthetic study as DICOM, with the truth about it beside it."""
    from typing import get_args

    from medviewer.phantoms.study import Kind, write_demo_study

    if kind not in get_args(Kind):
        raise typer.BadParameter(f"use one of {', '.join(get_args(Kind))}", param_hint="--kind")
    voxels = tuple(int(n) for n in size.split(",")) if size else None
    if voxels and min(voxels) < 16:
        raise typer.BadParameter("at least 16 voxels along each axis", param_hint="--size")
    output = Output(as_json=as_json)
    with output.refusals(), ProgressBar(output, "Making a study") as ctx:
        study = write_demo_study(output_folder, kind, voxels, seed, ctx.progress)  # type: ignore[arg-type]  # checked above
    output.show(f"{len(study.files)} slices in {study.dicom_folder}")
    output.show(f"the truth in {study.truth_json.parent}")
    output.result(
        {
            "folder": str(study.folder),
            "dicom": str(study.dicom_folder),
            "files": len(study.files),
            "series_instance_uid": study.series_instance_uid,
            "truth": str(study.truth_json),
        }
    )


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="A Python file; what follows is its own.", show_default=False)],
) -> None:
    """Run a Python script with this program's packages, also in the frozen program."""
    output = Output()
    if not script.is_file():
        raise typer.BadParameter(f"there is no file {script}", param_hint="SCRIPT")
    sys.argv = [str(script), *context.args]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except MedViewerError as error:
        output.refuse(error)
        raise CommandEnded(exit_code(error)) from error
    except SystemExit as ended:
        if isinstance(ended.code, str):
            output.note(ended.code)
        raise CommandEnded(ended.code if isinstance(ended.code, int) else int(ended.code is not None)) from ended
    # The script is the user's: whatever it raises is shown to him as Python would.
    except Exception as error:
        trace = error.__traceback__
        output.note("".join(traceback.format_exception(type(error), error, trace)).rstrip())
        raise CommandEnded(1) from error
