"""Import a plugin, in the model worker, at its first use."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from medviewer.api.plugin import Task, TaskInfo
from medviewer.core.errors import MedViewerError, PluginError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TaskSource:
    """A task, and the folder that has to be on ``sys.path`` to import it."""

    info: TaskInfo
    folder: Path


_NEEDS = {
    "network": "use the network",
    "programs": "start other programs",
    "files": "change files",
    "home": "read files of the user",
}


class Reached(PermissionError):
    """What a plugin reaches for was not declared; a `PermissionError`, as from the system."""

    def __init__(self, need: str, what: str) -> None:
        super().__init__(f"it wants to {_NEEDS[need]} ({what})")
        self.need = need


def load_task(source: TaskSource) -> Task[Any]:
    """Import the module of a task and make the task; a runner of models is made with the model's folder.

    Raises
    ------
    PluginError
        ``E_PLUGIN``, naming plugin and version: the import failed, or there is no such class.
    MedViewerError
        Whatever a runner refuses its model with.
    """
    module_name, _, class_name = source.info.entry.partition(":")
    module = _import(source, module_name)
    factory = getattr(module, class_name, None)
    if not isinstance(factory, type):
        raise broken(source.info, f"{module_name} has no class {class_name}")
    try:
        task = factory(Path(source.info.model)) if source.info.model else factory()
    except (MedViewerError, Reached):
        raise
    # Whatever a plugin raises, the program goes on and says which plugin it was.
    except Exception as error:
        raise _failed(source.info, f"{class_name}() failed", error) from error
    for method in ("check", "open" if source.info.kind == "interactive" else "run"):
        if not callable(getattr(task, method, None)):
            raise broken(source.info, f"{class_name} has no method {method}")
    return task  # type: ignore[no-any-return]  # the methods of the protocol have just been checked


def params_type(task: Task[Any], info: TaskInfo) -> type[Any]:
    """Return the dataclass of a task's parameters, read from the signature of `run` (`open` of an interactive task).

    Raises
    ------
    PluginError
        The last parameter is not annotated with a dataclass.
    """
    method: Any = getattr(task, "open" if info.kind == "interactive" else "run")
    names = list(inspect.signature(method).parameters)
    try:
        hints = get_type_hints(method)
    except (NameError, AttributeError, TypeError) as error:
        raise broken(info, f"the annotations of {method.__qualname__} cannot be read ({error})") from error
    found = hints.get(names[2]) if len(names) == 3 else None
    if not isinstance(found, type) or not is_dataclass(found):
        raise broken(info, f"{method.__qualname__} must take (ctx, inputs, params), params annotated with a dataclass")
    return found


def broken(info: TaskInfo, reason: str) -> PluginError:
    """Return an error that names the plugin and its version."""
    return PluginError(
        f"The plugin {info.plugin} {info.plugin_version} is broken: {reason}.",
        hint="Update or remove the plugin.",
    )


def _failed(info: TaskInfo, what: str, error: Exception) -> PluginError:
    log.error("The plugin %s %s: %s.", info.plugin, info.plugin_version, what, exc_info=error)
    own = ("medviewer", info.entry.partition(".")[0].partition(":")[0])
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] not in own:
        return PluginError(
            f"The plugin {info.plugin} {info.plugin_version} needs the package {error.name}, which is not installed.",
            hint=f"Install {error.name} into the environment of this program.",
            code="E_PLUGIN_MISSING",
        )
    return broken(info, f"{what} ({type(error).__name__}: {error})")


def _import(source: TaskSource, name: str) -> ModuleType:
    folder = str(source.folder)
    if folder not in sys.path:
        # At the end: a plugin must not stand in for a module of the program or of the standard library.
        sys.path.append(folder)
        importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    # Importing runs the plugin's code, which may raise anything.
    except Exception as error:
        if isinstance(error, Reached):
            raise
        raise _failed(source.info, f"importing {name} failed", error) from error
    origin = Path(module.__file__ or "").resolve()
    if not origin.is_relative_to(source.folder.resolve()):
        raise broken(source.info, f"its module name {name} is already used by {origin}")
    return module
