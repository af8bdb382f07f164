"""Models into the user's store: from a folder, an archive or a single file; whole and usable, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from medviewer.ai.card import ModelCard
from medviewer.ai.formats import format_of, formats, nninteractive, totalsegmentator
from medviewer.ai.weights import STORED_NAME, ModelStore, StoredModel, read_model
from medviewer.core.errors import InputError, TaskError
from medviewer.io.archive import extract, is_archive
from medviewer.io.archive_rules import MOST_FILES
from medviewer.io.atomic import refusal
from medviewer.jobs.job import JobContext, SubContext

_CHUNK: Final = 1 << 20
#: An archive often holds one folder that holds the model.
_DEEPEST: Final = 3


def import_models(ctx: JobContext, store: ModelStore, path: Path, source: str = "") -> tuple[StoredModel, ...]:
    """Copy the models in a folder, an archive or a file into the user's store.

    A model of the same id and version is replaced once the new one is complete. Weights of TotalSegmentator, gigabytes
    in a place of their own, stay where they are: its tasks become models that use them there.

    Parameters
    ----------
    ctx : JobContext
        Cancel leaves the store as it was.
    store : ModelStore
    path : Path
    source : str
        Where it came from; by default the name of `path`.

    Raises
    ------
    InputError
        ``E_FILE``; an unsafe or broken archive: what `medviewer.io.archive.extract` raises.
    TaskError
        ``E_MODEL_FORMAT``: no model of a known format. ``E_MODEL_FILE``: it cannot be used.
    """
    if not path.exists():
        raise InputError(f"There is no {path.name}.", code="E_FILE")
    place = path
    if path.is_file() and is_archive(path) and not _is_model_file(path):
        place = extract(SubContext(ctx, 0.0, 0.4), path).folder
    if place.is_dir() and (results := totalsegmentator.results_in(place)) is not None:
        linked = totalsegmentator.tasks_in(results)
        if linked and place == path:
            return tuple(_link_one(store, name, results) for name in linked)
    roots = _roots(place)
    models = []
    for n, root in enumerate(roots):
        part = SubContext(ctx, 0.4 + 0.6 * n / len(roots), 0.4 + 0.6 * (n + 1) / len(roots))
        models.append(_import_one(part, store, root, source or path.name))
    return tuple(models)


def remove_model(model: StoredModel) -> None:
    """Delete a model of the user's; raises `InputError` ``E_SHIPPED`` for one that came with the program."""
    if model.shipped:
        raise InputError(f"{model.id} came with the program and stays.", code="E_SHIPPED")
    doomed = model.folder.with_name(f".{uuid4().hex}")
    try:
        os.replace(model.folder, doomed)
    except OSError as error:
        raise refusal(error, model.folder, TaskError) from error
    shutil.rmtree(doomed, ignore_errors=True)


def _is_model_file(path: Path) -> bool:
    """Whether a file that is a zip is a model by itself (TorchScript)."""
    return path.suffix.lower() in (".pt", ".ts", ".pth", ".onnx")


def _roots(place: Path) -> Sequence[Path]:
    """Return the folders of models in a folder: itself, or those below; a single file is a model by itself."""
    if place.is_file():
        return (place,)
    level = [place]
    for _ in range(_DEEPEST + 1):
        found = [root for folder in level for root in _recognised(folder)]
        if found:
            return found
        level = sorted(entry for folder in level for entry in folder.iterdir() if entry.is_dir())[:1000]
    format_of(place)
    return ()


def _recognised(folder: Path) -> Sequence[Path]:
    for module in formats().values():
        if module.recognises(folder):
            several = getattr(module, "roots", None)
            return several(folder) if several is not None else (folder,)
    return ()


def _import_one(ctx: JobContext, store: ModelStore, root: Path, source: str) -> StoredModel:
    fresh = store.own / f".{uuid4().hex}"
    try:
        fresh.mkdir(parents=True, mode=0o700)
        # The name of an nnU-Net folder says which configuration it is; that of an nnInteractive one, which version.
        inner = fresh / root.name if "__" in root.name or nninteractive.recognises(root) else fresh
        inner.mkdir(exist_ok=True)
        files = _copy(ctx, root, inner, fresh)
        model = read_model(fresh)
        if model.card is None:
            # People know it by the name that they gave.
            problem = model.problem.replace(fresh.name, root.name)
            raise TaskError(problem, hint="Get the model again.", code="E_MODEL_FILE")
        _write_note(fresh, model.card, source, files)
        return read_model(_into_place(fresh, store.own / _folder_name(model.card)))
    except OSError as error:
        raise refusal(error, store.own / root.name, TaskError) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _link_one(store: ModelStore, name: str, results: Path) -> StoredModel:
    fresh = store.own / f".{uuid4().hex}"
    try:
        fresh.mkdir(parents=True, mode=0o700)
        totalsegmentator.write_link(fresh, name, results)
        model = read_model(fresh)
        if model.card is None:
            raise TaskError(model.problem, hint="Get the model again.", code="E_MODEL_FILE")
        _write_note(fresh, model.card, str(results), {})
        return read_model(_into_place(fresh, store.own / _folder_name(model.card)))
    except OSError as error:
        raise refusal(error, store.own / name, TaskError) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _copy(ctx: JobContext, root: Path, inner: Path, fresh: Path) -> dict[str, str]:
    """Copy files, never links; return their hashes by their paths in the store's folder."""
    if root.is_file():
        paths = [root]
    else:
        wanted = next((m for m in formats().values() if m.recognises(root) and hasattr(m, "files")), None)
        paths = list(wanted.files(root)) if wanted is not None else sorted(root.rglob("*"))
    paths = [path for path in paths if path.is_file() and not path.is_symlink() and path.name != STORED_NAME]
    if len(paths) > MOST_FILES:
        raise InputError(f"{root.name} holds more than {MOST_FILES} files.", code="E_BOMB")
    total, done = sum(path.stat().st_size for path in paths) or 1, 0
    hashes = {}
    for path in paths:
        target = inner / (path.name if root.is_file() else path.relative_to(root))
        if path.resolve() != (path.parent.resolve() / path.name):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("rb") as read, target.open("xb") as write:
            while chunk := read.read(_CHUNK):
                digest.update(chunk)
                write.write(chunk)
                done += len(chunk)
                ctx.progress(done / total, f"Copying {path.name}")
        hashes[target.relative_to(fresh).as_posix()] = digest.hexdigest()
    return hashes


def _write_note(folder: Path, card: ModelCard, source: str, files: dict[str, str]) -> None:
    note = {"id": card.id, "version": card.version, "source": source, "files": files}
    (folder / STORED_NAME).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _folder_name(card: ModelCard) -> str:
    return re.sub(r"[^\w.@+-]", "_", f"{card.id}@{card.version}")[:120].strip(".") or "model"


def _into_place(fresh: Path, target: Path) -> Path:
    """Rename a complete folder into its place; what was there goes only then."""
    old = target.with_name(f".{uuid4().hex}")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(fresh, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return target


def verify_files(model: StoredModel) -> None:
    """Compare a model's files with what was imported; raises `TaskError` ``E_MODEL_FILE``."""
    for name, expected in model.files.items():
        path = model.folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            found = ""
        if found != expected:
            raise TaskError(
                f"{name} of the model {model.id} is not the file that was imported.",
                hint="Import or download the model again.",
                code="E_MODEL_FILE",
            )
