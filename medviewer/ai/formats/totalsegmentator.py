"""A task of TotalSegmentator whose weights lie where TotalSegmentator keeps them: they are used there, not copied.

The folder in the store holds one file, ``totalsegmentator.json``: the task, and the folder of the results. Names of
tasks, their data sets and the order of their structures are in ``resources/totalsegmentator.json``.

References
----------
Wasserthal et al., TotalSegmentator, Radiology: Artificial Intelligence 2023.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.formats import nnunet
from medviewer.core.errors import TaskError
from medviewer.io.places import bundled

LINK_NAME = "totalsegmentator.json"
RUNNER = "totalsegmentator"
_LINK_BYTES = 64 << 10


def recognises(folder: Path) -> bool:
    """Whether the folder names a task of TotalSegmentator."""
    return (folder / LINK_NAME).is_file()


def read_card(folder: Path) -> ModelCard:
    """Return a card made from those of the parts."""
    name, results = _link(folder)
    task = known()["tasks"][name]
    roots = parts(results, name)
    classes = known()["classes"][task["classes"]]
    first = nnunet.read_card(roots[0])
    used = {label.title for root in roots for label in nnunet.read_card(root).labels}
    return ModelCard(
        id=f"totalsegmentator_{name}",
        version="2",
        title=f"TotalSegmentator: {task['title']}",
        network=first.network,
        arguments=first.arguments,
        runner=RUNNER,
        task={"order": 70},
        modalities=(task["modality"],),
        channels=first.channels,
        spacing_mm=first.spacing_mm,
        window=first.window,
        labels=tuple(
            Label(value=n, name=entry, title=entry.replace("_", " ").capitalize())
            for n, entry in enumerate(classes, 1)
            if entry in used
        ),
        license="Apache-2.0",
        credit="Wasserthal et al., TotalSegmentator, Radiology: Artificial Intelligence 2023",
    )


@cache
def known() -> dict[str, Any]:
    """Return the tasks and classes that this version knows."""
    data: dict[str, Any] = json.loads((bundled("resources") / "totalsegmentator.json").read_text(encoding="utf-8"))
    return data


def usual_folder() -> Path:
    """Return where TotalSegmentator keeps its weights on this machine."""
    home = os.environ.get("TOTALSEG_HOME_DIR")
    return Path(home) if home else Path.home() / ".totalsegmentator"


def results_in(folder: Path) -> Path | None:
    """Return the folder of results in TotalSegmentator's folder, or the folder itself; None when it is neither."""
    for place in (folder, folder / "nnunet" / "results", folder / "results"):
        if place.is_dir() and any(place.glob("Dataset[0-9]*_*/*__*__*/plans.json")):
            return place
    return None


def tasks_in(results: Path) -> tuple[str, ...]:
    """Return the tasks all of whose parts are there."""
    return tuple(
        name for name in known()["tasks"] if all(_dataset(results, n) for n in known()["tasks"][name]["datasets"])
    )


def parts(results: Path, name: str) -> tuple[Path, ...]:
    """Return the result folders of a task's parts, in order; raises `TaskError` ``E_MODEL_FILE``."""
    found = []
    for number in known()["tasks"][name]["datasets"]:
        root = _dataset(results, number)
        if root is None:
            raise TaskError(
                f"TotalSegmentator's {name} lacks Dataset{number:03d} in {results}.",
                hint="Download its weights with TotalSegmentator, or choose the folder where they are.",
                code="E_MODEL_FILE",
            )
        found.append(root)
    return tuple(found)


def part_values(folder: Path) -> tuple[tuple[Path, dict[int, int]], ...]:
    """Return the parts of a model's folder, each with the values of its labels in the whole."""
    name, results = _link(folder)
    classes = known()["classes"][known()["tasks"][name]["classes"]]
    table = {entry: n for n, entry in enumerate(classes, 1)}
    return tuple(
        (root, {label.value: table[label.title] for label in nnunet.read_card(root).labels if label.title in table})
        for root in parts(results, name)
    )


def write_link(folder: Path, name: str, results: Path) -> None:
    """Write the file that makes a folder of the store a task of TotalSegmentator."""
    text = json.dumps({"task": name, "results": str(results.resolve())}, indent=1)
    (folder / LINK_NAME).write_text(text + "\n", encoding="utf-8")


def _dataset(results: Path, number: int) -> Path | None:
    found = sorted(results.glob(f"Dataset{number:03d}_*/*__*__*/plans.json"))
    return found[0].parent if found else None


def _link(folder: Path) -> tuple[str, Path]:
    path = folder / LINK_NAME
    try:
        if path.stat().st_size > _LINK_BYTES:
            raise ValueError
        data = json.loads(path.read_text(encoding="utf-8"))
        name, results = data["task"], Path(data["results"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"{LINK_NAME} of {folder.name} is damaged.", code="E_MODEL_FILE") from error
    if name not in known()["tasks"]:
        raise TaskError(f"This version does not know TotalSegmentator's task {name!r}.", code="E_MODEL_FILE")
    return name, results
