"""From slabs of logits on a network's grid to labels, probability and uncertainty on the image's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medviewer.ai.card import ModelCard
from medviewer.ai.model_grid import ModelGrid, along, taps
from medviewer.ai.sliding_window import Slab
from medviewer.core.errors import TaskError
from medviewer.core.segmentation import LabelArray

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]

#: Logit that is as good as certain.
_SURE = 30.0
#: Slices of the image worked on at a time.
_SLICES = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is returned beside the labels."""

    probability: bool = False
    uncertainty: bool = False


def output_count(card: ModelCard) -> int:
    """Return how many channels the network of a card gives."""
    if card.output == "sigmoid":
        return len(card.labels)
    return 1 + max((label.value for label in card.labels), default=0)


def bad_output(card: ModelCard, reason: str) -> TaskError:
    """Return the refusal of what a network gave."""
    return TaskError(
        f"{card.title} gave no usable result: {reason}.",
        hint="Nothing was changed. Check that the image is what the model is made for, or get the model again.",
        code="E_MODEL_OUTPUT",
    )


class Outputs:
    """Takes slabs in order, and draws the image's slices as soon as what they need is there.

    A channel beyond those of the card is the spread over flips: what `uncertainty` then is, instead of the entropy.
    """

    def __init__(self, card: ModelCard, grid: ModelGrid, wanted: Wanted) -> None:
        self._card = card
        self._grid = grid
        shape = grid.base.shape
        self._labels: LabelArray = np.zeros(shape, np.uint16)
        self._probability = np.zeros(shape, np.float32) if wanted.probability else None
        self._uncertainty = np.zeros(shape, np.float32) if wanted.uncertainty else None
        self._places = [grid.places(axis) for axis in range(3)]
        #: The last slice of the slab before, on the image's rows and columns; None at the start of a run of slabs.
        self._last: torch.Tensor | None = None
        self._next = 0
        self._low = math.inf
        self._high = -math.inf
        self._doubt, self._found = 0.0, 0
        values = [label.value for label in card.labels]
        self._values = np.array(values if card.output == "sigmoid" else range(output_count(card)), np.uint16)

    @property
    def background(self) -> tuple[float, ...]:
        """Logits of a voxel that no window covers."""
        n = output_count(self._card)
        return (-_SURE,) * n if self._card.output == "sigmoid" else (_SURE, *(0.0,) * (n - 1))

    def put(self, slab: Slab) -> None:
        """Take the next slab; raises `TaskError` ``E_MODEL_OUTPUT`` when it holds what is not a number."""
        import torch

        count = output_count(self._card)
        low, high = (float(v) for v in slab.logits[:count].aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise bad_output(self._card, "its output is not a number")
        self._low, self._high = min(self._low, low), max(self._high, high)
        logits = slab.logits[:count]
        chances = logits.sigmoid() if self._card.output == "sigmoid" else logits.softmax(0)
        if len(slab.logits) > count:
            chances = torch.cat([chances, slab.logits[count:]])
        if self._grid.is_base:
            self._draw(chances, slab.k, (slab.j, slab.i))
            return
        self._resampled(slab, chances)

    def check(self) -> None:
        """Refuse an output that is one number everywhere: weights that are not there, or an empty network."""
        if self._low == self._high:
            raise bad_output(self._card, f"its output is {self._low:g} everywhere")

    def doubt(self) -> float | None:
        """Return the mean uncertainty of what was found, 0 .. 1; None without uncertainty or labels."""
        return self._doubt / self._found if self._uncertainty is not None and self._found else None

    def labels(self) -> LabelArray:
        """Return the labels on the image's grid."""
        return self._grid.to_source(self._labels)

    def probability(self) -> FloatArray | None:
        """Return the probability of anything but background, on the image's grid."""
        return None if self._probability is None else self._grid.to_source(self._probability)

    def uncertainty(self) -> FloatArray | None:
        """Return the entropy, or the spread over flips, 0 .. 1, on the image's grid."""
        return None if self._uncertainty is None else self._grid.to_source(self._uncertainty)

    def _resampled(self, slab: Slab, chances: torch.Tensor) -> None:
        """Bring a slab onto the image's rows and columns, then draw the slices that lie in it."""
        import torch

        corner = []
        for axis, low in ((1, slab.j), (2, slab.i)):
            places, n = self._places[axis], chances.shape[axis + 1]
            first, stop = (int(np.searchsorted(places, edge)) for edge in (low - 0.5, low + n - 0.5))
            chances = along(chances, axis + 1, taps(places[first:stop] - low, n))
            corner.append(first)
        places, k = self._places[0], slab.k
        if self._last is None:
            self._next = int(np.searchsorted(places, k - 0.5))
        else:
            chances, k = torch.cat([self._last, chances], dim=1), k - 1
        end = k + chances.shape[1] - 1
        stop = int(np.searchsorted(places, end + 0.5 if slab.ends else end, side="left" if slab.ends else "right"))
        for first in range(self._next, stop, _SLICES):
            here = places[first : min(first + _SLICES, stop)] - k
            self._draw(along(chances, 1, taps(here, chances.shape[1])), first, (corner[0], corner[1]))
        self._next = max(self._next, stop)
        self._last = None if slab.ends else chances[:, -1:]

    def _draw(self, chances: torch.Tensor, k: int, corner: tuple[int, int]) -> None:
        """Write what probabilities (outputs, k, j, i) say into the image's slices from `k` on."""
        if 0 in chances.shape:
            return
        spread = chances[output_count(self._card) :]
        chances = chances[: output_count(self._card)]
        _, nk, nj, ni = chances.shape
        where = (slice(k, k + nk), slice(corner[0], corner[0] + nj), slice(corner[1], corner[1] + ni))
        best, channel = chances.max(0)
        labels = self._values[channel.cpu().numpy()]
        if self._card.output == "sigmoid":
            labels[(best <= 0.5).cpu().numpy()] = 0
        self._labels[where] = labels
        if self._probability is not None:
            found = best if self._card.output == "sigmoid" else 1 - chances[0]
            self._probability[where] = found.cpu().numpy()
        if self._uncertainty is not None:
            doubt = (spread[0] if len(spread) else self._entropy(chances)).cpu().numpy()
            self._uncertainty[where] = doubt
            self._doubt += float(doubt[labels > 0].sum(dtype=np.float64))
            self._found += int((labels > 0).sum())

    def _entropy(self, chances: torch.Tensor) -> torch.Tensor:
        """Return the entropy over its largest possible value."""
        import torch

        if self._card.output == "sigmoid":
            both: torch.Tensor = torch.special.entr(chances) + torch.special.entr(1 - chances)
            return both.amax(0) / math.log(2)
        one: torch.Tensor = torch.special.entr(chances)
        return one.sum(0) / math.log(max(2, len(chances)))
