"""Runs tools that compute: plan, job, preview; applied as one step, or dropped."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from medviewer.core.errors import MedViewerError
from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation
from medviewer.core.tilt import views_grid
from medviewer.editing.change import Change
from medviewer.editing.draft import Draft
from medviewer.editing.editor import EditRefused, EditUnwanted, LabelEditor
from medviewer.editing.effect import Compute, EditScene, Effect
from medviewer.jobs.job import Job, JobContext, JobState, abandonable

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

State = Literal["idle", "computing", "previewing"]

#: Options that are dragged change faster than anything is computed: the last of them is what counts.
_SETTLE_S = 0.06


class EffectHost:
    """Holds the one tool that computes, and what it would change.

    A result is only ever of the voxels as they are: when they change meanwhile it is computed anew.

    Signals
    -------
    changed()
        Another state, or another result.
    """

    changed = Signal()

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._effect: Effect | None = None
        self._editor: LabelEditor | None = None
        self._title = ""
        self._watched: Segmentation | None = None
        self._job: Job | None = None
        self._result: Draft | None = None
        self._apply_next = False
        self._applying = False
        #: Why there is nothing to compute, in words for the user.
        self.refusal = ""
        self.axis = 2

    @property
    def effect(self) -> Effect | None:
        """The tool that computes; None when there is none."""
        return self._effect

    @property
    def editor(self) -> LabelEditor | None:
        """What it edits."""
        return self._editor

    @property
    def state(self) -> State:
        """Whether something is being computed or shown."""
        if self._job is not None:
            return "computing"
        return "idle" if self._result is None else "previewing"

    @property
    def result(self) -> Change | None:
        """What is shown and would be applied."""
        return None if self._result is None else self._result.change

    def start(self, effect: Effect, editor: LabelEditor, title: str) -> None:
        """Take up a tool that computes."""
        self.stop()
        self._effect, self._editor, self._title = effect, editor, title
        self._watched = editor.target
        self._watched.labels_changed.connect(self._labels_changed)
        self._watched.active_changed.connect(self._inputs_changed)
        self._watched.segments_changed.connect(self._inputs_changed)
        self.inputs_changed()

    def stop(self) -> None:
        """Let go of the tool; what was not applied is dropped."""
        if self._watched is not None:
            self._watched.labels_changed.disconnect(self._labels_changed, missing_ok=True)
            self._watched.active_changed.disconnect(self._inputs_changed, missing_ok=True)
            self._watched.segments_changed.disconnect(self._inputs_changed, missing_ok=True)
        self._effect = self._editor = self._watched = None
        self.refusal = ""
        self.discard()

    def inputs_changed(self) -> None:
        """Compute anew if the tool is live; otherwise what is shown is out of date and goes."""
        if self._effect is None:
            return
        if self._effect.live:
            self.preview()
        else:
            self.discard()

    def _inputs_changed(self, *_: object) -> None:
        if not self._applying:
            self.inputs_changed()

    def _labels_changed(self, _region: Region, _group: int) -> None:
        self._inputs_changed()

    def rules_changed(self) -> None:
        """Show what other rules let through; what the tool found stays as it is."""
        if self._editor is None:
            return
        if self._result is not None and self._job is None:
            found = self._result.change
            self._compute(lambda _ctx: found)
        else:
            self.inputs_changed()

    def preview(self) -> None:
        """Compute and show what the tool would change."""
        self._cancel()
        plan = self._plan()
        if plan is None:
            self._show(None)
            return
        self._compute(plan)

    def _compute(self, plan: Compute) -> None:
        assert self._effect is not None
        assert self._editor is not None
        # What follows a hand that drags would pile up if it were left to run on; that is waited for.
        work = partial(_computed, plan=plan, editor=self._editor, leave=not self._effect.live)
        self._job = self._app.jobs.submit(self._title, work, lane="cpu", done=self._done, quiet=True)
        self.changed.emit()

    def scene(self) -> EditScene | None:
        """Return what the tool sees now; None without a tool or an active segment."""
        if self._editor is None:
            return None
        target = self._editor.target
        segment = target.find(target.active)
        if segment is None:
            return None
        view, volume = self._app.workspace.view, self._editor.volume
        return EditScene(volume, target, segment, view.crosshair_lps, self.axis, views_grid(volume, view.tilt))

    def _plan(self) -> Compute | None:
        assert self._effect is not None
        self.refusal = ""
        scene = self.scene()
        if scene is None:
            return None
        try:
            return self._effect.plan(scene)
        except EditRefused as refusal:
            self.refusal = refusal.text
            if self._apply_next:
                self._apply_next = False
                self._app.messages.error(refusal)
            return None

    def _done(self, job: Job) -> None:
        if job is not self._job:
            return
        self._job = None
        if isinstance(job.result, Draft):
            if self._apply_next:
                self._result = job.result  # applied before anybody could look at it
                self.apply()
            else:
                self._show(job.result)
            return
        if job.state is JobState.ERROR and job.error is not None:
            if isinstance(job.error, EditRefused) and not self._apply_next:
                self.refusal = job.error.text
            else:
                self._app.messages.error(job.error, self._title)
        self._apply_next = False
        self._show(None)

    def apply(self) -> bool:
        """Make the change as one step, computing it first where nothing is shown; True when there is one to make."""
        if self._effect is None or self._editor is None:
            return False
        if self._result is None or self._job is not None:
            # What is still shown is of voxels or options that are no more.
            self._apply_next = True
            if self._job is None:
                self.preview()
            return self._job is not None
        change, self._apply_next = self._result.change, False
        self._applying = True
        try:
            box = self._editor.apply(self._result)
        except EditUnwanted:
            return True
        except MedViewerError as error:
            self._app.messages.error(error)
            return True
        finally:
            self._applying = False
        self._effect.applied()
        if change.image is not None:
            self._app.workspace.add_volume(change.image)
        self._show(None)
        if change.note or box is None:
            self._app.messages.add("info", change.note or f"{change.label}: nothing had to change.")
        return True

    def discard(self) -> bool:
        """Drop what is computed or shown; True when there was something."""
        there = self.state != "idle"
        self._cancel()
        self._apply_next = False
        self._show(None)
        return there

    def _cancel(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.cancel()

    def _show(self, made: Draft | None) -> None:
        self._result = made
        self._app.workspace.view.preview = () if made is None else made.preview
        self.changed.emit()


def _computed(ctx: JobContext, plan: Compute, editor: LabelEditor, *, leave: bool) -> Draft:
    time.sleep(_SETTLE_S)
    ctx.check_cancelled()
    change = abandonable(lambda: plan(ctx), ctx.check_cancelled) if leave else plan(ctx)
    ctx.check_cancelled()
    return editor.draft(change, ctx.check_cancelled)
