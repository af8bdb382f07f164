"""Analyze: the tasks that fit, in order, each landing as one named undo step."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medviewer.ai.body_check import BodyLook, look_at
from medviewer.api.plugin import BoxResult, FindingResult, Input, Result, TaskInfo, TransformResult
from medviewer.app.apply_results import PreparedLabels, ResultApplier, prepare
from medviewer.app.run_tasks import PlanItem, TaskRun, on_grid, plan, run_task
from medviewer.app.timings import measured_seconds, remember_seconds
from medviewer.core.errors import InputError
from medviewer.core.segmentation import Segment
from medviewer.core.shown_text import percent
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobContext, JobState
from medviewer.jobs.runner import ask_main
from medviewer.plugin_host.forms import ParamSpec

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


@dataclass(frozen=True, slots=True, eq=False)
class _Landing:
    """A run, and its results as they land."""

    run: TaskRun
    results: Sequence[Result | PreparedLabels]


class Analyze:
    """Plans and runs tasks on an open volume."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._applier = ResultApplier(app.workspace, app.history)
        self._running: dict[tuple[str, str], Job] = {}
        self._forms: dict[str, tuple[ParamSpec, ...]] = {}
        #: Where tasks run: ``cpu`` or ``cuda:<n>`` once the model worker has said so.
        self.device = app.settings.device
        #: What open volumes look like, by id; None while a volume is being looked at.
        self._looks: dict[str, BodyLook | None] = {}
        app.workspace.volume_removed.connect(self._forget)

    @property
    def applier(self) -> ResultApplier:
        """Lands results in the workspace."""
        return self._applier

    def plan(self, volume_id: str) -> tuple[PlanItem, ...]:
        """Return what could run on a volume: reasons, times by earlier runs here, and what the user chose before."""
        volume = self._app.workspace.volume(volume_id)
        items = plan(self._app.plugins, volume, every=True, look=self._look(volume))
        return tuple(self._as_here(item, volume) for item in items)

    def _look(self, volume: Volume) -> BodyLook | None:
        """Return what a volume looks like; where that is not known, None, and it is looked at in the background."""
        if volume.id not in self._looks and volume.id not in self._app.loading:
            self._looks[volume.id] = None

            def done(job: Job) -> None:
                if isinstance(job.result, BodyLook) and self._app.workspace.has_volume(volume.id):
                    self._looks[volume.id] = job.result
                    self._app.models.changed.emit()

            self._app.jobs.submit(
                "Looking at the image", lambda ctx: look_at(volume), lane="cpu", done=done, quiet=True
            )
        return self._looks.get(volume.id)

    def _forget(self, volume: Volume) -> None:
        self._looks.pop(volume.id, None)

    def fits_any(self, volume_id: str) -> bool:
        """Whether there is a task that Analyze offers by itself for a volume; quicker than the whole plan."""
        return any(item.fits for item in plan(self._app.plugins, self._app.workspace.volume(volume_id)))

    def _as_here(self, item: PlanItem, volume: Volume) -> PlanItem:
        settings, task = self._app.settings, item.task
        seconds = measured_seconds(settings, task, volume, self.device)
        run = self._app.models.run_plan(task, volume, self.device) if item.fits else None
        if seconds is None and run is not None and run.measured:
            seconds = run.seconds
        chosen = task.id in settings.analyze_on or (item.chosen and task.id not in settings.analyze_off)
        return replace(
            item,
            seconds=item.seconds if seconds is None else seconds,
            measured=seconds is not None,
            memory=run.memory if run is not None else 0,
            device=self.device,
            chosen=chosen and item.fits,
            license_open=self._app.models.must_accept(task),
            parameters=self.parameters(task.id),
        )

    def parameters(self, task_id: str) -> dict[str, object]:
        """Return the parameters that the user has changed for a task."""
        try:
            values = json.loads(self._app.settings.task_parameters.get(task_id, "{}"))
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}

    def remember(
        self, plan: Sequence[PlanItem], chosen: Collection[str], params: Mapping[str, Mapping[str, object]]
    ) -> None:
        """Keep what the user decided about a plan, for the next time.

        Parameters
        ----------
        plan : sequence of PlanItem
            What was shown.
        chosen : collection of str
            Ids of the ticked tasks.
        params : mapping of task id to values
            Those that differ from the task's own; a task that is not in it keeps what it had.
        """
        settings = self._app.settings
        for item in plan:
            task_id, ticked = item.task.id, item.task.id in chosen
            if item.fits:
                _put(settings.analyze_seen, task_id, True)
                _put(settings.analyze_on, task_id, ticked and not item.by_itself)
                _put(settings.analyze_off, task_id, not ticked and item.by_itself)
        for task_id, values in params.items():
            self.keep_parameters(task_id, values)
        settings.save()

    def keep_parameters(self, task_id: str, values: Mapping[str, object]) -> None:
        """Keep the parameters of a task that differ from its own, for the next time."""
        self._app.settings.task_parameters.pop(task_id, None)
        if values:
            self._app.settings.task_parameters[task_id] = json.dumps(values)

    def needs_decision(self, volume_id: str) -> bool:
        """Whether Analyze should show its plan first: there is a task that the user has not seen, or nothing chosen."""
        items = [item for item in self.plan(volume_id) if item.fits]
        new = any(item.by_itself and item.task.id not in self._app.settings.analyze_seen for item in items)
        chosen = [item for item in items if item.chosen]
        return new or not chosen or any(item.license_open for item in chosen)

    def start_chosen(self, volume_id: str) -> tuple[Job, ...]:
        """Start what the user chose before, with the parameters of then."""
        items = [item for item in self.plan(volume_id) if item.chosen]
        return self.start(
            volume_id, [item.task.id for item in items], {item.task.id: item.parameters for item in items}
        )

    def params_form(self, task_id: str) -> tuple[ParamSpec, ...]:
        """Return the fields of a task's parameter form; asks the model worker once, so call it from a job."""
        if task_id not in self._forms:
            self._forms[task_id] = self._app.describe_task(self._app.plugins.task(task_id))
        return self._forms[task_id]

    def request_form(self, task_id: str, done: Callable[[tuple[ParamSpec, ...]], None]) -> None:
        """Fetch a form in the background and give it to `done` on the main thread."""
        if task_id in self._forms:
            done(self._forms[task_id])
            return

        def ended(job: Job) -> None:
            if job.state is JobState.SUCCESS:
                done(self._forms[task_id])
            elif job.error is not None:
                self._app.messages.error(job.error, "Cannot show the parameters")

        self._app.jobs.submit(
            "Reading parameters", lambda ctx: self.params_form(task_id), lane="gpu", done=ended, quiet=True
        )

    def start(
        self,
        volume_id: str,
        task_ids: Sequence[str] | None = None,
        params: Mapping[str, Mapping[str, object]] | None = None,
    ) -> tuple[Job, ...]:
        """Start the tasks, by default all that fit; one that already runs on this volume is not started twice."""
        if volume_id in self._app.loading:
            raise InputError("The series is still loading.", hint="Wait for the progress bar to end.")
        if task_ids is None:
            task_ids = [item.task.id for item in self.plan(volume_id) if item.chosen]
        if not task_ids:
            raise InputError(
                "No task fits this series.", hint="The list of tasks says what each one is made for.", code="E_NO_TASK"
            )
        return tuple(self._start_one(volume_id, task_id, (params or {}).get(task_id)) for task_id in task_ids)

    def _start_one(self, volume_id: str, task_id: str, params: Mapping[str, object] | None) -> Job:
        key = (volume_id, task_id)
        running = self._running.get(key)
        if running is not None and not running.state.is_final:
            return running
        task = self._app.plugins.task(task_id)
        self._app.models.require_accepted(task)
        job = self.submit(task, volume_id, {next(iter(task.inputs)): self._app.workspace.volume(volume_id)}, params)
        self._running[key] = job
        return job

    def submit(
        self,
        task: TaskInfo,
        volume_id: str,
        inputs: Mapping[str, Input],
        params: Mapping[str, object] | None = None,
        *,
        moving_id: str = "",
        link_box: str = "",
        landed: Callable[[Sequence[Segment]], None] | None = None,
    ) -> Job:
        """Run any task whose results belong to `volume_id`; `landed` is called after they are in place."""
        geometry = self._app.workspace.geometry(volume_id)

        def work(ctx: JobContext) -> _Landing:
            run = run_task(ctx, self._app.model_worker, self._app.plugins, task, inputs, params)
            results = tuple(on_grid(r, geometry) for r in run.results)
            # Here, not where it lands: copying tens of megabytes would keep the window waiting.
            taken = ask_main(ctx, self._app.post, lambda: self._taken(volume_id))
            return _Landing(replace(run, results=results), prepare(results, taken))

        def done(job: Job) -> None:
            if job.state is JobState.ERROR and job.error is not None:
                self._app.messages.error(job.error, task.title)
            if job.state is JobState.SUCCESS and isinstance(job.result, _Landing):
                segments = self._land(volume_id, job.result, moving_id, link_box)
                job.result = None
                if landed is not None and segments is not None:
                    landed(segments)

        return self._app.jobs.submit(task.title, work, lane=task.lane, done=done)

    def _taken(self, volume_id: str) -> frozenset[int]:
        """Return the label values that segments of a volume have; none when it was closed."""
        if not self._app.workspace.has_volume(volume_id):
            return frozenset()
        return frozenset(segment.value for segment in self._app.workspace.segmentation(volume_id).segments)

    def _land(self, volume_id: str, landing: _Landing, moving_id: str, link_box: str) -> list[Segment] | None:
        """Apply results to the volume they were computed for; if it was closed meanwhile, say so and drop them."""
        run = landing.run
        title = run.task.title
        if not self._app.workspace.has_volume(volume_id):
            self._app.messages.add("info", f"{title}: the series was closed; its result was dropped.")
            return None
        self._app.router.finish()
        volume = self._app.workspace.volume(volume_id)
        self.device = run.provenance.device
        remember_seconds(self._app.settings, run.task, volume, run.provenance.device, run.seconds)
        segments = self._applier.apply(
            volume_id, run.task, landing.results, run.provenance, moving_id=moving_id, link_box=link_box
        )
        self._app.messages.add("info", f"{title}: {_summary(run.results, segments)} in {run.seconds:.1f} s.")
        return segments


def _put(entries: list[str], entry: str, there: bool) -> None:
    """Have an entry in a list, or not."""
    if there and entry not in entries:
        entries.append(entry)
    elif not there and entry in entries:
        entries.remove(entry)


def _summary(results: Sequence[Result], segments: Sequence[Segment]) -> str:
    boxes = sum(len(r.boxes) for r in results if isinstance(r, BoxResult))
    parts = []
    if segments:
        parts.append(", ".join(s.name for s in segments[:4]) + (" …" if len(segments) > 4 else ""))
    if boxes:
        parts.append(f"{boxes} candidates" if boxes > 1 else "1 candidate")
    said = [r for r in results if isinstance(r, FindingResult)]
    for finding in (f for r in said for f in r.findings):
        parts.append(f"{finding.concept.code_meaning} {percent(finding.probability)}")
    if any(not r.findings for r in said):
        parts.append("no probability stated")
    if any(isinstance(r, TransformResult) for r in results):
        parts.append("aligned")
    return " and ".join(parts) or "nothing found"
