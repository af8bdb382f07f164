"""Read what a plugin says about itself, from ``plugin.toml`` or a script's PEP 723 block, without importing it.

Both have one schema. In ``plugin.toml`` it stands at the top level, in a script under ``[tool.medviewer]``::

    id = "lung_threshold"
    version = "0.1.0"
    api = 1
    title = "Lungs by threshold"        # optional

    [[task]]
    id = "lung_threshold.lungs"
    title = "Lungs by threshold"
    kind = "segmentation"
    entry = "lung_threshold:LungThreshold"
    inputs = { image = "volume" }

A plugin may also, or instead, bring runners of models: ``runners = "package.of.runners"``, see
`medviewer.plugin_host.model_tasks`.

References
----------
PEP 723, inline script metadata.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from medviewer.api.plugin import API_VERSION, InputKind, Kind, TaskInfo
from medviewer.core.errors import PluginError

MANIFEST_NAME = "plugin.toml"
#: A manifest is a page of text; more is not one.
MAX_BYTES = 1 << 20

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LANES = ("gpu", "cpu", "io")
#: What a task may say that it reaches beyond the values that it is given; see `medviewer.plugin_host.fence`.
_REACHES = ("network", "programs", "files", "home")

_PLUGIN_KEYS = {"id", "version", "api", "title", "description", "task", "runners"}
_REQUIRED = ("id", "title", "kind", "entry", "inputs")
_TASK_KEYS = {
    *_REQUIRED, "description", "modalities", "body_parts", "min_size", "min_extent_mm", "pictures", "lane", "license",
    "auto", "contrasts", "seconds_per_megavoxel", "order", "reaches",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginManifest:
    """What a plugin says about itself.

    Attributes
    ----------
    id, version, title : str
    api : int
        Version of the plugin contract it is written for.
    path : Path
        The manifest, or the script that holds it.
    folder : Path
        What has to be on ``sys.path`` to import its entries.
    tasks : tuple of TaskInfo
        In the order of the manifest.
    runners : mapping of str to str
        Name of a runner of models to its entry.
    """

    id: str
    version: str
    api: int
    title: str
    path: Path
    folder: Path
    tasks: tuple[TaskInfo, ...]
    runners: Mapping[str, str] = field(default_factory=dict)


def read_manifest(path: Path, folder: Path | None = None) -> PluginManifest:
    """Read and check a manifest.

    Parameters
    ----------
    path : Path
        A ``plugin.toml``, or a ``.py`` file with a PEP 723 ``script`` block.
    folder : Path, optional
        What has to be on ``sys.path``; default is the folder of `path`.

    Raises
    ------
    PluginError
        ``E_MANIFEST``: it cannot be read or breaks the schema; the text names the place and the rule.
        ``E_PLUGIN_API``: it is written for another version of the contract.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _refuse("it is larger than 1 MB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refuse(f"it cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _refuse("it is not UTF-8 text") from error
    try:
        table = _script_table(text) if path.suffix == ".py" else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refuse(f"it is not valid TOML: {error}") from error
    return _manifest(table, path, folder or path.parent)


def _refuse(reason: str, code: str = "E_MANIFEST") -> PluginError:
    return PluginError(f"The manifest cannot be used: {reason}.", hint="Correct the manifest.", code=code)


def _script_table(text: str) -> Mapping[str, Any]:
    """Return ``[tool.medviewer]`` of the one ``script`` block."""
    blocks = [match["content"] for match in _BLOCK.finditer(text.replace("\r\n", "\n")) if match["type"] == "script"]
    if len(blocks) != 1:
        raise _refuse(f"the file has {len(blocks)} 'script' blocks instead of one")
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines())
    tool = tomllib.loads("\n".join(lines)).get("tool", {})
    table = tool.get("medviewer") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise _refuse("its 'script' block has no table [tool.medviewer]")
    return table


def _manifest(table: Mapping[str, Any], path: Path, folder: Path) -> PluginManifest:
    api = table.get("api")
    if not _is_int(api):
        raise _refuse("`api` must be a whole number")
    if api != API_VERSION:
        raise PluginError(
            f"The plugin is written for version {api} of the plugin contract; this program has version {API_VERSION}.",
            hint="Get a version of the plugin, or of this program, that fits the other.",
            code="E_PLUGIN_API",
        )
    runners = _runners(table, folder) if "runners" in table else {}
    _check_keys(table, _PLUGIN_KEYS, ("id", "version") if "runners" in table else ("id", "version", "task"), "")
    plugin_id = _matching(table, "id", _ID, "")
    version = _text(table, "version", "")
    entries = table.get("task", [])
    lacking = not entries and "runners" not in table
    if not isinstance(entries, list) or lacking or not all(isinstance(entry, dict) for entry in entries):
        raise _refuse("`task` must be one or more tables [[task]]")
    tasks = tuple(read_task(entry, f"task {n}: ", plugin_id, version) for n, entry in enumerate(entries, 1))
    ids = [task.id for task in tasks]
    if len(set(ids)) < len(ids):
        raise _refuse("two of its tasks have the same `id`")
    return PluginManifest(
        id=plugin_id,
        version=version,
        api=API_VERSION,
        title=_text(table, "title", "") if "title" in table else plugin_id,
        path=path,
        folder=folder,
        tasks=tasks,
        runners=runners,
    )


def _runners(table: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Return the runners of a package, by the names of its files."""
    package = _matching(table, "runners", _PACKAGE, "")
    place = folder.joinpath(*package.split("."))
    if not place.is_dir():
        raise _refuse(f"there is no package {package} of runners")
    files = sorted(place.glob("*.py"))
    return {file.stem: f"{package}.{file.stem}:Runner" for file in files if not file.stem.startswith("_")}


def read_task(table: Mapping[str, Any], where: str, plugin_id: str, version: str) -> TaskInfo:
    """Check the table of one task.

    Parameters
    ----------
    table : mapping
        As under ``[[task]]``.
    where : str
        Begins the sentence that names a fault.
    plugin_id, version : str
        Of the plugin that runs it.

    Raises
    ------
    PluginError
        ``E_MANIFEST``
    """
    _check_keys(table, _TASK_KEYS, _REQUIRED, where)
    optional: dict[str, Any] = {}
    for key in table.keys() - set(_REQUIRED):
        optional[key] = _OPTIONAL[key](table, key, where)
    return TaskInfo(
        id=_matching(table, "id", _ID, where),
        title=_text(table, "title", where),
        kind=_one_of(table, "kind", get_args(Kind), where),
        entry=_matching(table, "entry", _ENTRY, where),
        inputs=_inputs(table["inputs"], where),
        plugin=plugin_id,
        plugin_version=version,
        **optional,
    )


def _check_keys(table: Mapping[str, Any], known: set[str], required: tuple[str, ...], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise _refuse(f"{where}unknown key `{unknown[0]}`")
    for key in required:
        if key not in table:
            raise _refuse(f"{where}`{key}` is missing")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        raise _refuse(f"{where}`{key}` must be a text that is not empty")
    return value


def _matching(table: Mapping[str, Any], key: str, pattern: re.Pattern[str], where: str) -> str:
    value = _text(table, key, where)
    if not pattern.fullmatch(value):
        rules = {_ENTRY: "'module:Class'", _PACKAGE: "a package, for example 'mv_models.runners'"}
        rule = rules.get(pattern, "letters, digits, '_' and '.', beginning with a letter")
        raise _refuse(f"{where}`{key}` must be {rule}, not {value!r}")
    return value


def _one_of(table: Mapping[str, Any], key: str, options: tuple[str, ...], where: str) -> Any:
    value = table[key]
    if value not in options:
        raise _refuse(f"{where}`{key}` must be one of {', '.join(options)}, not {value!r}")
    return value


def _inputs(value: object, where: str) -> dict[str, InputKind]:
    kinds = get_args(InputKind)
    if not isinstance(value, dict) or not value:
        raise _refuse(f"{where}`inputs` must be a table with at least one input")
    for name, kind in value.items():
        if not name.isidentifier() or kind not in kinds:
            raise _refuse(f"{where}input `{name}` must be one of {', '.join(kinds)}, not {kind!r}")
    return dict(value)


def _texts(table: Mapping[str, Any], key: str, where: str) -> frozenset[str]:
    value = table[key]
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _refuse(f"{where}`{key}` must be a list of texts")
    return frozenset(item.upper() for item in value)


def _three(table: Mapping[str, Any], key: str, where: str) -> tuple[Any, ...]:
    value = table[key]
    whole = key == "min_size"
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(_is_int(n) or (isinstance(n, float) and not whole) for n in value)
        or not all(n >= 0 for n in value)
    ):
        raise _refuse(f"{where}`{key}` must be three {'whole ' if whole else ''}numbers, none negative")
    return tuple(value) if whole else tuple(float(n) for n in value)


def _number(table: Mapping[str, Any], key: str, where: str) -> float | int:
    value = table[key]
    if key == "order" and not _is_int(value):
        raise _refuse(f"{where}`order` must be a whole number")
    if isinstance(value, bool) or not isinstance(value, int | float) or (key != "order" and not 0 <= value < 1e9):
        raise _refuse(f"{where}`{key}` must be a number that is not negative")
    return value if key == "order" else float(value)


def _truth(table: Mapping[str, Any], key: str, where: str) -> bool:
    if not isinstance(table[key], bool):
        raise _refuse(f"{where}`{key}` must be true or false")
    return bool(table[key])


def _auto(table: Mapping[str, Any], key: str, where: str) -> bool | frozenset[str]:
    return _texts(table, key, where) if isinstance(table[key], list) else _truth(table, key, where)


def _lane(table: Mapping[str, Any], key: str, where: str) -> Any:
    return _one_of(table, key, _LANES, where)


def _reaches(table: Mapping[str, Any], key: str, where: str) -> frozenset[str]:
    value = table[key]
    if not isinstance(value, list) or not all(entry in _REACHES for entry in value):
        raise _refuse(f"{where}`reaches` must be a list of {', '.join(_REACHES)}")
    return frozenset(value)


_OPTIONAL = {
    "reaches": _reaches,
    "description": _text,
    "modalities": _texts,
    "body_parts": _texts,
    "min_size": _three,
    "min_extent_mm": _three,
    "pictures": _truth,
    "lane": _lane,
    "license": _text,
    "auto": _auto,
    "contrasts": _texts,
    "seconds_per_megavoxel": _number,
    "order": _number,
}
