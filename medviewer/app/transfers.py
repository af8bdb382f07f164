"""What is on its way between this machine and a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from medviewer.core.shown_text import counted
from medviewer.io.network.sending import SendReport
from medviewer.io.network.servers import Server
from medviewer.io.network.services import services
from medviewer.jobs.job import Job, JobContext, JobState

Make = Callable[[JobContext, Path], Sequence[Path]]


@dataclass(eq=False, kw_only=True)
class Transfer:
    """Something on its way here or to a server.

    Attributes
    ----------
    title : str
        What it is, for the one who asked for it; holds values of a patient, so it is never logged.
    job : Job or None
        The last attempt.
    """

    server: Server
    title: str = field(repr=False)
    job: Job | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is under way or waits for its turn."""
        return self.job is not None and not self.job.state.is_final

    @property
    def can_resume(self) -> bool:
        """Whether it ended before all was there."""
        return self.job is not None and self.job.state in (JobState.ERROR, JobState.CANCELLED)

    @property
    def said(self) -> str:
        """How it stands, in words."""
        job = self.job
        if job is None or job.state is JobState.PENDING:
            return "Waiting"
        if job.state is JobState.RUNNING:
            return job.text or "Connecting"
        if job.state is JobState.CANCELLED:
            return f"INCOMPLETE {job.text}, cancelled" if "/" in job.text else "Cancelled"
        return str(job.error) if job.error is not None else self._done(job)

    def _done(self, job: Job) -> str:
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Retrieval(Transfer):
    """A study, or some of its series, on its way here.

    Attributes
    ----------
    series : tuple of str
        SeriesInstanceUIDs; none means all.
    """

    study_uid: str
    series: tuple[str, ...] = ()

    @property
    def has_part(self) -> bool:
        """Whether it has ended with some objects here and others not."""
        return self.job is not None and self.can_resume and self.said.startswith("INCOMPLETE")

    def _done(self, job: Job) -> str:
        return f"Complete: {counted(getattr(job.result, 'count', 0), 'object')}"


@dataclass(eq=False, kw_only=True)
class Sending(Transfer):
    """Files on their way to a server.

    Attributes
    ----------
    make : callable or None
        Makes the files first, in a folder; once, for a retry sends the same objects.
    made_in : TemporaryDirectory or None
        That folder; gone when all have arrived, when this is forgotten, or when the program ends.
    report : SendReport
        What has arrived in all attempts.
    """

    files: tuple[Path, ...] = ()
    make: Make | None = field(default=None, repr=False)
    made_in: TemporaryDirectory[str] | None = None
    report: SendReport = field(default_factory=SendReport)

    @property
    def can_resume(self) -> bool:
        """Whether something is left that may arrive in another attempt."""
        return not self.is_running and self.job is not None and bool(self.report.left(self.files) or self.make)

    @property
    def said(self) -> str:
        """How it stands, in words."""
        error = self.job.error if self.job is not None else None
        text = super().said
        return f"INCOMPLETE {self.report.text()}: {text}" if error is not None and self.report.arrived else text

    def send(self, ctx: JobContext, folder: Path) -> SendReport:
        """Send what has not arrived yet; what must be made for it lies in a folder of its own below `folder`."""
        if self.make is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.made_in = TemporaryDirectory(dir=folder, ignore_cleanup_errors=True)
            self.files = tuple(self.make(ctx, Path(self.made_in.name)))
            self.make = None
        self.report.failed.clear()
        services(self.server).store(ctx, self.server, self.report.left(self.files), self.report)
        if self.made_in is not None and not self.report.failed:
            self.made_in.cleanup()
        return self.report

    def _done(self, job: Job) -> str:
        count, failed = len(self.report.arrived), self.report.failed
        if not failed:
            return f"Sent: {counted(count, 'object')}"
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f"{count} of {len(self.files)} have arrived. Not {failed[0][0].name}{more}: {failed[0][1]}"
