"""A letter F in the patient, on any grid: what is drawn of it must not depend on how it is stored."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.view_state import WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace

#: All ways to store an axis-aligned grid: three index axes, each along a world axis, forwards or backwards.
SIGNED_AXES = [(p, s) for p in permutations(range(3)) for s in product((1, -1), repeat=3)]


def signed_direction(axes: tuple[int, ...], signs: tuple[int, ...]) -> tuple[float, ...]:
    matrix = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        matrix[axis, column] = sign
    return tuple(matrix.ravel().tolist())


def letter_f(lps: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    """Values of an F in the patient, its foot to the feet, its arms to the left and, shorter, to posterior."""
    x, y, z = np.moveaxis(lps, -1, 0)
    back = (np.abs(x + 20) < 5) & (np.abs(y) < 6) & (np.abs(z) < 30)
    top = (x > -20) & (x < 22) & (np.abs(y) < 6) & (np.abs(z - 25) < 5)
    middle = (x > -20) & (x < 8) & (np.abs(y) < 6) & (np.abs(z) < 5)
    behind = (np.abs(x + 20) < 5) & (y > 0) & (y < 24) & (np.abs(z - 25) < 5)
    body = (x / 42) ** 2 + (y / 36) ** 2 + (z / 44) ** 2 < 1
    return np.where(back | top | middle | behind, 1000, np.where(body, 100, -900)).astype(np.int16)


def grid_around_zero(direction: tuple[float, ...], mm: float = 2.0, half: float = 48.0) -> Geometry:
    """A grid whose middle is the origin of the patient; as many voxels along every axis."""
    count = int(2 * half / mm) + 1
    matrix = np.array(direction).reshape(3, 3)
    origin = -matrix @ np.full(3, (count - 1) / 2 * mm)
    return Geometry((count, count, count), (mm, mm, mm), vec3(origin), direction)


def f_volume(geometry: Geometry) -> Volume:
    i, j, k = np.meshgrid(*(np.arange(n) for n in geometry.size), indexing="ij")
    lps = geometry.index_to_lps(np.stack([i, j, k], axis=-1).transpose(2, 1, 0, 3))
    return Volume(letter_f(lps), geometry, name="Letter F", modality="CT", unit="HU")


def show(volume: Volume) -> Workspace:
    workspace = Workspace()
    workspace.add_volume(volume)
    workspace.view.window = WindowLevel(50.0, 1900.0)
    workspace.view.crosshair_lps = (0.0, 0.0, 0.0)
    workspace.activate(volume.id)
    return workspace
