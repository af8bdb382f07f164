"""Test-time flips: the mean over mirrored windows, left and right exchanged where labels have a side."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from medviewer.ai.card import Label, ModelCard

if TYPE_CHECKING:
    import torch

    from medviewer.ai.sliding_window import Forward

#: Dimensions of windows (n, c, k, j, i).
_DIMS = {"k": 2, "j": 3, "i": 4}


def flip_axes(card: ModelCard) -> tuple[str, ...]:
    """Return along which axes a model may be flipped: its setting ``flips``, or left to right where sides allow it."""
    wanted = tuple(str(axis) for axis in card.settings.get("flips", ("i",)))
    return tuple(axis for axis in wanted if axis in _DIMS and (axis != "i" or exchanged(card) is not None))


def exchanged(card: ModelCard) -> list[int] | None:
    """Return which channel takes the place of each when left and right are exchanged.

    None when a label has a side and no counterpart: such a model is not flipped from left to right.
    """
    first = 0 if card.output == "sigmoid" else 1
    values = list(range(first)) + [n if card.output == "sigmoid" else lab.value for n, lab in enumerate(card.labels)]
    order = list(range(max(values, default=0) + 1))
    channel = dict(zip([label.value for label in card.labels], values[first:], strict=True))
    for label in card.labels:
        if label.laterality not in ("left", "right"):
            continue
        others = [o for o in card.labels if o.laterality and o.laterality != label.laterality and _same(o, label)]
        if len(others) != 1:
            return None
        order[channel[label.value]] = channel[others[0].value]
    return order


def _same(one: Label, other: Label) -> bool:
    names = (one.name.replace(one.laterality, "*"), other.name.replace(other.laterality, "*"))
    return names[0] == names[1] and "*" in names[0]


def flipped(card: ModelCard, forward: Forward, *, spread: bool = False) -> Forward:
    """Return a forward pass that is the mean over all flips.

    Parameters
    ----------
    card : ModelCard
    forward : callable
    spread : bool
        Whether a last channel is added: twice the standard deviation, over the flips, of the probability of there being
        anything; 0 .. 1.
    """
    axes = flip_axes(card)
    order = exchanged(card)
    flips = [chosen for n in range(len(axes) + 1) for chosen in combinations(axes, n)]

    def run(x: torch.Tensor) -> torch.Tensor:
        import torch

        total: torch.Tensor | None = None
        found: list[torch.Tensor] = []
        for chosen in flips:
            dims = [_DIMS[axis] for axis in chosen]
            # A copy: a back-end may give the same memory at every call.
            logits = torch.flip(forward(torch.flip(x, dims)).float(), dims)
            if "i" in chosen and order is not None:
                logits = logits[:, order]
            if spread:
                found.append(_anything(card, logits))
            total = logits if total is None else total.add_(logits)
        assert total is not None
        total /= len(flips)
        if spread:
            total = torch.cat([total, 2 * torch.stack(found).std(0, correction=0)], dim=1)
        return total

    return run


def _anything(card: ModelCard, logits: torch.Tensor) -> torch.Tensor:
    """Return the probability (n, 1, k, j, i) of anything but background."""
    if card.output == "sigmoid":
        return logits.sigmoid().amax(1, keepdim=True)
    return 1 - logits.softmax(1)[:, :1]
