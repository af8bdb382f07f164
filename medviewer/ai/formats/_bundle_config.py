"""The configuration of a MONAI bundle as data: references are looked up, expressions and foreign classes refused.

A configuration of MONAI is a program: values that begin with ``$`` are evaluated, and ``_target_`` names any callable.
Here nothing is evaluated. Parts that are needed must be plain values; in the others only the usual, harmless words of
published bundles are passed over.

References
----------
GHSA-873f-pvrv-4x83 (expressions in bundles), GHSA-wvpx-5qmp-46g3 (``logging.conf``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medviewer.core.errors import TaskError

MAX_BYTES = 8 << 20
_DEEPEST = 40
_HOSTILE = re.compile(
    r"__\w+__|\b(eval|exec|compile|system|popen|subprocess|Popen|pickle|marshal|importlib|import_module|getattr|setattr|"
    r"globals|locals|open|builtins|ctypes|socket|requests|urllib|shutil|rmtree|remove|unlink|mkdir|makedirs|chmod|"
    r"write_text|write_bytes|runpy|codecs|breakpoint|input)\b"
)
_IMPORTS = re.compile(r"\$import (glob|os|torch|numpy( as np)?|monai|pathlib|json|re|sys|scripts)$")
_TARGET = re.compile(
    r"(monai(\.[A-Za-z_]\w*)*\.)?[A-Z]\w*|ignite(\.[A-Za-z_]\w*)*\.[A-Z]\w*|torch\.(optim|nn)\.[\w.]*[A-Z]\w*"
)


def read_config(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metadata and inference configuration of a bundle.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: not there, or not JSON. ``E_MODEL_CODE``: it would run code.
    """
    folder = root / "configs"
    for path in sorted(folder.glob("*")):
        if path.is_file() and path.suffix in (".conf", ".ini", ".cfg"):
            _check_text(root, path)
    inference = folder / "inference.json"
    if not inference.is_file():
        raise refused(root, "it has no configs/inference.json; other kinds of configuration are not read")
    metadata, config = _json(root, folder / "metadata.json"), _json(root, inference)
    for where, value in [*_walk(metadata), *_walk(config)]:
        _check_value(root, where, value)
    return metadata, config


def refused(root: Path, reason: str, code: str = "E_MODEL_FILE") -> TaskError:
    """Return the refusal of a bundle."""
    return TaskError(
        f"The MONAI bundle {root.name} cannot be used: {reason}.",
        hint="Get the bundle from where it was published, or export its network as ONNX.",
        code=code,
    )


def _json(root: Path, path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise refused(root, f"{path.name} is too large")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refused(root, f"{path.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise refused(root, f"{path.name} is not JSON") from error
    if not isinstance(data, dict):
        raise refused(root, f"{path.name} is not an object")
    return data


def _walk(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        yield path, "$too deep"
        return
    if isinstance(value, dict):
        for key, entry in value.items():
            yield f"{path}#{key}", key
            yield from _walk(entry, f"{path}#{key}", depth + 1)
    elif isinstance(value, list):
        for n, entry in enumerate(value):
            yield from _walk(entry, f"{path}#{n}", depth + 1)
    else:
        yield path, value


def _check_text(root: Path, path: Path) -> None:
    if path.stat().st_size > MAX_BYTES or _HOSTILE.search(path.read_text(encoding="utf-8", errors="replace")):
        raise refused(root, f"{path.name} would run code", "E_MODEL_CODE")


def _check_value(root: Path, path: str, value: Any) -> None:
    """Refuse what would run something, wherever it stands."""
    if not isinstance(value, str):
        return
    name = path.rsplit("#", 1)[-1]
    if value.startswith("$") and not _IMPORTS.match(value) and (_HOSTILE.search(value) or value == "$too deep"):
        raise refused(root, f"{path.lstrip('#')} would run code", "E_MODEL_CODE")
    if name == "_target_" and value != "_target_" and not _TARGET.fullmatch(value) and not value.startswith("scripts."):
        raise refused(root, f"{path.lstrip('#')} names {value}, which is no part of MONAI", "E_MODEL_CODE")
    if name == "_mode_" and value not in ("_mode_", "default"):
        raise refused(root, f"{path.lstrip('#')} asks for the mode {value}", "E_MODEL_CODE")
    if value.startswith("%") and not re.fullmatch(r"%[A-Za-z_][\w#]*", value):
        raise refused(root, f"{path.lstrip('#')} reaches for another file", "E_MODEL_CODE")


def plain(root: Path, config: Mapping[str, Any], value: Any, where: str, seen: tuple[str, ...] = ()) -> Any:
    """Return a part of the configuration as plain values, references followed.

    Raises
    ------
    TaskError
        ``E_MODEL_CODE``: it holds an expression.
    """
    if isinstance(value, str) and value.startswith("$"):
        raise refused(root, f"{where} is an expression ({value[:40]})", "E_MODEL_CODE")
    if isinstance(value, str) and re.fullmatch(r"[@%][A-Za-z_][\w#:]*", value):
        if value in seen or len(seen) > _DEEPEST:
            raise refused(root, f"{where} refers to itself")
        target = _look_up(root, config, value[1:], where)
        return plain(root, config, target, where, (*seen, value))
    if isinstance(value, dict):
        kept = {key: entry for key, entry in value.items() if key not in ("_desc_", "_disabled_", "_mode_")}
        if "_requires_" in kept:
            raise refused(root, f"{where} requires that something runs before it", "E_MODEL_CODE")
        return {key: plain(root, config, entry, f"{where}#{key}", seen) for key, entry in kept.items()}
    if isinstance(value, list):
        on = [entry for entry in value if not (isinstance(entry, dict) and entry.get("_disabled_") in (True, "true"))]
        return [plain(root, config, entry, f"{where}#{n}", seen) for n, entry in enumerate(on)]
    return value


def _look_up(root: Path, config: Mapping[str, Any], name: str, where: str) -> Any:
    value: Any = config
    for part in re.split(r"::|#", name):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise refused(root, f"{where} refers to {name}, which is not there") from error
    return value


def target_of(entry: Any) -> str:
    """Return the class that an entry names, without its package."""
    name = entry.get("_target_", "") if isinstance(entry, dict) else ""
    return str(name).rsplit(".", 1)[-1]
