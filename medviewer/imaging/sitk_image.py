"""Volume <-> sitk.Image; the only place where arrays and SimpleITK images meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medviewer.core.errors import GeometryError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume, VoxelArray

if TYPE_CHECKING:
    import SimpleITK as sitk


def is_orthonormal(geometry: Geometry) -> bool:
    """Whether the axes of a grid are at right angles, as SimpleITK needs them."""
    direction = geometry.direction_matrix
    return bool(np.abs(direction.T @ direction - np.eye(3)).max() <= 1e-6)


def to_sitk(image: Volume | VoxelArray, geometry: Geometry | None = None) -> sitk.Image:
    """Return a SimpleITK image with a copy of the voxels.

    Parameters
    ----------
    image : Volume or array of shape (k, j, i)
        Booleans become uint8.
    geometry : Geometry, optional
        Needed for an array; for a volume its own by default.

    Returns
    -------
    SimpleITK.Image

    Raises
    ------
    GeometryError
        For a sheared grid, which SimpleITK cannot represent; `medviewer.imaging.resample` can.
    """
    import SimpleITK as sitk

    array: VoxelArray = image.array if isinstance(image, Volume) else image
    if geometry is None:
        if not isinstance(image, Volume):
            raise TypeError("an array needs a geometry")
        geometry = image.geometry
    if array.shape != geometry.shape:
        raise ValueError(f"array {array.shape} does not fit the grid {geometry.shape}")
    if not is_orthonormal(geometry):
        raise GeometryError(
            "The slices are sheared (tilted gantry); this step needs a grid at right angles.",
            hint="Resample the image onto an upright grid first.",
            code="E_SHEARED",
        )
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    result = sitk.GetImageFromArray(array.astype(array.dtype.newbyteorder("="), copy=False))
    result.SetSpacing(geometry.spacing)
    result.SetOrigin(geometry.origin)
    result.SetDirection(geometry.direction)
    return result


def from_sitk(image: sitk.Image) -> tuple[VoxelArray, Geometry]:
    """Return a copy of the voxels (k, j, i) and the geometry of a 3-D SimpleITK image with one component.

    Raises
    ------
    ValueError
        For another dimension or more components.
    """
    import SimpleITK as sitk

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError("only 3-D images with one component are volumes")
    geometry = Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    array: VoxelArray = sitk.GetArrayFromImage(image)
    return array, geometry
