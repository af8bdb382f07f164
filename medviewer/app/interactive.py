"""Clicks on a volume: each goes to its session in the model worker, and lands in a segment as one named undo step.

The prompts of an object are written into the provenance of its segment. That is all there is to keep: undo, the
journal and the saved workspace bring them back, and a session that is not there any more is told them again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from medviewer.api.plugin import LabelResult
from medviewer.app.sessions import WorkerSession
from medviewer.core.annotation import Box3D
from medviewer.core.errors import InputError, MedViewerError, TaskError
from medviewer.core.geometry import vec3
from medviewer.core.prompt import Prompt
from medviewer.core.provenance import MANUAL, Provenance
from medviewer.core.segmentation import Segment
from medviewer.core.serial import prompt_from_json, prompt_to_json
from medviewer.core.terminology import MORPHOLOGICALLY_ALTERED_STRUCTURE
from medviewer.core.volume import Volume
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.steps import CompoundStep, SegmentStep
from medviewer.jobs.job import Job, JobContext, JobState
from medviewer.plugin_host.run_session import SessionAnswer

if TYPE_CHECKING:
    from medviewer.api.plugin import TaskInfo
    from medviewer.app.context import AppContext

_NAMES = {"point": "Click", "box": "Box", "scribble": "Scribble", "lasso": "Lasso"}


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A prompt that waits for its answer."""

    volume_id: str
    segment: int
    task: TaskInfo
    prompt: Prompt


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """The mask of a finding, and how it was made."""

    result: LabelResult
    provenance: Provenance


class Interactive:
    """Holds a session per volume and task, and asks them one prompt after the other."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._sessions: dict[tuple[str, str], WorkerSession] = {}
        self._waiting: deque[_Asked] = deque()
        self._job: Job | None = None
        app.workspace.volume_removed.connect(self._volume_removed)

    @property
    def tasks(self) -> tuple[TaskInfo, ...]:
        """The interactive tasks there are."""
        return tuple(task for task in self._app.plugins.tasks if task.kind == "interactive")

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._job is not None or bool(self._waiting)

    def prompt(self, volume_id: str, task_id: str, prompt: Prompt) -> None:
        """Give a prompt for the active segment of a volume; the answer lands when it is there.

        Raises
        ------
        InputError
            ``E_MODEL_INPUT``: the volume is not what the task works on. ``E_LICENSE``: the model's licence was not
            accepted.
        EditRefused
            There is no active segment, or it is locked.
        PluginError
            ``E_UNKNOWN_TASK``.
        """
        task = self._app.plugins.task(task_id)
        segment = self._segment(volume_id, self._app.workspace.segmentation(volume_id).active)
        self._session(volume_id, task)
        self._waiting.append(_Asked(volume_id, segment.value, task, prompt))
        self._go_on()

    def mask_of_box(
        self, volume_id: str, task: TaskInfo, box: Box3D, landed: Callable[[Sequence[Segment]], None]
    ) -> Job:
        """Make a segment of a finding from its box; further clicks go on from there. `landed` gets the segment.

        Raises
        ------
        InputError
            ``E_MODEL_INPUT``: the volume is not what the task works on. ``E_LICENSE``: the model's licence was not
            accepted.
        """
        session = self._session(volume_id, task)
        corners = product(*zip(box.lower, box.upper, strict=True))
        prompt = Prompt(kind="box", positive=True, points=tuple(vec3(corner) for corner in corners))

        def work(ctx: JobContext) -> _Made:
            answer = session.answer(ctx, (), (prompt,))
            if not answer.after.any():
                raise TaskError(f"{task.title} sees nothing in this box.", hint="Draw it with the brush.")
            labels = np.zeros(session.volume.array.shape, np.uint16)
            labels[answer.region.slices] = answer.after
            segment = Segment(1, box.label or task.title, category=MORPHOLOGICALLY_ALTERED_STRUCTURE)
            result = LabelResult(segment.name, labels, session.volume.geometry, (segment,))
            return _Made(result, answer.provenance)

        def done(job: Job) -> None:
            if job.state is JobState.ERROR and job.error is not None:
                self._app.messages.error(job.error, task.title)
            made = job.result
            if isinstance(made, _Made) and self._app.workspace.has_volume(volume_id):
                self._app.router.finish()
                segments = self._app.analyze.applier.apply(
                    volume_id, task, [made.result], made.provenance, link_box=box.id
                )
                job.result = None
                landed(segments)

        return self._app.jobs.submit(task.title, work, lane=task.lane, done=done)

    def prompts(self, segment: Segment, task_id: str) -> tuple[Prompt, ...]:
        """Return the prompts that a segment was made with by a task; none when it is not that task's."""
        told: Any = segment.provenance.parameters.get("prompts", ()) if segment.provenance.task == task_id else ()
        return tuple(prompt_from_json(data) for data in told)

    def _segment(self, volume_id: str, value: int) -> Segment:
        segment = self._app.workspace.segmentation(volume_id).find(value)
        if segment is None:
            raise EditRefused("There is no active segment.", hint="Add a segment or select one in the list.")
        if segment.locked:
            raise EditRefused(f"“{segment.name}” is locked.", hint="Unlock it in the segment list.")
        return segment

    def _session(self, volume_id: str, task: TaskInfo) -> WorkerSession:
        """Return the session of a volume, a new one when another time point is shown or a parameter was changed."""
        self._app.models.require_accepted(task)
        volume = self._app.workspace.volume(volume_id)
        if volume_id in self._app.loading:
            raise InputError("The series is still loading.", hint="Wait for the progress bar to end.")
        key = (volume_id, task.id)
        session = self._sessions.get(key)
        parameters = self._app.analyze.parameters(task.id)
        if session is None or session.volume.array is not volume.array or session.parameters != parameters:
            session = WorkerSession(self._app.model_worker, self._app.plugins, task, volume, parameters)
            self._sessions[key] = session
        return session

    def _go_on(self) -> None:
        """Ask the next prompt, unless one is being answered."""
        while self._job is None and self._waiting:
            asked = self._waiting.popleft()
            try:
                self._ask(asked)
            except MedViewerError as error:
                self._app.messages.error(error, asked.task.title)

    def _ask(self, asked: _Asked) -> None:
        if not self._app.workspace.has_volume(asked.volume_id):
            return
        session = self._session(asked.volume_id, asked.task)
        segment = self._segment(asked.volume_id, asked.segment)
        shown = self.prompts(segment, asked.task.id)
        wanted = (*shown, asked.prompt)

        def done(job: Job) -> None:
            self._job = None
            if job.state is JobState.ERROR and job.error is not None:
                self._app.messages.error(job.error, asked.task.title)
            if job.state is JobState.SUCCESS and isinstance(job.result, SessionAnswer):
                try:
                    self._land(asked, shown, job.result)
                # The segment was locked or deleted while the answer was awaited.
                except MedViewerError as error:
                    self._app.messages.error(error, asked.task.title)
            self._go_on()

        self._job = self._app.jobs.submit(
            asked.task.title, lambda ctx: session.answer(ctx, shown, wanted), lane=asked.task.lane, done=done
        )

    def _land(self, asked: _Asked, shown: Sequence[Prompt], answer: SessionAnswer) -> None:
        """Write what changed into the segment; what a person or another segment has there is left alone."""
        if not self._app.workspace.has_volume(asked.volume_id):
            return
        self._app.router.finish()
        before = self._segment(asked.volume_id, asked.segment)
        now = self.prompts(before, asked.task.id)
        if [prompt_to_json(p) for p in now] != [prompt_to_json(p) for p in shown]:
            self._app.messages.add("info", f"{asked.task.title}: the segment was changed meanwhile. Click again.")
            return
        name = _NAMES[asked.prompt.kind] + ("" if asked.prompt.positive else " away")
        painted = UndoStack()
        editor = LabelEditor(self._app.workspace, painted, asked.volume_id, self._app.router.rules)
        was_empty = not editor.target.mask(asked.segment).any()
        with editor.stroke(name, asked.segment) as stroke:
            stroke.paint(answer.region, answer.before & ~answer.after, 0)
            stroke.paint(answer.region, answer.after & ~answer.before)
        after = self._segment(asked.volume_id, asked.segment)
        edited = before.edited or (before.provenance.task != asked.task.id and not was_empty)
        change = SegmentStep(
            self._app.workspace,
            asked.volume_id,
            name,
            after,
            replace(after, provenance=_onto(before.provenance, answer.provenance), edited=edited),
        )
        change.redo()
        self._app.history.push(CompoundStep(name, (*painted.done, change)))

    def _volume_removed(self, volume: Volume) -> None:
        """Free what the worker holds for a volume that was closed."""
        self._waiting = deque(asked for asked in self._waiting if asked.volume_id != volume.id)
        for key in [key for key in self._sessions if key[0] == volume.id]:
            self._close(self._sessions.pop(key))

    def _close(self, session: WorkerSession) -> None:
        self._app.jobs.submit("Closing a session", lambda ctx: session.close(), lane="gpu", quiet=True)


def _onto(before: Provenance, made: Provenance) -> Provenance:
    """Return the provenance of an answer; what another task had made of the segment stays in it."""
    if before.task in (made.task, MANUAL.task):
        earlier = before.parameters.get("onto")
        return made if earlier is None else replace(made, parameters={**made.parameters, "onto": earlier})
    return replace(made, parameters={**made.parameters, "onto": before.to_json()})
