"""The models as the user sees them: what there is, what may run, what is removed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from medviewer.ai.card import ModelCard
from medviewer.ai.model_import import import_models, remove_model
from medviewer.ai.run_plan import RunPlan, plan_run
from medviewer.ai.weights import ModelStore, StoredModel, read_model
from medviewer.api.plugin import TaskInfo
from medviewer.app.licenses import license_text
from medviewer.core.errors import InputError
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobContext, JobState
from medviewer.jobs.runner import Work

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


class Models:
    """The store of models, and which licences were accepted.

    Signals
    -------
    changed()
        A model came or went, or its licence was accepted.
    """

    changed = Signal()

    def __init__(self, app: AppContext, store: ModelStore | None = None) -> None:
        self._app = app
        self.store = store or ModelStore()
        self._cards: dict[str, ModelCard | None] = {}

    def all(self) -> tuple[StoredModel, ...]:
        """Return every model, broken ones too, usable ones first."""
        return tuple(sorted(self.store.models(), key=lambda model: (model.card is None, not model.shipped, model.id)))

    def task_of(self, model: StoredModel) -> TaskInfo | None:
        """Return the task that runs a model; None for one that is broken or older than another."""
        folder = str(model.folder)
        return next((task for task in self._app.plugins.tasks if task.model == folder), None)

    def run_plan(self, task: TaskInfo, volume: Volume, device: str) -> RunPlan | None:
        """Return what the windows of a task's model will take; None for what does not run in windows."""
        if task.model not in self._cards:
            self._cards[task.model] = read_model(Path(task.model)).card if task.model else None
        card = self._cards[task.model]
        if card is None or card.runner != "segmentation":
            return None
        return plan_run(card, volume.geometry, "cpu" if device == "auto" else device)

    def size(self, model: StoredModel) -> int:
        """Return how much a model takes on the disk, bytes."""
        return sum(path.stat().st_size for path in model.folder.rglob("*") if path.is_file())

    # ---- licences

    def must_accept(self, task: TaskInfo) -> bool:
        """Whether the licence of a task's model has yet to be accepted: what came with the program needs no asking."""
        return must_accept(task, self._app.settings.accepted_licenses, self.store)

    def accept(self, task: TaskInfo) -> None:
        """Note that the user accepts the licence of a task's model."""
        if agreement(task) not in self._app.settings.accepted_licenses:
            self._app.settings.accepted_licenses.append(agreement(task))
            self._app.settings.save()
            self.changed.emit()

    def credit(self, task: TaskInfo) -> str:
        """Return who made the model of a task."""
        model = next((m for m in self.store.models() if str(m.folder) == task.model), None)
        return model.card.credit if model is not None and model.card is not None else ""

    def license_text(self, task: TaskInfo) -> str:
        """Return the text of the licence of a task's model; empty where it is not known."""
        return license_text(Path(task.model), task.license)

    def require_accepted(self, task: TaskInfo) -> None:
        """Refuse a task whose model's licence was not accepted; raises `InputError` ``E_LICENSE``."""
        if self.must_accept(task):
            raise InputError(
                f"The licence of {task.title} ({task.license}) has not been accepted yet.",
                hint="Accept it where the model is chosen, or among the models (Ctrl+M).",
                code="E_LICENSE",
            )

    # ---- coming and going

    def remove(self, model: StoredModel) -> Job:
        """Delete a model of the user's.

        Raises
        ------
        InputError
            ``E_SHIPPED``: it came with the program.
        """
        if model.shipped:
            raise InputError(
                f"{model.id} came with the program and stays.", hint="Untick it in the plan.", code="E_SHIPPED"
            )

        def work(ctx: JobContext) -> None:
            remove_model(model)

        return self._change(f"Removing {model.id}", work, f"Removed the model {model.id}.")

    def add(self, path: Path) -> Job:
        """Import the models in a folder, an archive or a file."""

        def work(ctx: JobContext) -> None:
            import_models(ctx, self.store, path)

        return self._change(f"Importing {path.name}", work, f"Imported {path.name}.")

    def download(self, address: str, sha256: str) -> Job:
        """Download a model, see `medviewer.ai.model_download.download_model`."""
        from medviewer.ai.model_download import download_model

        def work(ctx: JobContext) -> None:
            download_model(ctx, self.store, address, sha256)

        return self._change("Downloading a model", work, f"Downloaded {address}.")

    def _change(self, title: str, work: Work, said: str) -> Job:
        """Change the store by a job, then look for tasks anew."""

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, title)
            if job.state is JobState.SUCCESS:
                self._app.messages.add("info", said)
            self.look_again()

        return self._app.jobs.submit(title, work, lane="net", done=done)

    def look_again(self) -> None:
        """Find out which models there are now."""
        self._cards.clear()
        self._app.plugins.refresh()
        self.changed.emit()


def must_accept(task: TaskInfo, accepted: Collection[str], store: ModelStore) -> bool:
    """Whether the licence of a task's model has yet to be accepted: what came with the program needs no asking."""
    if not task.model or Path(task.model).is_relative_to(store.shipped):
        return False
    return agreement(task) not in accepted


def agreement(task: TaskInfo) -> str:
    """Return what was agreed to: a new licence of the same model is to be accepted anew."""
    return f"{task.id}: {task.license}"
