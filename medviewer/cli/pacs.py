"""``medviewer pacs``: ask servers, fetch from them, send to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from medviewer.cli.console import CommandEnded, Output, ProgressBar
from medviewer.cli.exit_codes import TASK_FAILED
from medviewer.core.errors import InputError
from medviewer.core.shown_text import counted
from medviewer.io.network.query import Found, QueryFields, dates_of
from medviewer.io.network.sending import SendReport
from medviewer.io.network.servers import Server, ServerStore

pacs = typer.Typer(help="Search servers of studies, fetch from them, send to them.", no_args_is_help=True)

_SERVER_HELP = "A server of the PACS window by its name, AET@HOST:PORT, or the address of a DICOMweb service."
_Server = Annotated[str, typer.Argument(help=_SERVER_HELP, show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Write one JSON value to standard output and nothing else.")]
_OwnTitle = Annotated[str, typer.Option("--aet", help="Our own AE title; default: the server's setting, or MEDVIEWER.")]
_ADDRESS = re.compile(r"(?P<title>[^@]+)@(?P<host>[^@]+):(?P<port>\d{1,5})")


class Level(StrEnum):
    """What is searched for."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"


def server_named(text: str, own_title: str = "") -> Server:
    """Return the known server of this name, or one that an address describes.

    Raises
    ------
    InputError
        ``E_SERVER`` when it is neither.
    """
    from medviewer.app.paths import data_dir

    found = next((server for server in ServerStore(data_dir() / "servers.toml").servers if server.name == text), None)
    address = _ADDRESS.fullmatch(text)
    if found is None and text.lower().startswith(("http://", "https://")):
        found = Server(name=text, kind="dicomweb", url=text)
    elif found is None and address is not None:
        found = Server(name=text, ae_title=address["title"], host=address["host"], port=int(address["port"]))
    if found is None:
        raise InputError(
            f"There is no server “{text}”.",
            hint="`medviewer pacs servers` lists those of the PACS window; AET@HOST:PORT or https://… also name one.",
            code="E_SERVER",
        )
    server = replace(found, own_ae_title=own_title) if own_title else found
    server.check()
    return server


@pacs.command()
def servers(as_json: _Json = False) -> None:
    """List the servers of the PACS window; passwords are never shown."""
    from medviewer.app.paths import data_dir

    output = Output(as_json=as_json)
    known = ServerStore(data_dir() / "servers.toml").servers
    facts = [{"name": s.name, "kind": s.kind, "place": s.place, "encrypted": s.is_encrypted} for s in known]
    output.result(facts)
    for server in known:
        output.show(f"{server.name}: {server.place}{'' if server.is_encrypted else ', not encrypted'}")
    if not known:
        output.show("No server is known yet. Add one in the PACS window (Ctrl+P).")


@pacs.command()
def echo(server: _Server, aet: _OwnTitle = "", as_json: _Json = False) -> None:
    """Ask whether a server answers (C-ECHO, or a DICOMweb search)."""
    from medviewer.io.network.services import services

    output = Output(as_json=as_json)
    with output.refusals():
        chosen = server_named(server, aet)
        with ProgressBar(output, "Asking") as ctx:
            seconds = services(chosen).echo(ctx, chosen)
        output.result({"server": chosen.name, "seconds": round(seconds, 4), "encrypted": chosen.is_encrypted})
        output.show(f"{chosen.name} answers in {max(1, round(seconds * 1000))} ms.")


@pacs.command()
def find(
    server: _Server,
    name: Annotated[str, typer.Option(help="Patient: “doe, j” or with * and ?.")] = "",
    patient_id: Annotated[str, typer.Option("--id", help="Patient ID; * and ? as wildcards.")] = "",
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    date: Annotated[str, typer.Option(help="today, yesterday, week, month, year, YYYYMMDD or FROM-TO.")] = "",
    modality: Annotated[str, typer.Option(help="CT, MR, …")] = "",
    description: Annotated[str, typer.Option(help="Words anywhere in the study's description.")] = "",
    referring: Annotated[str, typer.Option(help="Referring physician.")] = "",
    body_part: Annotated[str, typer.Option(help="Of a series of the study.")] = "",
    level: Annotated[Level, typer.Option(help="What to list.")] = Level.STUDY,
    study: Annotated[str, typer.Option(help="StudyInstanceUID, for the series of one study.")] = "",
    offset: Annotated[int, typer.Option(min=0, help="Leave out so many; go on where a search ended.")] = 0,
    aet: _OwnTitle = "",
    as_json: _Json = False,
) -> None:
    """Search for patients, studies or series."""
    from medviewer.io.network.services import search, services

    output = Output(as_json=as_json)
    with output.refusals():
        chosen = server_named(server, aet)
        start, end = dates_of(date) if date else ("", "")
        fields = QueryFields(
            patient_name=name, patient_id=patient_id, accession_number=accession, date_from=start, date_to=end,
            modality=modality, description=description, referring_physician=referring, body_part=body_part,
        )  # fmt: skip
        found: Found[Any]
        with ProgressBar(output, "Searching") as ctx:
            if level is Level.PATIENT:
                found = services(chosen).find_patients(ctx, chosen, fields, offset)
            elif level is Level.STUDY:
                found = search(ctx, chosen, fields, offset)
            else:
                studies = [study] if study else [r.study_instance_uid for r in search(ctx, chosen, fields, offset).rows]
                rows = services(chosen).find_series(ctx, chosen, *studies) if studies else ()
                found = Found(tuple(row for row in rows if fields.fits_series(row)))
        _show(output, found)


def _show(output: Output, found: Found[Any]) -> None:
    from rich.table import Table

    rows = [asdict(row) for row in found.rows]
    output.result({"rows": rows, "next_offset": found.next_offset})
    if not rows:
        output.show("Nothing matches.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in rows[0]:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    output.show(table)
    if found.next_offset is not None:
        output.note(f"There are more: narrow the search, or go on with --offset {found.next_offset}.")


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return "" if value is None else str(value)


@pacs.command()
def get(
    server: _Server,
    study: Annotated[str, typer.Argument(help="StudyInstanceUID.", show_default=False)],
    output_folder: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder; a second run goes on where a first broke.", show_default=False),
    ],
    series: Annotated[list[str] | None, typer.Option(help="SeriesInstanceUID, repeatable; default: all.")] = None,
    aet: _OwnTitle = "",
    as_json: _Json = False,
) -> None:
    """Fetch a study, or some of its series."""
    from medviewer.app.paths import data_dir
    from medviewer.io.network.quarantine import Quarantine
    from medviewer.io.network.retrieve import retrieve

    output = Output(as_json=as_json)
    with output.refusals():
        chosen = server_named(server, aet)
        with ProgressBar(output, "Fetching") as ctx:
            quarantine = Quarantine(data_dir() / "quarantine")
            result = retrieve(ctx, chosen, study, output_folder, series or (), quarantine)
        facts = {"folders": [str(f) for f in result.folders], "objects": result.count, "unasked": result.refused}
        output.result(facts)
        output.show(f"{counted(result.count, 'object')} in {output_folder}")
        if result.refused:
            output.note(f"{counted(result.refused, 'object')} came that nobody asked for; none is mixed in.")


@pacs.command()
def send(
    server: _Server,
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.", show_default=False)],
    aet: _OwnTitle = "",
    as_json: _Json = False,
) -> None:
    """Send DICOM files (C-STORE or STOW); sending again what arrived does no harm."""
    from medviewer.io.network.services import services

    output = Output(as_json=as_json)
    report = SendReport()
    with output.refusals():
        chosen = server_named(server, aet)
        files = _files(paths)
        try:
            with ProgressBar(output, "Sending") as ctx:
                services(chosen).store(ctx, chosen, files, report)
        finally:
            output.note(f"{len(report.arrived)} of {len(files)} files have arrived at {chosen.name}.")
        failed = [{"path": str(path), "reason": reason} for path, reason in report.failed]
        output.result({"arrived": [str(path) for path in report.arrived], "failed": failed})
        for path, reason in report.failed:
            output.show(f"{path}: {reason}")
    if report.failed:
        raise CommandEnded(TASK_FAILED)


def _files(paths: Sequence[Path]) -> list[Path]:
    from medviewer.io.network.sending import file_kind

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist.", hint="Check the name.", code="E_NO_FILE")
        below = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
        found += [file for file in below if path.is_file() or file_kind(file) is not None]
    if not found:
        raise InputError(
            "There is no DICOM file to send.", hint="Choose a folder with DICOM files.", code="E_NOT_DICOM"
        )
    return found


@pacs.command()
def quarantine(
    delete: Annotated[bool, typer.Option("--delete", help="Delete all of it for good.")] = False, as_json: _Json = False
) -> None:
    """List what was sent to this machine without being asked for."""
    from medviewer.app.paths import data_dir
    from medviewer.io.network.quarantine import Quarantine

    output = Output(as_json=as_json)
    kept = Quarantine(data_dir() / "quarantine")
    entries = kept.entries()
    if delete:
        kept.delete(entries)
    facts = [{"sender": e.sender, "objects": len(e.files), "bytes": e.size, "received": e.received} for e in entries]
    output.result({"deleted": delete, "entries": facts})
    for entry in entries:
        output.show(f"{counted(len(entry.files), 'object')} ({entry.modality}) from {entry.sender}")
    output.show("Deleted." if delete else f"Kept apart: {counted(kept.count, 'object')}.")
