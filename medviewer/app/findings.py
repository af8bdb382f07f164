"""The lesion list: jump, accept, reject, relabel, make a mask. Every change is a named undo step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from medviewer.api.plugin import Input, TaskInfo
from medviewer.app.run_tasks import why_not
from medviewer.core.annotation import Box3D, Review
from medviewer.core.errors import InputError
from medviewer.core.segmentation import Segment
from medviewer.editing.steps import BoxesStep
from medviewer.jobs.job import Job

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

#: What makes a mask from a box, the first first, and any other interactive task. Where it fits, the one made for
#: lesions on CT draws nodules better than what segments anything.
MASK_TASKS = ("lesion_mask", "click_segment", "click_classic")

_VERBS: dict[Review, str] = {"accepted": "Accept", "rejected": "Reject", "open": "Reopen"}


class Findings:
    """Reviews the findings of a volume."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._masks: dict[str, Job] = {}

    def find(self, volume_id: str, box_id: str) -> Box3D:
        """Return a finding; raises `InputError` when it is gone."""
        for box in self._app.workspace.boxes(volume_id):
            if box.id == box_id:
                return box
        raise InputError("This finding is no longer there.", hint="Choose another one from the list.")

    def jump(self, volume_id: str, box_id: str) -> None:
        """Show a finding in all views."""
        box = self.find(volume_id, box_id)
        self._app.workspace.activate(volume_id)
        self._app.workspace.view.selected_box = box_id
        self._app.workspace.view.crosshair_lps = box.center_lps

    def review(self, volume_id: str, box_id: str, review: Review) -> None:
        """Accept, reject or reopen a finding."""
        box = self.find(volume_id, box_id)
        if box.review != review:
            self._change(volume_id, f"{_VERBS[review]} {box.label}", replace(box, review=review))

    def relabel(self, volume_id: str, box_id: str, label: str) -> None:
        """Call a finding something else."""
        box = self.find(volume_id, box_id)
        if label.strip() and label != box.label:
            self._change(volume_id, f"Relabel {box.label}", replace(box, label=label.strip()))

    def remove(self, volume_id: str, box_id: str) -> None:
        """Take a finding off the list."""
        box = self.find(volume_id, box_id)
        before = self._app.workspace.boxes(volume_id)
        after = tuple(b for b in before if b.id != box_id)
        self._app.history.do(BoxesStep(self._app.workspace, volume_id, f"Remove {box.label}", before, after))

    def make_mask(self, volume_id: str, box_id: str) -> Job | None:
        """Turn the box of a finding into an editable segment; the finding counts as accepted then.

        Returns the running job when it is being made already, and None when it has its segment, which becomes active.
        """
        box = self.find(volume_id, box_id)
        segmentation = self._app.workspace.segmentation(volume_id)
        if box.segment and segmentation.find(box.segment) is not None:
            segmentation.active = box.segment
            self._app.messages.add("info", f"{box.label} has its mask: it is the active segment.")
            return None
        running = self._masks.get(box_id)
        if running is not None and not running.state.is_final:
            return running
        task = self._mask_task(volume_id)

        def landed(segments: Sequence[Segment]) -> None:
            if segments:
                self._app.workspace.segmentation(volume_id).active = segments[0].value

        if task.kind == "interactive":
            job = self._app.interactive.mask_of_box(volume_id, task, box, landed)
        else:
            job = self._app.analyze.submit(
                task, volume_id, self._inputs(task, volume_id, box), landed=landed, link_box=box_id
            )
        self._masks[box_id] = job
        return job

    def mask_tasks(self, volume_id: str) -> tuple[TaskInfo, ...]:
        """Return the tasks that can make a mask of a finding of this volume, the preferred one first."""
        volume = self._app.workspace.volume(volume_id)
        found = [t for t in self._app.plugins.tasks if t.kind == "interactive" or t.id in MASK_TASKS]
        order = (self._app.settings.mask_task, *MASK_TASKS)
        found.sort(key=lambda task: order.index(task.id) if task.id in order else len(order))
        return tuple(task for task in found if not why_not(task, volume))

    def _mask_task(self, volume_id: str) -> TaskInfo:
        tasks = self.mask_tasks(volume_id)
        if not tasks:
            raise InputError(
                "Nothing here makes a mask of a finding in this image.",
                hint="Draw it with the brush.",
                code="E_NO_TASK",
            )
        return tasks[0]

    def _inputs(self, task: TaskInfo, volume_id: str, box: Box3D) -> dict[str, Input]:
        return {
            name: self._app.workspace.volume(volume_id) if kind == "volume" else (box,)
            for name, kind in task.inputs.items()
        }

    def _change(self, volume_id: str, label: str, box: Box3D) -> None:
        before = self._app.workspace.boxes(volume_id)
        after = tuple(box if b.id == box.id else b for b in before)
        self._app.history.do(BoxesStep(self._app.workspace, volume_id, label, before, after))
