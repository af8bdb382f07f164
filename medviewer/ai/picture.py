"""A picture as an image classifier sees it. Training and inference call the same function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.intensity import normalise

FloatArray = npt.NDArray[np.float32]


def network_picture(picture: npt.NDArray[Any], size: tuple[int, int], scheme: Mapping[str, Any]) -> FloatArray:
    """Return a picture, upright, at the size and with the values of a network.

    Both sides are scaled on their own: the pictures that classifiers are trained on were squeezed to squares too.

    Parameters
    ----------
    picture : array (rows, columns)
        Grey values, bright is dense.
    size : (rows, columns)
    scheme : mapping
        Of `medviewer.ai.intensity.normalise`; applied before scaling.
    """
    import torch
    from torch.nn import functional

    values = torch.from_numpy(normalise(picture, scheme))[None, None]
    scaled: FloatArray = functional.interpolate(values, size, mode="bilinear", antialias=True)[0, 0].numpy()
    return scaled
