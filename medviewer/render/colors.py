"""From values to pixels: window tables, colour maps, blending.

A pixel is a uint32 ``0xffRRGGBB``: Qt's RGB32, so a finished picture is shown without another pass over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.view_state import WindowLevel

Pixels = npt.NDArray[np.uint32]
Gray = npt.NDArray[np.uint8]
OPAQUE = 0xFF000000
_RED_BLUE = np.uint32(0x00FF00FF)
_GREEN = np.uint32(0x0000FF00)


def pack(rgb: tuple[int, int, int]) -> int:
    """Return a colour as an opaque pixel."""
    red, green, blue = rgb
    return OPAQUE | red << 16 | green << 8 | blue


def to_rgb(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Return pixels as uint8 (rows, columns, 3) in the order red, green, blue."""
    channels = [(pixels >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)]
    return np.stack(channels, axis=-1)


@lru_cache(maxsize=32)
def _window_table(dtype: str, lower: float, upper: float) -> Gray:
    """Grey of every value of an 8 or 16 bit integer, indexed by its bits."""
    kind = np.dtype(dtype)
    bits = np.arange(1 << (8 * kind.itemsize), dtype=kind.str.replace("i", "u"))
    table = _grey(bits.view(kind).astype(np.float32), lower, upper)
    table.setflags(write=False)
    return table


def _grey(values: npt.NDArray[np.float32], lower: float, upper: float) -> Gray:
    with np.errstate(over="ignore"):  # far outside the window is black or white
        scaled = (values - np.float32(lower)) * np.float32(255.0 / (upper - lower))
    np.nan_to_num(scaled, copy=False, nan=0.0)
    grey: Gray = np.clip(scaled + np.float32(0.5), 0, 255).astype(np.uint8)
    return grey


def window(values: npt.NDArray[Any], level: WindowLevel) -> Gray:
    """Return grey 0..255 of values through a window; NaN is black."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        table = _window_table(values.dtype.str, level.lower, level.upper)
        bits = values.view(f"u{values.dtype.itemsize}")
        return table.take(bits, mode="clip")
    return _grey(values.astype(np.float32), level.lower, level.upper)


def from_grey(grey: Gray) -> Pixels:
    """Return greys 0..255 as pixels."""
    pixels: Pixels = grey.astype(np.uint32)
    pixels *= np.uint32(0x00010101)
    pixels |= np.uint32(OPAQUE)
    return pixels


def from_rgb(rgb: npt.NDArray[np.uint8]) -> Pixels:
    """Return red, green and blue (rows, columns, 3) as pixels."""
    pixels: Pixels = rgb[..., 0].astype(np.uint32)
    for channel in (1, 2):
        pixels <<= np.uint32(8)
        pixels |= rgb[..., channel]
    pixels |= np.uint32(OPAQUE)
    return pixels


class BlendTable:
    """Colours and opacities by index, ready to be laid over pixels.

    Parameters
    ----------
    colors : sequence of (red, green, blue)
    opacities : sequence of float, 0..1
    """

    def __init__(self, colors: Sequence[tuple[int, int, int]], opacities: Sequence[float]) -> None:
        color = np.array([pack(c) for c in colors], dtype=np.uint32)
        alpha = np.array([round(256 * min(1.0, max(0.0, o))) for o in opacities], dtype=np.uint32)
        self._keep = np.uint32(256) - alpha
        # Red and blue share one multiplication: each has 16 bits to itself.
        self._red_blue = (color & _RED_BLUE) * alpha
        self._green = ((color & _GREEN) >> np.uint32(8)) * alpha
        self._over_grey: Pixels | None = None

    def over_grey(self, grey: Gray, index: npt.NDArray[Any]) -> Pixels:
        """Return the same as `over` for a base that is all grey: one look-up instead of arithmetic."""
        if self._over_grey is None:
            greys = np.broadcast_to(np.arange(256, dtype=np.uint8), (self._keep.size, 256))
            rows = np.broadcast_to(np.arange(self._keep.size)[:, np.newaxis], greys.shape)
            self._over_grey = self.over(from_grey(greys), rows).ravel()
        at = index.astype(np.intp)
        at <<= 8
        at |= grey
        return self._over_grey.take(at, mode="clip")

    def over(self, base: Pixels, index: npt.NDArray[Any]) -> Pixels:
        """Return `base` with the colour of each index laid over it; both of one shape."""
        at = index.astype(np.intp)
        keep = self._keep.take(at, mode="clip")
        red_blue = ((base & _RED_BLUE) * keep + self._red_blue.take(at, mode="clip")) >> np.uint32(8) & _RED_BLUE
        green = ((base & _GREEN) >> np.uint32(8)) * keep + self._green.take(at, mode="clip") & _GREEN
        blended: Pixels = red_blue | green | np.uint32(OPAQUE)
        return blended


@lru_cache(maxsize=8)
def fusion_table(opacity: float) -> BlendTable:
    """Return a hot-metal map for a second image: black lets the first one through, white covers at `opacity`."""
    t = np.linspace(0.0, 1.0, 256)
    rgb = np.stack([np.clip(t * 3, 0, 1), np.clip(t * 3 - 1, 0, 1), np.clip(t * 3 - 2, 0, 1)], axis=1)
    colors = [(int(r), int(g), int(b)) for r, g, b in np.round(rgb * 255)]
    return BlendTable(colors, [opacity * min(1.0, 4 * float(x)) for x in t])
