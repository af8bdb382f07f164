"""What a run of a model will take, before it starts: from what was measured here, else from the card. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medviewer.ai.card import ModelCard
from medviewer.ai.model_grid import ModelGrid
from medviewer.ai.sliding_window import OVERLAP, Kji, plan_windows
from medviewer.ai.speeds import key_of, remembered
from medviewer.core.geometry import Geometry

#: Seconds a million voxels of windows take where nothing was measured.
_GUESS = 3.0
#: A window has about so many feature maps of the first stage in memory at once.
_MAPS = 8


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run will take.

    Attributes
    ----------
    device : str
    windows : int
        At most: those outside the body are left out.
    memory : int
        Bytes, roughly.
    seconds : float
        Roughly.
    measured : bool
        Whether the seconds come from this machine.
    """

    device: str
    windows: int
    memory: int
    seconds: float
    measured: bool

    @property
    def text(self) -> str:
        """One line for people."""
        about = "about" if self.measured else "perhaps"
        where = "the CPU" if self.device == "cpu" else self.device
        return f"{self.windows} windows on {where}, {about} {_time(self.seconds)}, {self.memory / 1e9:.1f} GB"


def plan_run(card: ModelCard, geometry: Geometry, device: str = "cpu") -> RunPlan:
    """Return what a model will take on an image.

    Parameters
    ----------
    card : ModelCard
    geometry : Geometry
        Of the image.
    device : str
    """
    shape = ModelGrid.of(geometry, card.spacing_mm).geometry.shape
    window = window_of(card, shape)
    share = float(card.settings.get("overlap", OVERLAP))
    windows = plan_windows(shape, window, share).total
    known = remembered(key_of(card.weights_sha256, window, device)) if card.weights_sha256 else None
    each = known.seconds if known is not None else _GUESS * math.prod(window) / 1e6
    return RunPlan(device, windows, memory_needed(card, shape, window), windows * each, known is not None)


def window_of(card: ModelCard, shape: Sequence[int]) -> Kji:
    """Return the voxels (k, j, i) of one window; a 2-D one is one slice, without one it is the whole image."""
    window = tuple(int(n) for n in card.window) or tuple(shape)
    k, j, i = (1,) * (3 - len(window)) + window
    return (k, j, i)


def smaller_window(card: ModelCard, window: Kji) -> Kji:
    """Return half the window along each axis that its network can take so."""
    strides = card.arguments.get("strides") or [[2] * 3] * max(0, len(card.arguments.get("features", ())) - 1)
    steps = [math.prod(int(s[a]) for s in strides if len(s) == 3) for a in range(3)]
    k, j, i = (n // 2 if n % (2 * step) == 0 and n >= 16 else n for n, step in zip(window, steps, strict=True))
    return (k, j, i)


def memory_needed(card: ModelCard, shape: Sequence[int], window: Kji) -> int:
    """Return roughly how many bytes a run takes beyond the program itself."""
    outputs = 1 + len(card.labels)
    features = int(next(iter(card.arguments.get("features", ())), 32))
    image = 4 * math.prod(shape) * len(card.channels) + 2 * math.prod(shape)
    sums = 4 * (outputs + 1) * window[0] * shape[1] * shape[2]
    return image + 2 * sums + 4 * math.prod(window) * (_MAPS * features + 2 * outputs)


def _time(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
