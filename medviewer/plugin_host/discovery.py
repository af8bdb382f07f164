"""Find plugins: in the bundled folder, in installed packages, in the user's folder. Nothing of theirs is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from medviewer.io.places import bundled, user_folder
from medviewer.plugin_host.manifest import MANIFEST_NAME

ENTRY_POINT_GROUP = "medviewer.plugins"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a plugin seems to be.

    Attributes
    ----------
    name : str
        Of the file, folder or entry point.
    path : Path
        Where its manifest is, or should be.
    folder : Path
        What has to be on ``sys.path`` to import it.
    problem : str
        Why it cannot be a plugin; empty when it may be one.
    """

    name: str
    path: Path
    folder: Path
    problem: str = ""


def find(folders: Sequence[Path] | None = None) -> Iterator[Candidate]:
    """Find plugins.

    Parameters
    ----------
    folders : sequence of Path, optional
        Look here and nowhere else. Default: the bundled plugins, then the entry points of the group
        ``medviewer.plugins``, then the user's plugin folder.

    Yields
    ------
    Candidate
        In a stable order.
    """
    if folders is not None:
        for folder in folders:
            yield from in_folder(folder)
        return
    yield from in_folder(bundled("plugins"))
    yield from from_entry_points()
    yield from in_folder(user_folder() / "plugins")


def in_folder(folder: Path) -> Iterator[Candidate]:
    """Find plugins in a folder: sub-folders with a ``plugin.toml``, and scripts with a manifest in them.

    Names that begin with ``_`` or ``.`` are left alone.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(("_", ".")):
            continue
        if entry.is_dir():
            manifest = entry / MANIFEST_NAME
            problem = "" if manifest.is_file() else f"The folder has no {MANIFEST_NAME}."
            yield Candidate(entry.name, manifest, entry, problem)
        elif entry.suffix == ".py":
            yield Candidate(entry.stem, entry, folder)


def from_entry_points() -> Iterator[Candidate]:
    """Find plugins in installed packages.

    The value of an entry point is the package that holds the manifest, ``package`` or ``package:file.toml``.
    """
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda e: (e.name, e.value)):
        yield _from_entry_point(entry)


def _from_entry_point(entry: EntryPoint) -> Candidate:
    root, *rest = entry.module.split(".")
    # Asking for the top-level package only: looking for a sub-package would import its parent.
    spec = PathFinder.find_spec(root)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        manifest = Path(place).joinpath(*rest, entry.attr or MANIFEST_NAME)
        if manifest.is_file():
            return Candidate(entry.name, manifest, Path(place).parent)
    found = Path(places[0]) if places else Path(root)
    problem = f"The package {entry.module} has no {entry.attr or MANIFEST_NAME}."
    if not places:
        problem = f"The package {entry.module} is not installed."
    return Candidate(entry.name, found / MANIFEST_NAME, found.parent, problem)
