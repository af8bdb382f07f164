"""What servers of either kind can be asked; and searches that take more than one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from medviewer.io.network.query import Found, InstanceRow, PatientRow, QueryFields, SeriesRow, StudyRow
from medviewer.io.network.servers import Server
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from medviewer.io.network.inbox import Inbox
    from medviewer.io.network.sending import SendReport


class Services(Protocol):
    """The module that speaks with a server: `dimse` or `dicomweb`."""

    def echo(self, ctx: JobContext, server: Server) -> float:
        """Ask whether it answers; return the seconds."""

    def find_patients(self, ctx: JobContext, server: Server, fields: QueryFields, offset: int = 0) -> Found[PatientRow]:
        """Search for patients."""

    def find_studies(self, ctx: JobContext, server: Server, fields: QueryFields, offset: int = 0) -> Found[StudyRow]:
        """Search for studies."""

    def find_series(self, ctx: JobContext, server: Server, *study_uids: str) -> tuple[SeriesRow, ...]:
        """List the series of studies."""

    def list_instances(
        self, ctx: JobContext, server: Server, study_uid: str, series: Sequence[str]
    ) -> list[InstanceRow]:
        """List every object of some series."""

    def fetch(self, ctx: JobContext, server: Server, inbox: Inbox) -> None:
        """Fetch what an inbox is missing."""

    def store(self, ctx: JobContext, server: Server, files: Sequence[Path], report: SendReport) -> None:
        """Send files."""


def services(server: Server) -> Services:
    """Return what speaks with a server."""
    if server.kind == "dicomweb":
        from medviewer.io.network import dicomweb

        return dicomweb
    from medviewer.io.network import dimse

    return dimse


def search(ctx: JobContext, server: Server, fields: QueryFields, offset: int = 0) -> Found[StudyRow]:
    """Search for studies by all fields; a body part is looked for among the series of what the others leave."""
    found = services(server).find_studies(ctx, server, fields, offset)
    if not fields.body_part.strip() or not found.rows:
        return found
    series = services(server).find_series(ctx, server, *(row.study_instance_uid for row in found.rows))
    shown = {row.study_instance_uid for row in series if fields.fits_series(row)}
    return replace(found, rows=tuple(row for row in found.rows if row.study_instance_uid in shown))
