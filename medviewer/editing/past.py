"""Voxels as they were some steps ago, read from the steps; nothing that is open changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medviewer.core.segmentation import LabelArray
from medviewer.editing.history import UndoStep
from medviewer.editing.steps import CompoundStep, GroupStep, VoxelStep


def past_labels(labels: LabelArray, steps: Sequence[UndoStep], volume_id: str, group_id: int) -> LabelArray:
    """Return the label map of a group as it was before some steps.

    Parameters
    ----------
    labels : uint16, shape (k, j, i)
        As it is after them; not changed.
    steps : sequence of UndoStep
        Oldest first, all that came since.
    volume_id, group_id : str, int
        Whose label map it is.

    Returns
    -------
    uint16, shape (k, j, i)
        A copy; nothing but background before the group was there.
    """
    past = labels.copy()
    for step in reversed(steps):
        for part in _newest_first(step):
            if isinstance(part, VoxelStep) and (part.volume_id, part.group_id) == (volume_id, group_id):
                for patch in reversed(part.patches):
                    patch.undo(past)
            elif isinstance(part, GroupStep) and (part.volume_id, part.group.id) == (volume_id, group_id):
                past[...] = part.group.labels if part.removed else 0
    return past


def _newest_first(step: UndoStep) -> Iterator[UndoStep]:
    if isinstance(step, CompoundStep):
        for part in reversed(step.steps):
            yield from _newest_first(part)
    else:
        yield step
