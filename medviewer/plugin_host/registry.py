"""Which plugins and models are there, and which are broken and why."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medviewer.ai.weights import ModelStore, StoredModel
from medviewer.api.plugin import TaskInfo
from medviewer.core.errors import PluginError
from medviewer.plugin_host import discovery
from medviewer.plugin_host.loader import TaskSource
from medviewer.plugin_host.manifest import PluginManifest, read_manifest
from medviewer.plugin_host.model_tasks import model_task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin or model that is there but cannot be used, for a grey row with its reason."""

    name: str
    path: Path
    reason: str


class PluginRegistry:
    """The plugins and models of this program.

    One that is broken or a duplicate is listed with its reason and used no further.
    """

    def __init__(self) -> None:
        self._plugins: dict[str, PluginManifest] = {}
        self._tasks: dict[str, TaskInfo] = {}
        self._broken: list[BrokenPlugin] = []
        self._looked: tuple[Sequence[Path] | None, ModelStore | None] = (None, None)

    def refresh(self) -> None:
        """Look again where `discover` looked last: models have come or gone."""
        self.discover(*self._looked)

    def discover(self, folders: Sequence[Path] | None = None, models: ModelStore | None = None) -> None:
        """Look for plugins and models anew; nothing of theirs is imported, and a faulty one raises nothing.

        Parameters
        ----------
        folders : sequence of Path, optional
            Look here only. Default: the bundled plugins, installed packages, the user's plugin folder; the first of
            two with the same id wins.
        models : ModelStore, optional
            Whose models become tasks. Default: the program's own store; none when `folders` are given.
        """
        self._looked = (folders, models)
        self._plugins.clear()
        self._tasks.clear()
        self._broken.clear()
        for candidate in discovery.find(folders):
            try:
                if candidate.problem:
                    raise PluginError(candidate.problem)
                self._add(read_manifest(candidate.path, candidate.folder))
            except PluginError as error:
                self._broken.append(BrokenPlugin(candidate.name, candidate.path, error.text))
                log.warning("The plugin %s cannot be used: %s", candidate.name, error.text)
        if models is None and folders is None:
            models = ModelStore()
        if models is not None:
            self._discover_models(models)

    def _discover_models(self, store: ModelStore) -> None:
        for model in store.models():
            if model.problem:
                self._broken.append(BrokenPlugin(model.id, model.folder, model.problem))
        for model in store.newest():
            try:
                self._add_model(model)
            except PluginError as error:
                self._broken.append(BrokenPlugin(model.id, model.folder, error.text))

    def _add_model(self, model: StoredModel) -> None:
        assert model.card is not None
        plugin = next((p for p in self._plugins.values() if model.card.runner in p.runners), None)
        if plugin is None:
            raise PluginError(f"No plugin can run it: it needs the runner {model.card.runner!r}.")
        if (taken := self._tasks.get(model.id)) is not None:
            raise PluginError(f"The task id {model.id!r} is already taken by the plugin {taken.plugin!r}.")
        self._tasks[model.id] = model_task(model, plugin)

    def _add(self, manifest: PluginManifest) -> None:
        if (other := self._plugins.get(manifest.id)) is not None:
            raise PluginError(f"A plugin with the id {manifest.id!r} is already there: {other.path}.")
        for task in manifest.tasks:
            if (taken := self._tasks.get(task.id)) is not None:
                raise PluginError(f"The task id {task.id!r} is already taken by the plugin {taken.plugin!r}.")
        self._plugins[manifest.id] = manifest
        self._tasks.update({task.id: task for task in manifest.tasks})

    @property
    def plugins(self) -> tuple[PluginManifest, ...]:
        """Usable plugins, in the order in which they were found."""
        return tuple(self._plugins.values())

    @property
    def tasks(self) -> tuple[TaskInfo, ...]:
        """Tasks of all usable plugins and models, in the order in which Analyze runs them."""
        return tuple(sorted(self._tasks.values(), key=lambda task: (task.order, task.id)))

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Plugins and models that cannot be used."""
        return tuple(self._broken)

    def task(self, task_id: str) -> TaskInfo:
        """Return a task.

        Raises
        ------
        PluginError
            ``E_UNKNOWN_TASK``: there is none with this id.
        """
        if (task := self._tasks.get(task_id)) is None:
            raise PluginError(
                f"There is no task {task_id!r}.",
                hint=f"Known tasks: {', '.join(task.id for task in self.tasks) or 'none'}.",
                code="E_UNKNOWN_TASK",
            )
        return task

    def source(self, task_id: str) -> TaskSource:
        """Return a task with the place it is loaded from: what the model worker is given. Raises `PluginError`."""
        task = self.task(task_id)
        return TaskSource(task, self._plugins[task.plugin].folder)
