"""What may be done to labels after a network: named steps, plain functions, their parameters in the model's card.

A step is a function ``(labels, spacing, **parameters) -> labels``; one more is one more function with `@step`. A card
says, for example, ``[{"step": "largest_component", "values": [1, 2]}, {"step": "min_size", "ml": 0.5}]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.masks import FACES, holes
from medviewer.core.errors import TaskError
from medviewer.core.segmentation import LabelArray
from medviewer.jobs.job import JobContext

Spacing = tuple[float, float, float]
Step = Callable[..., LabelArray]
Boxes = npt.NDArray[np.float64]

_steps: dict[str, Step] = {}


def step(function: Step) -> Step:
    """Register a function under its name."""
    _steps[function.__name__] = function
    return function


def names() -> tuple[str, ...]:
    """Return the known steps."""
    return tuple(sorted(_steps))


def postprocess(
    ctx: JobContext, labels: LabelArray, spacing: Spacing, steps: Sequence[Mapping[str, Any]]
) -> LabelArray:
    """Apply steps in order.

    Parameters
    ----------
    labels : uint16, shape (k, j, i)
        Not written to.
    spacing : (k, j, i)
        mm.
    steps : sequence of mapping
        ``step`` names it, the rest are its parameters.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: an unknown step, or parameters that it does not take.
    """
    for n, entry in enumerate(steps):
        name = str(entry.get("step"))
        ctx.progress(n / len(steps), f"Cleaning up: {name.replace('_', ' ')}")
        parameters = {key: value for key, value in entry.items() if key != "step"}
        try:
            labels = _steps[name](labels, spacing, **parameters)
        except (KeyError, TypeError) as error:
            raise TaskError(
                f"The model asks for the step {name!r} with {parameters}, which this version does not know.",
                hint=f"Known are {', '.join(names())}.",
                code="E_MODEL_FILE",
            ) from error
    return labels


def _parts(
    labels: LabelArray, values: Sequence[int], margin: int = 0
) -> Iterator[tuple[int, tuple[slice, ...], npt.NDArray[np.bool_]]]:
    """Yield value, box and mask of each label that is there; all of them when no values are named."""
    from scipy import ndimage

    boxes: list[Any] = ndimage.find_objects(labels.astype(np.int32))
    for value, box in enumerate(boxes, start=1):
        if box is None or (values and value not in values):
            continue
        wide = tuple(slice(max(0, p.start - margin), p.stop + margin) for p in box)
        yield value, wide, labels[wide] == value


@step
def largest_component(labels: LabelArray, spacing: Spacing, values: Sequence[int] = (), keep: int = 1) -> LabelArray:
    """Keep the `keep` largest face-connected pieces of each label."""
    from scipy import ndimage

    result = labels.copy()
    for _, box, mask in _parts(labels, values):
        pieces, count = ndimage.label(mask, FACES)
        if count > keep:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            kept = np.zeros(count + 1, bool)
            kept[np.argsort(sizes, kind="stable")[::-1][:keep]] = True
            result[box][mask & ~kept[pieces]] = 0
    return result


@step
def fill_holes(labels: LabelArray, spacing: Spacing, values: Sequence[int] = ()) -> LabelArray:
    """Fill background that one label encloses from all sides."""
    result = labels.copy()
    for value, box, mask in _parts(labels, values):
        result[box][holes(mask) & (labels[box] == 0)] = value
    return result


@step
def min_size(labels: LabelArray, spacing: Spacing, ml: float, values: Sequence[int] = ()) -> LabelArray:
    """Drop pieces smaller than `ml`."""
    from scipy import ndimage

    result = labels.copy()
    least = ml * 1000 / float(np.prod(spacing))
    for _, box, mask in _parts(labels, values):
        pieces, _ = ndimage.label(mask, FACES)
        small = np.bincount(pieces.ravel()) < least
        small[0] = False
        result[box][small[pieces]] = 0
    return result


@step
def smooth(labels: LabelArray, spacing: Spacing, mm: float, values: Sequence[int] = ()) -> LabelArray:
    """Round the surface of each label, corners of about `mm`; where two meet, the one with more around it wins."""
    from scipy import ndimage

    sigma = [mm / 2 / step for step in spacing]
    margin = int(np.ceil(max(sigma) * 3))
    best, total = np.zeros(labels.shape, np.float32), np.zeros(labels.shape, np.float32)
    result = labels.copy()
    chosen = [value for value, _, _ in _parts(labels, values)]
    result[np.isin(labels, chosen)] = 0
    for value, box, mask in _parts(labels, values, margin):
        near = ndimage.gaussian_filter(mask.astype(np.float32), sigma, truncate=3.0, mode="nearest")
        free = (labels[box] == 0) | np.isin(labels[box], chosen)
        total[box] += near
        wins = (near > 0.5) & (near > best[box]) & free
        best[box][wins] = near[wins]
        result[box][wins] = value
    # Where three labels meet none may have half: such a voxel stays what it was.
    between = (result == 0) & np.isin(labels, chosen) & (total > 0.5)
    result[between] = labels[between]
    return result


def suppress_boxes(boxes: Boxes, scores: npt.NDArray[np.floating[Any]], overlap: float = 0.1) -> list[int]:
    """Return which boxes stay, best first: none overlaps a better one by more than `overlap`.

    Parameters
    ----------
    boxes : shape (n, 6)
        Lower and upper corner along any three axes, in mm.
    scores : shape (n,)
    overlap : float
        Of intersection over union, 0 .. 1.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    volume = np.prod(np.maximum(boxes[:, 3:] - boxes[:, :3], 0), axis=1)
    kept: list[int] = []
    for n in order:
        lower = np.maximum(boxes[kept, :3], boxes[n, :3])
        upper = np.minimum(boxes[kept, 3:], boxes[n, 3:])
        common = np.prod(np.maximum(upper - lower, 0), axis=1)
        if (common <= overlap * np.maximum(volume[kept] + volume[n] - common, 1e-9)).all():
            kept.append(int(n))
    return kept
