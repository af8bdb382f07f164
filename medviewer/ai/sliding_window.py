"""A network over a volume in windows that overlap, slab by slab, so that no whole volume of outputs is ever held.

Windows lie where MONAI's and nnU-Net's would, weighted by the same Gaussian; one that does not touch the region asked
for is left out, which changes nothing inside that region.

References
----------
Isensee et al., nnU-Net, Nature Methods 2021 (Gaussian weighting). MONAI, ``sliding_window_inference``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Kji = tuple[int, int, int]
#: From windows (n, c, k, j, i) to logits (n, outputs, k, j, i).
Forward = Callable[["torch.Tensor"], "torch.Tensor"]

#: Share of a window that the next one covers again.
OVERLAP = 0.25
#: Standard deviation of the weight, in windows; and its least value.
_SIGMA = 0.125
_LEAST = 1e-3
#: Slices in a slab at most.
_SLICES = 16


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows lie on an image.

    Attributes
    ----------
    shape : (k, j, i)
        Of the image.
    window : (k, j, i)
    pad : ((before, after), …)
        Voxels added around an image that is smaller than a window.
    starts : sequence of (k, j, i)
        First voxel of every window on the padded image, sorted.
    total : int
        How many there would be without a region.
    """

    shape: Kji
    window: Kji
    pad: tuple[tuple[int, int], ...]
    starts: tuple[Kji, ...]
    total: int

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns (j, i) of the padded image that the windows cover."""
        ends = [(min(s[a] for s in self.starts), max(s[a] for s in self.starts) + self.window[a]) for a in (1, 2)]
        return slice(*ends[0]), slice(*ends[1])


def plan_windows(shape: Sequence[int], window: Sequence[int], overlap: float, inside: Mask | None = None) -> Windows:
    """Return the windows over an image.

    Parameters
    ----------
    shape : (k, j, i)
    window : (k, j, i)
        Voxels; along an axis where the image is smaller it is padded.
    overlap : float
        0 .. 0.9.
    inside : bool, shape (k, j, i), optional
        Windows that do not touch it are left out.
    """
    pad = tuple(((max(0, w - n)) // 2, max(0, w - n) - max(0, w - n) // 2) for n, w in zip(shape, window, strict=True))
    padded = [n + sum(p) for n, p in zip(shape, pad, strict=True)]
    lines = [_starts(n, w, overlap) for n, w in zip(padded, window, strict=True)]
    every = [(k, j, i) for k in lines[0] for j in lines[1] for i in lines[2]]
    chosen = every
    if inside is not None:
        if any(sum(p) for p in pad):
            inside = np.pad(inside, pad)
        chosen = [s for s in every if inside[tuple(slice(a, a + w) for a, w in zip(s, window, strict=True))].any()]
    size, grid = (int(n) for n in window), (int(n) for n in shape)
    return Windows(_kji(grid), _kji(size), pad, tuple(chosen), len(every))


def _kji(values: Iterator[int]) -> Kji:
    k, j, i = values
    return (k, j, i)


def _starts(n: int, window: int, overlap: float) -> list[int]:
    step = max(1, int(window * (1 - overlap)))
    return sorted({min(start, n - window) for start in range(0, max(1, n - window + step), step)})


def gaussian(window: Sequence[int]) -> FloatArray:
    """Return the weight (k, j, i) of the voxels of a window: most in its middle, where a network sees most around."""
    weight = np.ones(1, np.float32)
    for n in window:
        place = np.arange(n, dtype=np.float32) - (n - 1) / 2
        weight = weight[..., None] * np.exp(-0.5 * (place / max(_SIGMA * n, 1e-6)) ** 2)
    result: FloatArray = np.maximum(weight[0], _LEAST).astype(np.float32)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """Finished logits of some slices.

    Attributes
    ----------
    k : int
        First slice, on the image.
    j, i : int
        First row and column.
    logits : float32 tensor, shape (outputs, k, j, i)
        On the device.
    ends : bool
        Whether no window covers the slice that follows.
    """

    k: int
    j: int
    i: int
    logits: torch.Tensor
    ends: bool


def slide(
    ctx: JobContext,
    forward: Forward,
    image: FloatArray,
    windows: Windows,
    *,
    device: str = "cpu",
    batch: int = 1,
    padding: float | None = None,
    outside: float | Sequence[float] = 0.0,
    weight: FloatArray | None = None,
) -> Iterator[Slab]:
    """Run a network over the windows; yield slices as soon as no later window can change them.

    Parameters
    ----------
    ctx : JobContext
        Progress and cancel after every batch of windows.
    forward : callable
        Windows (n, c, k, j, i) float32 on `device` to logits (n, outputs, k, j, i).
    image : float32, shape (c, k, j, i)
        As the network wants it.
    windows : Windows
        At least one.
    device : str
    batch : int
        Windows at a time.
    padding : float, optional
        Value around an image smaller than a window; default is the smallest of each channel.
    outside : float or sequence of float
        Logits of one voxel where no window was; zero by default.
    weight : float32, shape (k, j, i), optional
        Of the voxels of a window; default is `gaussian`.
    """
    import torch

    source = torch.from_numpy(_padded(image, windows, padding))
    weights = torch.from_numpy(gaussian(windows.window) if weight is None else weight).to(device)
    sums = _Sums(windows, weights, torch.tensor(outside, dtype=torch.float32, device=device))
    done, starts = 0, windows.starts
    for layer in sorted({start[0] for start in starts}):
        yield from sums.finished(layer)
        here = [start for start in starts if start[0] == layer]
        for n in range(0, len(here), batch):
            ctx.progress(done / len(starts), f"Window {done + 1} of {len(starts)}")
            group = here[n : n + batch]
            parts = [source[(slice(None), *_part(start, windows.window))] for start in group]
            logits = forward(torch.stack(parts).to(device, non_blocking=True))
            for start, values in zip(group, logits, strict=True):
                sums.add(start, values)
            done += len(group)
    yield from sums.finished(None)
    ctx.progress(1.0, f"{done} windows")


def sliding_window(
    ctx: JobContext,
    forward: Forward,
    image: FloatArray,
    window: Sequence[int],
    *,
    overlap: float = OVERLAP,
    inside: Mask | None = None,
    outside: float = 0.0,
    device: str = "cpu",
    batch: int = 1,
) -> FloatArray:
    """Return the logits (outputs, k, j, i) of a whole image; see `slide`.

    Parameters
    ----------
    image : float32, shape (c, k, j, i)
    window : (k, j, i)
    inside : bool, shape (k, j, i), optional
        Only windows that touch it are computed.
    outside : float
        What stands where no window was computed.
    """
    windows = plan_windows(image.shape[1:], window, overlap, inside)
    result: FloatArray | None = None
    if not windows.starts:
        raise ValueError("the region is empty")
    for slab in slide(ctx, forward, image, windows, device=device, batch=batch, outside=outside):
        values = slab.logits.float().cpu().numpy()
        if result is None:
            result = np.full((len(values), *image.shape[1:]), outside, np.float32)
        _, nk, nj, ni = values.shape
        result[:, slab.k : slab.k + nk, slab.j : slab.j + nj, slab.i : slab.i + ni] = values
    assert result is not None
    return result


class _Sums:
    """Weighted sums of as many slices as a window has; a slice is reused once it is finished."""

    def __init__(self, windows: Windows, weight: torch.Tensor, outside: torch.Tensor) -> None:
        self._windows = windows
        self._weight = weight
        self._outside = outside
        self._box = windows.box
        self._values: torch.Tensor | None = None
        self._weights: torch.Tensor | None = None
        self._from: int | None = None
        self._to = 0

    def add(self, start: Kji, logits: torch.Tensor) -> None:
        """Add a window's logits (outputs, k, j, i)."""
        import torch

        depth = self._windows.window[0]
        if self._values is None or self._weights is None:
            shape = [part.stop - part.start for part in self._box]
            self._values = torch.zeros((len(logits), depth, *shape), dtype=torch.float32, device=self._weight.device)
            self._weights = torch.zeros((depth, *shape), dtype=torch.float32, device=self._weight.device)
        self._from = start[0] if self._from is None else self._from
        self._to = start[0] + depth
        rows, columns = (
            slice(s - part.start, s - part.start + w)
            for s, part, w in zip(start[1:], self._box, self._windows.window[1:], strict=True)
        )
        first = start[0] % depth
        for ring, own in (
            (slice(first, depth), slice(0, depth - first)),
            (slice(0, first), slice(depth - first, depth)),
        ):
            self._values[:, ring, rows, columns].addcmul_(logits[:, own].float(), self._weight[own])
            self._weights[ring, rows, columns].add_(self._weight[own])

    def finished(self, layer: int | None) -> Iterator[Slab]:
        """Yield what windows from slice `layer` on (None: there are none) leave as it is."""
        if self._values is None or self._weights is None or self._from is None:
            return
        depth = self._windows.window[0]
        stop = self._to if layer is None else min(layer, self._to)
        ends = layer is None or layer > self._to
        k = self._from
        while k < stop:
            # Up to where the ring turns over; few at a time, because each step on the way makes a copy.
            n = min(stop - k, depth - k % depth, _SLICES)
            ring = slice(k % depth, k % depth + n)
            values, weights = self._values[:, ring], self._weights[ring]
            logits = values / weights.clamp(min=1e-9)
            if len(self._windows.starts) < self._windows.total:
                logits += (weights == 0) * self._outside.view(-1, 1, 1, 1)
            yield from self._cropped(k, logits, ends and k + n == stop)
            values.zero_()
            weights.zero_()
            k += n
        self._from = None if ends else stop

    def _cropped(self, k: int, values: torch.Tensor, ends: bool) -> Iterator[Slab]:
        """Yield slices without the padding."""
        lows = [k, self._box[0].start, self._box[1].start]
        parts, places = [], []
        for axis, low in enumerate(lows):
            before, n = self._windows.pad[axis][0], self._windows.shape[axis]
            start, stop = max(low, before), min(low + values.shape[axis + 1], before + n)
            parts.append(slice(start - low, stop - low))
            places.append(start - before)
            if stop <= start:
                return
        ends = ends or places[0] + parts[0].stop - parts[0].start == self._windows.shape[0]
        yield Slab(places[0], places[1], places[2], values[(slice(None), *parts)], ends)


def _part(start: Kji, window: Kji) -> tuple[slice, slice, slice]:
    k, j, i = (slice(s, s + w) for s, w in zip(start, window, strict=True))
    return (k, j, i)


def _padded(image: FloatArray, windows: Windows, padding: float | None) -> FloatArray:
    if not any(sum(p) for p in windows.pad):
        return np.ascontiguousarray(image)
    channels = [
        np.pad(channel, windows.pad, constant_values=channel.min() if padding is None else padding) for channel in image
    ]
    result: FloatArray = np.stack(channels)
    return result
