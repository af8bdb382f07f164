"""Export open volumes with their segments and findings; success means that the files were read back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.jobs.job import Job, JobContext, JobState
from medviewer.plugin_host.forms import ParamSpec, describe_params, params_from_dict

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.export.exporter import ExportReport


@dataclass(frozen=True, slots=True)
class FormatInfo:
    """A format as the dialog shows it."""

    id: str
    title: str


class ExportCases:
    """Runs exporters as jobs."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    @property
    def formats(self) -> tuple[FormatInfo, ...]:
        """Formats there are."""
        from medviewer.export.exporter import all_exporters

        return tuple(FormatInfo(info.id, info.title) for info in all_exporters())

    def form(self, format_id: str) -> tuple[ParamSpec, ...]:
        """Return the fields of a format's options."""
        from medviewer.export.exporter import find_exporter

        return describe_params(find_exporter(format_id).options)

    def start(
        self,
        format_id: str,
        folder: Path,
        volume_ids: Collection[str] | None = None,
        *,
        options: Mapping[str, object] | None = None,
        segments: Mapping[str, Collection[int]] | None = None,
    ) -> Job:
        """Export; the job's result is an `ExportReport`. The user is told only after everything was read back.

        Parameters
        ----------
        format_id : str
        folder : Path
            Nothing in it is overwritten.
        volume_ids : collection of str, optional
            Volumes to export; all by default.
        options : mapping of name to value, optional
            Of the format, as `form` describes them; what is missing keeps its default.
        segments : mapping of volume id to label values, optional
            Segments to export; all of a volume that is not in it.

        Raises
        ------
        InputError
            ``E_PARAMETER``: an option that does not fit.
        ExportError
            There is no such format.
        """
        from medviewer.export.exporter import cases_of, find_exporter

        app = self._app
        chosen = params_from_dict(find_exporter(format_id).options, options or {})
        app.router.finish()
        cases = cases_of(app.workspace, volume_ids, segments)

        def work(ctx: JobContext) -> ExportReport:
            from medviewer.export.exporter import run_export

            return run_export(ctx, format_id, cases, folder, chosen)

        def done(job: Job) -> None:
            if job.error is not None:
                app.messages.error(job.error, "Export")
            if job.state is JobState.SUCCESS:
                app.settings.last_export_folder = str(folder)
                app.settings.last_export_format = format_id
                app.settings.save()
                app.library.labelled([case.volume for case in cases])
                app.messages.add("info", f"Exported to {folder.name}.", "Read back and compared: no difference.")

        return app.jobs.submit(f"Exporting {format_id}", work, lane="io", done=done)
