"""NumPy arrays as VTK images that share their memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkImageData

from medviewer.core.geometry import Geometry, Vec3
from medviewer.core.volume import Volume


def share_array(array: npt.NDArray[Any], geometry: Geometry | None = None) -> vtkImageData:
    """Return an image that reads the memory of an array.

    Parameters
    ----------
    array : any numeric dtype, shape (k, j, i), or (k, j, i, 3) for colours
        Shared where it is C-contiguous (written voxels are seen after `touch`), copied otherwise. The image keeps
        it alive.
    geometry : Geometry, optional
        LPS mm. Without one the image is in index space: spacing 1, origin 0, no rotation.
    """
    # A view of our own: VTK's buffer must not freeze or thaw the caller's array.
    flat = np.ascontiguousarray(array).reshape(-1, *array.shape[3:])
    scalars = numpy_to_vtk(flat, deep=False)  # type: ignore[no-untyped-call]  # VTK ships no types for it
    image = vtkImageData()
    nk, nj, ni = array.shape[:3]
    image.SetDimensions(ni, nj, nk)
    image.GetPointData().SetScalars(scalars)
    if geometry is not None:
        if geometry.shape != array.shape[:3]:
            raise ValueError(f"array {array.shape} does not fit the grid {geometry.shape}")
        image.SetSpacing(geometry.spacing)
        image.SetOrigin(geometry.origin)
        image.SetDirectionMatrix(geometry.direction)
    return image


def vtk_image(volume: Volume) -> vtkImageData:
    """Return a volume as VTK has it: spacing, origin and direction in LPS mm, voxels shared without a copy."""
    return share_array(volume.array, volume.geometry)


def touch(image: vtkImageData) -> None:
    """Tell VTK that voxels of a shared array have changed, for example because a slice has arrived."""
    image.GetPointData().GetScalars().Modified()
    image.Modified()


def thinning(shape: tuple[int, int, int], spacing: Vec3, most: int) -> tuple[int, int, int]:
    """Return n along each axis such that every n-th voxel makes at most `most` of them, nearly isotropic.

    Parameters
    ----------
    shape : (int, int, int)
        Voxels along each axis.
    spacing : (float, float, float)
        mm, in the same order.
    most : int
        Voxels that may remain.
    """
    steps = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(shape, steps, strict=True)]) > most:
        finest = min((axis for axis in range(3) if steps[axis] < shape[axis]), key=lambda a: spacing[a] * steps[a])
        steps[finest] += 1
    return steps[0], steps[1], steps[2]
