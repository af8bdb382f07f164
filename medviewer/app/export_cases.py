"""Export open volumes with their segments and findings; success means that the files were read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.core.workspace import Workspace
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.export.exporter import Case, ExportReport


@dataclass(frozen=True, slots=True)
class FormatInfo:
    """A format as the dialog shows it."""

    id: str
    title: str


def cases_of(workspace: Workspace, volume_ids: Sequence[str] | None = None) -> list[Case]:
    """Return a case for every open volume (or the named ones) that has segments or findings.

    Call it on the main thread: it copies what may be edited while the export runs.
    """
    from medviewer.export.exporter import cases_of as all_cases

    return [case for case in all_cases(workspace) if volume_ids is None or case.volume.id in volume_ids]


class ExportCases:
    """Runs exporters as jobs."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    @property
    def formats(self) -> tuple[FormatInfo, ...]:
        """Formats there are."""
        from medviewer.export.exporter import all_exporters

        return tuple(FormatInfo(info.id, info.title) for info in all_exporters())

    def start(self, format_id: str, folder: Path, volume_ids: Sequence[str] | None = None) -> Job:
        """Export; the job's result is an `ExportReport`. The user is told only after everything was read back."""
        app = self._app
        app.router.finish()
        cases = cases_of(app.workspace, volume_ids)

        def work(ctx: JobContext) -> ExportReport:
            from medviewer.export.exporter import run_export

            return run_export(ctx, format_id, cases, folder)

        def done(job: Job) -> None:
            if job.error is not None:
                app.messages.error(job.error, "Export")
            if job.state is JobState.SUCCESS:
                app.settings.last_export_folder = str(folder)
                app.settings.last_export_format = format_id
                app.settings.save()
                app.messages.add("info", f"Exported to {folder.name}.", "Read back and compared: no difference.")

        return app.jobs.submit(f"Exporting {format_id}", work, lane="io", done=done)
