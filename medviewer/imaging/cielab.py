"""CIELab to sRGB, with the white point D65 that DICOM toolkits use for display colours."""

from __future__ import annotations

import numpy as np

_WHITE = (0.95047, 1.0, 1.08883)
_XYZ_TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def lab_to_rgb(lightness: float, a: float, b: float) -> tuple[int, int, int]:
    """Return sRGB 0..255 of a colour, clipped to what can be shown.

    Parameters
    ----------
    lightness : float
        L*, 0..100.
    a, b : float
        a* and b*, -128..127.
    """
    y = (lightness + 16) / 116
    cubed = np.array([y + a / 500, y, y - b / 200])
    linear = np.where(cubed > 6 / 29, cubed**3, 3 * (6 / 29) ** 2 * (cubed - 4 / 29)) * _WHITE
    rgb = np.clip(_XYZ_TO_RGB @ linear, 0.0, 1.0)
    shown = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(255 * value)) for value in shown)
    return red, green, blue
