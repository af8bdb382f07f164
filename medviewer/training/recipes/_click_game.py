"""Sessions played on held-out objects: a first click in the middle, then clicks in the middle of the largest error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.classic_segmenter import ClassicSegmenter
from medviewer.ai.click_segmenter import open_segmenter
from medviewer.ai.prompted import PromptedSession, Segmenter
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, NullContext
from medviewer.training.recipe import Table
from medviewer.training.recipes._click_sources import Item

Mask = npt.NDArray[np.bool_]
CLICKS = 5
#: Of the same source and kind of object, so many where not all are asked for; a fixed choice.
CASES = 4
BARS = {1: 0.75, 3: 0.83, 5: 0.87}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An image and one object in it."""

    source: str
    volume: Volume
    target: Mask


def cases_of(items: Sequence[Item], most: int = CASES) -> list[Case]:
    """Return so many held-out nodules, whole hippocampi, sarcomas and lesions of multiple sclerosis."""
    cases: list[Case] = []
    for source in ("nodule", "hippocampus", "sarcoma", "ms"):
        objects = [
            (item, values)
            for item in items
            if item.source == source
            for values in (item.objects if source == "ms" else item.objects[:1])
        ]
        for item, values in objects[:: max(1, len(objects) // most)][:most]:
            assert item.image is not None
            k, j, i = item.spacing_mm
            nk, nj, ni = item.labels.shape
            geometry = Geometry((ni, nj, nk), (i, j, k))
            volume = Volume(np.asarray(item.image), geometry, name=item.name)
            cases.append(Case(source, volume, np.isin(item.labels, values)))
    return cases


def play(make: Callable[[], Segmenter], case: Case, clicks: int = CLICKS) -> tuple[list[float], list[float]]:
    """Return Dice and seconds of every click."""
    session = PromptedSession(case.volume, make())
    mask = np.zeros(case.target.shape, bool)
    scores, seconds = [], []
    for _ in range(clicks):
        place, positive = next_click(mask, case.target, case.volume.geometry.spacing[::-1])
        point = vec3(case.volume.geometry.index_to_lps(place[::-1]))
        start = time.perf_counter()
        region, part = session.add(NullContext(), Prompt(kind="point", positive=positive, points=(point,)))
        seconds.append(time.perf_counter() - start)
        mask[region.slices] = part
        scores.append(dice(mask, case.target))
    session.close()
    return scores, seconds


def next_click(mask: Mask, target: Mask, spacing: Sequence[float]) -> tuple[tuple[int, int, int], bool]:
    """Return the voxel deepest in the largest connected error, and whether the object misses it."""
    from scipy.ndimage import distance_transform_edt, label

    best: tuple[int, Any, bool] = (0, (mask & target), True)
    for wrong, positive in ((target & ~mask, True), (mask & ~target, False)):
        parts, count = label(wrong)
        if count:
            sizes = np.bincount(parts.ravel())[1:]
            if sizes.max() > best[0]:
                best = (int(sizes.max()), parts == sizes.argmax() + 1, positive)
    depth = distance_transform_edt(np.pad(best[1], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    k, j, i = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(k), int(j), int(i)), best[2]


def dice(mask: Mask, target: Mask) -> float:
    """Return twice the overlap over the sum."""
    return float(2 * (mask & target).sum() / max(int(mask.sum() + target.sum()), 1))


def evaluate_sessions(ctx: JobContext, folder: Path, items: Sequence[Item], most: int) -> Table:
    """Return the mean Dice after 1, 3 and 5 clicks by source, of the model and of the session without weights."""
    cases = cases_of(items, most)
    rows: list[dict[str, Any]] = []
    sessions: tuple[tuple[str, Callable[[], Segmenter]], ...] = (
        ("click_segment", lambda: open_segmenter(folder, "cpu")),
        ("click_classic", lambda: ClassicSegmenter("growing")),
    )
    for turn, (what, make) in enumerate(sessions):
        shared = make()
        results: dict[str, list[list[float]]] = {}
        times: list[float] = []
        for n, case in enumerate(cases):
            ctx.progress((turn + n / len(cases)) / len(sessions), what)
            scores, seconds = play(lambda: shared, case)  # noqa: B023 - used at once
            results.setdefault(case.source, []).append(scores)
            times += seconds
        results["all four, each source the same weight"] = [np.mean(r, axis=0).tolist() for r in results.values()]
        for source, played in results.items():
            means = np.mean(played, axis=0)
            row: dict[str, Any] = {"session": what, "cases": len(played), "source": source}
            row |= {f"Dice after {n}": round(float(means[n - 1]), 3) for n in BARS}
            rows.append(row)
        rows[-1]["bar"] = "0.75 / 0.83 / 0.87"
        rows.append({"session": what, "seconds per click, median": round(float(np.median(times)), 3)})
    return rows
