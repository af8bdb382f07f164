"""Cut a plane out of a volume at the resolution of the screen."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkImagingCore import vtkImageReslice

from medviewer.core.geometry import Points
from medviewer.render.vtk_image import share_array, touch

Interpolation = Literal["nearest", "linear"]
Rect = tuple[int, int, int, int]
_MODES: dict[Interpolation, int] = {"nearest": 0, "linear": 1}


class PlaneSampler:
    """Samples one array (k, j, i), whose memory it shares, on any affine plane.

    Parameters
    ----------
    array : numeric, shape (k, j, i), or (k, j, i, 3) for colours
    interpolation : "nearest" or "linear"
        Within the plane and, where the plane does not follow the grid, through it.
    """

    def __init__(self, array: npt.NDArray[Any], interpolation: Interpolation) -> None:
        self.array = array
        self._image = share_array(array)
        self._matrix = vtkMatrix4x4()
        self._reslice = reslice = vtkImageReslice()
        reslice.SetInputData(self._image)
        reslice.SetOutputDimensionality(2)
        reslice.SetResliceAxes(self._matrix)
        reslice.SetOutputSpacing(1.0, 1.0, 1.0)
        reslice.SetOutputOrigin(0.0, 0.0, 0.0)
        reslice.SetBorder(True)
        low = np.finfo(array.dtype).min if array.dtype.kind == "f" else np.iinfo(array.dtype).min
        reslice.SetBackgroundLevel(float(low))
        self.interpolation = interpolation

    @property
    def interpolation(self) -> Interpolation:
        """How values between voxels are made."""
        return self._interpolation

    @interpolation.setter
    def interpolation(self, interpolation: Interpolation) -> None:
        self._interpolation: Interpolation = interpolation
        self._reslice.SetInterpolationMode(_MODES[interpolation])

    def touch(self) -> None:
        """Voxels have changed."""
        touch(self._image)

    def sample(self, pixel_to_index: Points, rect: Rect) -> npt.NDArray[Any]:
        """Return the values of a rectangle of pixels.

        Parameters
        ----------
        pixel_to_index : 4x4
            From (column, row, 0, 1) to the continuous index (i, j, k).
        rect : (x0, y0, x1, y1)
            Half-open, device pixels.

        Returns
        -------
        array of the input's dtype, shape (y1 - y0, x1 - x0), with 3 more for colours
            Lowest value of the dtype outside the grid. Overwritten by the next call.
        """
        x0, y0, x1, y1 = rect
        self._matrix.DeepCopy(tuple(float(v) for v in pixel_to_index.ravel()))
        self._reslice.SetOutputExtent(x0, x1 - 1, y0, y1 - 1, 0, 0)
        self._reslice.Update()
        scalars = self._reslice.GetOutput().GetPointData().GetScalars()
        flat: npt.NDArray[Any] = vtk_to_numpy(scalars)  # type: ignore[no-untyped-call]  # VTK ships no types for it
        return flat.reshape(y1 - y0, x1 - x0, *self.array.shape[3:])
