"""Stored colours -> 8-bit RGB, and its luminance.

References
----------
DICOM PS3.3 C.7.6.3.1.2 (Photometric Interpretation), C.7.6.3.1.3 (Planar Configuration); ITU-R BT.601 (luminance).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.core.volume import ColorArray

if TYPE_CHECKING:
    from medviewer.io.pixel_format import PixelFormat

#: Window (center, width) that shows 8-bit luminance as it is.
FULL_WINDOW = (128.0, 256.0)
_THOUSANDTHS = (299, 587, 114)


def stored_to_rgb(stored: npt.NDArray[Any], form: PixelFormat) -> ColorArray:
    """Return a frame as it lies in an uncompressed file, a flat array, as RGB of shape (rows, columns, 3).

    Samples of more than 8 bits keep their highest 8.
    """
    if form.palette is not None:
        return form.palette(_counting_bits(stored, form).reshape(form.rows, form.columns))
    if form.photometric == "YBR_FULL_422":
        # Two pixels are stored as Y Y Cb Cr.
        pairs = stored.reshape(-1, 4)
        full = np.empty((len(pairs), 2, 3), stored.dtype)
        full[:, :, 0] = pairs[:, :2]
        full[:, :, 1:] = pairs[:, None, 2:]
        samples = full.reshape(form.rows, form.columns, 3)
    elif form.planar:
        samples = np.moveaxis(stored.reshape(3, form.rows, form.columns), 0, -1)
    else:
        samples = stored.reshape(form.rows, form.columns, 3)
    if form.photometric.startswith("YBR"):
        from pydicom.pixels.processing import convert_color_space

        samples = convert_color_space(samples, "YBR_FULL", "RGB")
    return to_8_bits(samples, form)


def to_8_bits(samples: npt.NDArray[Any], form: PixelFormat) -> ColorArray:
    """Return unsigned samples of BitsStored bits with 8 bits each: the highest, or stretched where there are fewer."""
    samples = _counting_bits(samples, form)
    if form.bits_stored > 8:
        return (samples >> (form.bits_stored - 8)).astype(np.uint8)
    if form.bits_stored < 8:
        return (samples.astype(np.uint16) * 255 // ((1 << form.bits_stored) - 1)).astype(np.uint8)
    return np.ascontiguousarray(samples, np.uint8)


def _counting_bits(samples: npt.NDArray[Any], form: PixelFormat) -> npt.NDArray[Any]:
    """Drop the bits above BitsStored."""
    if form.bits_stored == form.bits_allocated or form.signed:
        return samples
    counting: npt.NDArray[Any] = samples & samples.dtype.type((1 << form.bits_stored) - 1)
    return counting


def luminance(colors: ColorArray) -> npt.NDArray[np.int16]:
    """Return the luminance, 0 to 255, of RGB colours of shape (..., 3)."""
    total = np.full(colors.shape[:-1], 500, np.int32)
    for n, weight in enumerate(_THOUSANDTHS):
        total += colors[..., n].astype(np.int32) * weight
    total //= 1000
    return total.astype(np.int16)
