"""A case on a grid at right angles, for formats that can hold no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.volume import VoxelArray
from medviewer.export.case import Case
from medviewer.imaging.resample import resample_onto
from medviewer.imaging.sitk_image import is_orthonormal


def upright(case: Case) -> Case:
    """Return a case as it is, or, when its grid is sheared (tilted gantry), on an upright grid around it.

    The image is interpolated linearly, masks take the nearest label; a warning of the volume says so.
    """
    source = case.geometry
    if is_orthonormal(source):
        return case
    volume, target = case.volume, upright_grid(source)
    outside = volume.padding if volume.padding is not None else float(np.min(volume.array))
    text = "Written on an upright grid: the sheared slices were shifted by linear interpolation, masks to the nearest."
    moved = replace(
        volume,
        array=resample_onto(volume.array, source, target, default=outside),
        colors=None if volume.colors is None else _colors(volume.colors, source, target),
        geometry=target,
        time=None,
        shutter=None,
        warnings=(*volume.warnings, SeriesWarning("W_UPRIGHT", text)),
    )
    groups = {
        number: resample_onto(labels, source, target, interpolation="nearest") for number, labels in case.groups.items()
    }
    return replace(case, volume=moved, groups=groups)


def upright_grid(geometry: Geometry) -> Geometry:
    """Return the grid at right angles around a sheared one: its slices are the same planes, with room for the shear."""
    i, j, k = geometry.direction_matrix.T
    j = j - (j @ i) * i
    j = j / np.linalg.norm(j)
    normal = np.cross(i, j)
    normal = normal * np.sign(normal @ k)
    spacing = np.array(geometry.spacing) * [1.0, 1.0, normal @ k]
    axes = np.column_stack([i, j, normal])
    # Where the corners lie, in voxels of the new grid from the first voxel of the old one.
    corners = (geometry.corners_lps - geometry.origin) @ axes / spacing
    first, last = np.floor(corners.min(axis=0) + 1e-6), np.ceil(corners.max(axis=0) - 1e-6)
    size = (last - first + 1).astype(int)
    origin = vec3(np.array(geometry.origin) + axes @ (first * spacing))
    return Geometry((int(size[0]), int(size[1]), int(size[2])), vec3(spacing), origin, tuple(axes.ravel()))


def _colors(colors: VoxelArray, source: Geometry, target: Geometry) -> VoxelArray:
    channels = [resample_onto(np.ascontiguousarray(colors[..., n]), source, target) for n in range(3)]
    return np.stack(channels, axis=-1)
