"""The live wire: the cheapest path along edges from an anchor to wherever the pointer is.

E. N. Mortensen and W. A. Barrett, Intelligent scissors for image composition, SIGGRAPH 1995. The cost of a pixel falls
with the strength of the edge through it, measured against what is usual in the window.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.core.volume import VoxelArray

Cost = npt.NDArray[np.float64]
Place = tuple[int, int]

#: Cost of a pixel on the strongest edge; that of a flat one is 1 more. Without it, a detour along an edge were free.
_LEAST = 0.05
#: An edge so many times as strong as the middle of all counts half, and the strongest no more than twice that: the
#: skin or a clip of metal must not draw the wire away from the border of an organ.
_HALF = 4.0


def edge_cost(values: VoxelArray, spacing: tuple[float, float], sigma_mm: float = 0.0) -> Cost:
    """Return the cost of going through each pixel of a slice, above 0 and at most about 1.

    Parameters
    ----------
    values : array (rows, columns)
        Of the image.
    spacing : (float, float)
        mm between rows and between columns.
    sigma_mm : float
        Standard deviation of the Gaussian that the gradient is taken with; at least one pixel.
    """
    from scipy.ndimage import gaussian_gradient_magnitude

    smallest = min(spacing)
    # In steps of the smaller spacing, so that an edge is as strong in both directions.
    sigma = [max(sigma_mm, smallest) / step for step in spacing]
    strength = gaussian_gradient_magnitude(np.asarray(values, dtype=np.float32), sigma, mode="nearest")
    half = max(_HALF * float(np.median(strength)), 0.05 * float(strength.max()), 1e-6)
    part = (strength / (strength + half)).astype(np.float64)
    cost: Cost = _LEAST + (1.0 - part) ** 2
    return cost


class LiveWire:
    """Cheapest paths from one pixel to all others of a window; asking for one costs nothing but its own length.

    Parameters
    ----------
    cost : float array (rows, columns)
        Above 0; of the window.
    anchor : (row, column)
        Where the paths start.
    spacing : (float, float)
        mm between rows and between columns.
    """

    def __init__(self, cost: Cost, anchor: Place, spacing: tuple[float, float]) -> None:
        from skimage.graph import MCP_Geometric

        self.anchor = anchor
        self._shape = cost.shape
        self._paths = MCP_Geometric(cost, sampling=tuple(float(s) for s in spacing))
        self._paths.find_costs([anchor])

    def path(self, end: Place) -> npt.NDArray[np.int64]:
        """Return the pixels (n, 2) of the cheapest path from the anchor to `end`, both among them.

        An end outside of the window is moved to its nearest pixel.
        """
        inside = tuple(int(min(max(p, 0), n - 1)) for p, n in zip(end, self._shape, strict=True))
        pixels: npt.NDArray[np.int64] = np.array(self._paths.traceback(inside), dtype=np.int64).reshape(-1, 2)
        return pixels
