"""Everything the program has, built once and handed down."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from medviewer.app.analyze import Analyze
from medviewer.app.attach import Attach
from medviewer.app.catalogue import Library
from medviewer.app.compare import Compare
from medviewer.app.documents import Documents
from medviewer.app.export_cases import ExportCases
from medviewer.app.findings import Findings
from medviewer.app.interactive import Interactive
from medviewer.app.journaling import Journaling
from medviewer.app.keys import Keys
from medviewer.app.messages import MessageLog
from medviewer.app.models import Models
from medviewer.app.objects import DerivedObjects
from medviewer.app.open_study import OpenStudy
from medviewer.app.overlays import Overlays
from medviewer.app.paths import journal_dir, library_file, studies_dir
from medviewer.app.positions import Positions
from medviewer.app.registration import Register
from medviewer.app.segments import Segments
from medviewer.app.settings import Settings
from medviewer.app.statistics import Statistics
from medviewer.app.tool_router import ToolRouter
from medviewer.app.volumes import Volumes
from medviewer.app.windows import Windows
from medviewer.core.view_state import LABEL_STYLES, MAX_OUTLINE, LabelLook
from medviewer.core.workspace import Workspace
from medviewer.editing.history import UndoStack
from medviewer.jobs.job import Job, JobContext, NullContext
from medviewer.jobs.runner import LANES, JobRunner, Post
from medviewer.jobs.worker import WorkerProcess
from medviewer.plugin_host.registry import PluginRegistry

if TYPE_CHECKING:
    from medviewer.api.plugin import TaskInfo
    from medviewer.app.pacs import Pacs
    from medviewer.plugin_host.forms import ParamSpec

#: What the model worker imports right after its start, so that the first Analyze need not wait for it.
WARM_MODULES = ("numpy", "torch", "scipy.ndimage", "medviewer.plugin_host.run_task")


class AppContext:
    """The open document, its history, jobs, plugins, settings and use cases.

    Parameters
    ----------
    post : callable
        Brings a function to the main thread.
    settings : Settings
    plugins : PluginRegistry
    journal : bool
        Whether every step is written to the user's journal folder, and every study to the library (the window does;
        scripts do not).
    """

    def __init__(
        self,
        post: Post,
        settings: Settings,
        plugins: PluginRegistry,
        *,
        journal: bool = True,
        lanes: Mapping[str, int] = LANES,
    ) -> None:
        self.post = post
        self.settings = settings
        self.keys = Keys(settings)
        self.plugins = plugins
        self.messages = MessageLog()
        self.workspace = Workspace()
        self.windows = Windows(self.workspace)
        self.positions = Positions(self.workspace, self.messages)
        self.history = UndoStack()
        self.jobs = JobRunner(post, lanes, device=settings.device)
        #: Ids of volumes whose slices are still being read.
        self.loading: set[str] = set()
        self.studies = OpenStudy(self)
        self.volumes = Volumes(self)
        self.segments = Segments(self)
        self.attach = Attach(self)
        self.objects = DerivedObjects(self)
        self.interactive = Interactive(self)
        self.router = ToolRouter(self)
        self.models = Models(self)
        self.analyze = Analyze(self)
        self.findings = Findings(self)
        self.compare = Compare(self)
        self.statistics = Statistics(self)
        self.registration = Register(self)
        self.overlays = Overlays(self)
        self.exports = ExportCases(self)
        self.documents = Documents(self)
        self.journaling = Journaling(self, journal_dir() if journal else None)
        self.library = Library(self, library_file() if journal else None, studies_dir())
        self.workspace.view.overlay_opacity = settings.overlay_opacity
        self._take_look()

    def _take_look(self) -> None:
        """Show segments as the user did the last time, unless the file says what cannot be."""
        style = next((s for s in LABEL_STYLES if s == self.settings.label_style), LABEL_STYLES[0])
        width = min(MAX_OUTLINE, max(1, self.settings.outline_width))
        self.workspace.view.look = LabelLook(style, width)

    @cached_property
    def model_worker(self) -> WorkerProcess:
        """The process that runs tasks and holds the device."""
        return WorkerProcess("model", warm=WARM_MODULES)

    @cached_property
    def decode_worker(self) -> WorkerProcess:
        """The process that decodes compressed pixels and foreign containers."""
        from medviewer.io.decode_worker import new_decode_worker

        return new_decode_worker()

    @cached_property
    def pacs(self) -> Pacs:
        """Servers of studies; built when first asked for, which keeps the start short."""
        from medviewer.app.pacs import Pacs

        return Pacs(self)

    def describe_task(self, task: TaskInfo) -> tuple[ParamSpec, ...]:
        """Return the parameters of a task; asks the model worker."""
        from medviewer.plugin_host.run_task import DESCRIBE

        answer = self.model_worker.call(DESCRIBE, self.plugins.source(task.id), NullContext())
        assert isinstance(answer, tuple)
        return answer

    def undo(self) -> None:
        """Take the last step back; a stroke in the hand is finished first."""
        self.router.finish()
        self.history.undo()

    def redo(self) -> None:
        """Do the last undone step again."""
        self.router.finish()
        self.history.redo()

    def go_to_step(self, count: int) -> None:
        """Undo or redo until `count` steps are done; a stroke that was in the hand is finished, and nothing else."""
        before = len(self.history.done)
        self.router.finish()
        if len(self.history.done) == before:
            self.history.go_to(count)

    def warm(self) -> None:
        """Start the model worker in the background, and learn where it computes."""

        def work(ctx: JobContext) -> object:
            from medviewer.plugin_host.run_task import DEVICE

            self.model_worker.start()
            return self.model_worker.call(DEVICE, None, ctx, device=ctx.device)

        def done(job: Job) -> None:
            if isinstance(job.result, str):
                self.analyze.device = job.result
                self.models.changed.emit()

        self.jobs.submit("Starting the model worker", work, lane="gpu", quiet=True, done=done)

    @property
    def has_unsaved_work(self) -> bool:
        """Whether closing now would leave work only in the journal; what is still being saved may fail to be."""
        return self.workspace.dirty or self.documents.is_saving

    def close(self, *, keep_journal: bool = False) -> None:
        """Stop jobs, end workers, close the journal (kept only when its work is not saved on purpose)."""
        self.router.activate("")
        self.jobs.shutdown()
        self.library.close()
        for name in ("model_worker", "decode_worker"):
            worker = self.__dict__.get(name)
            if worker is not None:
                worker.close()
        self.journaling.close(delete=not keep_journal)
        self.settings.overlay_opacity = self.workspace.view.overlay_opacity
        look = self.workspace.view.look
        self.settings.label_style, self.settings.outline_width = look.style, look.width
        self.settings.save()
