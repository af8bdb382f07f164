"""The grid of an image in the patient: size, spacing, origin, direction.

World is LPS in millimetres (DICOM PS3.3 C.7.6.2.1.1). `Geometry` speaks ITK's (i, j, k); arrays are (k, j, i).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Region

Vec3 = tuple[float, float, float]
Ijk = tuple[int, int, int]
Points = npt.NDArray[np.float64]


def vec3(values: Iterable[float]) -> Vec3:
    """Return three Python floats."""
    x, y, z = (float(v) for v in values)
    return (x, y, z)


@dataclass(frozen=True)
class Geometry:
    """A regular grid in LPS millimetres, as ITK has it.

    Parameters
    ----------
    size : (int, int, int)
        Number of voxels along (i, j, k).
    spacing : (float, float, float)
        Distance in mm between voxel centres along (i, j, k); positive.
    origin : (float, float, float)
        LPS mm of the centre of voxel (0, 0, 0).
    direction : nine floats, row-major 3x3
        Column ``n`` is the LPS unit vector along index axis ``n``; may be left-handed, never singular.
        Columns need not be orthogonal: a tilted gantry is a sheared grid.

    Raises
    ------
    ValueError
        If a value is not finite, a size or spacing is not positive, or the direction is singular.
    """

    size: Ijk
    spacing: Vec3
    origin: Vec3 = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        i, j, k = (int(n) for n in self.size)
        object.__setattr__(self, "size", (i, j, k))
        object.__setattr__(self, "spacing", vec3(self.spacing))
        object.__setattr__(self, "origin", vec3(self.origin))
        object.__setattr__(self, "direction", tuple(float(v) for v in self.direction))
        if len(self.direction) != 9:
            raise ValueError("direction needs nine numbers")
        if min(self.size) < 1:
            raise ValueError(f"size must be positive, got {self.size}")
        if not np.isfinite([*self.spacing, *self.origin, *self.direction]).all():
            raise ValueError("geometry must be finite")
        if min(self.spacing) <= 0:
            raise ValueError(f"spacing must be positive, got {self.spacing}")
        if abs(np.linalg.det(self.direction_matrix)) < 1e-6:
            raise ValueError("direction is singular")

    @property
    def direction_matrix(self) -> Points:
        """3x3 matrix; column ``n`` is the LPS unit vector along index axis ``n``."""
        return np.array(self.direction, dtype=np.float64).reshape(3, 3)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (k, j, i)."""
        i, j, k = self.size
        return (k, j, i)

    @property
    def region(self) -> Region:
        """The whole grid as a region."""
        return Region.whole(self.shape)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in cubic mm."""
        return float(abs(np.linalg.det(self.index_to_lps_matrix[:3, :3])))

    @cached_property
    def index_to_lps_matrix(self) -> Points:
        """4x4 matrix from continuous index (i, j, k) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.direction_matrix * np.array(self.spacing)
        matrix[:3, 3] = self.origin
        matrix.setflags(write=False)
        return matrix

    @cached_property
    def lps_to_index_matrix(self) -> Points:
        """4x4 matrix from LPS mm to continuous index (i, j, k)."""
        matrix: Points = np.asarray(np.linalg.inv(self.index_to_lps_matrix), dtype=np.float64)
        matrix.setflags(write=False)
        return matrix

    def index_to_lps(self, ijk: npt.ArrayLike) -> Points:
        """Map continuous indices (..., 3) in (i, j, k) to LPS mm."""
        points = np.asarray(ijk, dtype=np.float64)
        matrix = self.index_to_lps_matrix
        lps: Points = points @ matrix[:3, :3].T + matrix[:3, 3]
        return lps

    def lps_to_index(self, lps: npt.ArrayLike) -> Points:
        """Map LPS mm (..., 3) to continuous indices in (i, j, k)."""
        points = np.asarray(lps, dtype=np.float64)
        matrix = self.lps_to_index_matrix
        ijk: Points = points @ matrix[:3, :3].T + matrix[:3, 3]
        return ijk

    def voxel_at(self, lps: Vec3) -> tuple[int, int, int] | None:
        """Return the array index (k, j, i) of the voxel that holds a point in LPS mm, or None outside."""
        i, j, k = (int(n) for n in np.floor(self.lps_to_index(lps) + 0.5))
        kji = (k, j, i)
        return kji if self.region.contains(kji) else None

    @property
    def center_lps(self) -> Vec3:
        """LPS mm of the middle of the grid."""
        return vec3(self.index_to_lps([(n - 1) / 2 for n in self.size]))

    @property
    def corners_lps(self) -> Points:
        """LPS mm of the eight corner voxel centres, shape (8, 3)."""
        i, j, k = (n - 1 for n in self.size)
        return self.index_to_lps([(x, y, z) for z in (0, k) for y in (0, j) for x in (0, i)])

    def cropped(self, region: Region) -> Geometry:
        """Return the geometry of a part of this grid; `region` is in (k, j, i)."""
        k, j, i = region.lower
        nk, nj, ni = region.shape
        return Geometry((ni, nj, nk), self.spacing, vec3(self.index_to_lps((i, j, k))), self.direction)

    def is_close(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same size and no corner lies further apart than `tolerance_mm`."""
        if self.size != other.size:
            return False
        return float(np.abs(self.corners_lps - other.corners_lps).max()) <= tolerance_mm
