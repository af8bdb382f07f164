"""Voxels from one grid onto another."""

from __future__ import annotations

from typing import Literal

import numpy as np

from medviewer.core.geometry import Geometry, Points
from medviewer.core.transform import AffineTransform
from medviewer.core.volume import VoxelArray

Interpolation = Literal["linear", "nearest"]

#: Grids and transforms that differ by less than this at every corner, mm, are the same.
_SAME_MM = 1e-4


def resample_onto(
    array: VoxelArray,
    source: Geometry,
    target: Geometry,
    transform: AffineTransform | None = None,
    interpolation: Interpolation = "linear",
    default: float = 0.0,
) -> VoxelArray:
    """Return an image on another grid.

    Any pair of grids is allowed, sheared and left-handed ones too: the whole way from target index to source index is
    one affine map.

    Parameters
    ----------
    array : shape (k, j, i) of `source`
        Never written to.
    source, target : Geometry
        LPS mm.
    transform : AffineTransform, optional
        Maps a point of the target (fixed) image to the point of the source (moving) image, LPS mm.
    interpolation : "linear" or "nearest"
        Linear for images (integers are rounded), nearest for labels and masks.
    default : float
        Value of target voxels whose centre lies outside the source's voxels.

    Returns
    -------
    array of shape (k, j, i) of `target`, dtype of `array`
        Equal grids without a transform give `array` itself.
    """
    if array.shape != source.shape:
        raise ValueError(f"array {array.shape} does not fit the grid {source.shape}")
    if transform is None and source.is_close(target, _SAME_MM):
        return array
    # target (i, j, k) -> LPS -> LPS of the source -> source (i, j, k)
    to_source = np.eye(4) if transform is None else transform.array
    matrix = source.lps_to_index_matrix @ to_source @ target.index_to_lps_matrix
    whole = _whole_voxel_shift(matrix)
    if whole is not None:
        return _shifted(array, whole, target.shape, default)
    return _affine(array, matrix, target.shape, interpolation, default)


def _whole_voxel_shift(matrix: Points) -> tuple[int, int, int] | None:
    """Return the shift (k, j, i) when the map is a whole number of voxels along the same axes."""
    if np.abs(matrix[:3, :3] - np.eye(3)).max() > 1e-7:
        return None
    shift = np.round(matrix[:3, 3])
    if np.abs(shift - matrix[:3, 3]).max() > 1e-4:
        return None
    i, j, k = (int(v) for v in shift)
    return (k, j, i)


def _shifted(
    array: VoxelArray, shift_kji: tuple[int, int, int], shape: tuple[int, int, int], default: float
) -> VoxelArray:
    """Crop or pad: target[n] = array[n + shift]."""
    result = np.full(shape, default, dtype=array.dtype)
    into, out_of = [], []
    for shift, n_target, n_source in zip(shift_kji, shape, array.shape, strict=True):
        start, stop = max(0, -shift), min(n_target, n_source - shift)
        if stop <= start:
            return result
        into.append(slice(start, stop))
        out_of.append(slice(start + shift, stop + shift))
    result[tuple(into)] = array[tuple(out_of)]
    return result


def _affine(
    array: VoxelArray,
    matrix: Points,
    shape: tuple[int, int, int],
    interpolation: Interpolation,
    default: float,
) -> VoxelArray:
    """Resample by a 4x4 map from target (i, j, k) to source (i, j, k)."""
    import SimpleITK as sitk

    is_bool = array.dtype == np.bool_
    voxels = array.view(np.uint8) if is_bool else array
    if voxels.dtype == np.float16:
        voxels = voxels.astype(np.float32)
    # Both images are given in index space (unit spacing, no direction), so that shear is part of the transform and
    # SimpleITK never sees a direction that it cannot represent.
    image = sitk.GetImageFromArray(voxels)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(tuple(float(v) for v in matrix[:3, :3].ravel()))
    transform.SetTranslation(tuple(float(v) for v in matrix[:3, 3]))
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize((shape[2], shape[1], shape[0]))
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear if interpolation == "linear" else sitk.sitkNearestNeighbor)
    resampler.SetDefaultPixelValue(float(default))
    result: VoxelArray = sitk.GetArrayFromImage(resampler.Execute(image))
    return result.view(np.bool_) if is_bool else result.astype(array.dtype, copy=False)
