"""Which index axis each view looks along, and where its pixels lie in the patient.

Views follow the grid of the volume, so a voxel is never resampled through the plane, or a grid of their own that is
turned against it (`core.tilt`). Radiological convention: patient right on the left of axial and coronal views, anterior
on the left of the sagittal one, head up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points, Vec3, vec3
from medviewer.core.region import Region
from medviewer.core.tilt import Tilt, nearest_axes, orthogonal, swung, tilted_grid
from medviewer.core.view_state import PLANES, Plane
from medviewer.core.volume import Volume

#: World axis (0 = x, 1 = y, 2 = z) normal to a plane.
NORMAL: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
#: World axis and sign to the right and downwards on the screen.
_RIGHT: dict[Plane, tuple[int, int]] = {"axial": (0, 1), "coronal": (0, 1), "sagittal": (1, 1)}
_DOWN: dict[Plane, tuple[int, int]] = {"axial": (1, 1), "coronal": (2, -1), "sagittal": (2, -1)}
#: Sign of the world axis in which turning the wheel forward goes: to the head, anterior, left.
_FORWARD: dict[Plane, int] = {"axial": 1, "coronal": -1, "sagittal": 1}
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
#: Sine of the angle (10 degrees) from which a direction has a second letter.
_OBLIQUE = 0.1737


def orientation_letters(direction: Vec3 | Points) -> str:
    """Return where in the patient a direction points, as DICOM letters: ``L``, ``RA``.

    Parameters
    ----------
    direction : (float, float, float)
        LPS; any length but zero. A second letter follows when it is more than 10 degrees oblique.

    References
    ----------
    DICOM PS3.3 C.7.6.1.1.1 (Patient Orientation).
    """
    unit = np.asarray(direction, dtype=np.float64)
    unit = unit / np.linalg.norm(unit)
    order = sorted(range(3), key=lambda axis: -abs(unit[axis]))
    letters = [_LETTERS[axis][0 if unit[axis] > 0 else 1] for axis in order[:2]]
    return "".join(letters) if abs(unit[order[1]]) > _OBLIQUE else letters[0]


def opposite_letters(letters: str) -> str:
    """Return the letters of the opposite direction."""
    return letters.translate(str.maketrans("LRPAHF", "RLAPFH"))


@dataclass(frozen=True)
class PlaneGrid:
    """How a plane lies in the grid of a volume, or in one that is turned against it.

    Attributes
    ----------
    geometry : Geometry
        The grid whose slices are shown.
    normal, across, down : int
        Index axes (0 = i, 1 = j, 2 = k): through the screen, mostly to the right, mostly downwards.
    across_sign, down_sign : int
        +1 where the index grows to the right or downwards on the screen.
    forward : int
        +1 where the index grows towards the head (axial), anterior (coronal) or left (sagittal).
    image : Geometry or None
        Grid of the volume where `geometry` is turned against it; axes and signs are those of the volume's.
    """

    plane: Plane
    geometry: Geometry
    normal: int
    across: int
    down: int
    across_sign: int
    down_sign: int
    forward: int
    image: Geometry | None = None

    @classmethod
    def of(cls, geometry: Geometry, plane: Plane) -> PlaneGrid:
        """Assign the index axis closest to each world axis, all three at once so that none is used twice."""
        direction, axes = geometry.direction_matrix, nearest_axes(geometry)

        def sign(world: int, wanted: int) -> int:
            return wanted if direction[world, axes[world]] >= 0 else -wanted

        (right, right_sign), (down, down_sign), normal = _RIGHT[plane], _DOWN[plane], NORMAL[plane]
        return cls(
            plane, geometry, axes[normal], axes[right], axes[down],
            sign(right, right_sign), sign(down, down_sign), sign(normal, _FORWARD[plane]),
        )  # fmt: skip

    def turned(self, tilt: Tilt) -> PlaneGrid:
        """Return the plane of a volume's own grid as it lies after a rotation."""
        return replace(self, geometry=tilted_grid(self.geometry, tilt), image=self.geometry)

    @property
    def count(self) -> int:
        """Number of slices."""
        return self.geometry.size[self.normal]

    @cached_property
    def _swing(self) -> Points | None:
        """Screen axes (right, down) as columns of a turned plane, LPS.

        They are those of the straight plane after the shortest rotation from its normal to the turned one: a plane
        that is turned about its own normal stays as it is on the screen, and its crosshair turns.
        """
        if self.image is None:
            return None
        straight = orthogonal(self.image.direction_matrix)
        axes: Points = straight[:, [self.across, self.down]] * [self.across_sign, self.down_sign]
        before = straight[:, self.normal]
        after = self.geometry.direction_matrix[:, self.normal]
        return swung(axes, before, after)

    @cached_property
    def tilt_degrees(self) -> float:
        """Angle between the normal of a turned plane and that of the straight one."""
        if self.image is None:
            return 0.0
        straight, turned = orthogonal(self.image.direction_matrix), self.geometry.direction_matrix
        return float(np.degrees(np.arccos(np.clip(straight[:, self.normal] @ turned[:, self.normal], -1, 1))))

    @cached_property
    def right_lps(self) -> Points:
        """Unit vector to the right on the screen, LPS."""
        if self._swing is not None:
            return self._swing[:, 0]
        column: Points = self.geometry.direction_matrix[:, self.across] * self.across_sign
        return column / float(np.linalg.norm(column))

    @cached_property
    def down_lps(self) -> Points:
        """Unit vector downwards on the screen, LPS; perpendicular to `right_lps` even in a sheared grid."""
        if self._swing is not None:
            return self._swing[:, 1]
        column: Points = self.geometry.direction_matrix[:, self.down] * self.down_sign
        column = column - (column @ self.right_lps) * self.right_lps
        return column / float(np.linalg.norm(column))

    @cached_property
    def normal_lps(self) -> Points:
        """Unit normal of the slices, LPS, on the side of the world axis (head, posterior or left)."""
        normal: Points = np.cross(self.right_lps, self.down_lps)
        return normal if normal[NORMAL[self.plane]] >= 0 else -normal

    @cached_property
    def mm_per_index(self) -> Points:
        """2x2: millimetres (right, down) on the screen for one step along (across, down).

        Upper triangular in a volume's own grid.
        """
        columns = self.geometry.index_to_lps_matrix[:3, [self.across, self.down]]
        matrix: Points = np.stack([self.right_lps, self.down_lps]) @ columns
        if self.image is not None:
            return matrix
        matrix[1, 0] = 0.0
        if abs(matrix[0, 1]) < 1e-9 * abs(matrix[1, 1]):
            matrix[0, 1] = 0.0  # rounding, no shear
        return matrix

    @cached_property
    def letters(self) -> tuple[str, str, str, str]:
        """Orientation letters at the left, right, top and bottom of the view."""
        right, bottom = orientation_letters(self.right_lps), orientation_letters(self.down_lps)
        return (opposite_letters(right), right, opposite_letters(bottom), bottom)

    def extent_mm(self) -> tuple[float, float]:
        """Return width and height of a slice on the screen in mm, with half a voxel on every side.

        A turned view keeps those of the straight one, so that turning does not change the scale.
        """
        if self.image is not None:
            return PlaneGrid.of(self.image, self.plane).extent_mm()
        matrix, size = np.abs(self.mm_per_index), self.geometry.size
        width = matrix[0, 0] * size[self.across] + matrix[0, 1] * size[self.down]
        return float(width), float(matrix[1, 1] * size[self.down])

    def slice_of(self, lps: Vec3) -> int:
        """Return the slice nearest to a point in LPS mm, clipped to the grid."""
        index = float(self.geometry.lps_to_index(lps)[self.normal])
        return int(min(self.count - 1, max(0, np.floor(index + 0.5))))

    def position_mm(self, slice_index: int) -> float:
        """Return the signed distance of a slice from the LPS origin along `normal_lps`, mm."""
        ijk = [(n - 1) / 2 for n in self.geometry.size]
        ijk[self.normal] = slice_index
        return float(self.geometry.index_to_lps(ijk) @ self.normal_lps)


def only_plane(volume: Volume) -> Plane | None:
    """Return the plane in which a volume without depth lies; None where all three planes show something."""
    if volume.has_depth:
        return None
    thin = 2 if volume.stacking != "place" or volume.geometry.size[2] == 1 else volume.geometry.size.index(1)
    return next(plane for plane in PLANES if PlaneGrid.of(volume.geometry, plane).normal == thin)


@dataclass(frozen=True)
class PlaneFrame:
    """What part of a slice is on the screen, pixel by pixel.

    A display coordinate (x, y) is in device pixels from the top left corner; the centre of pixel (0, 0) is at
    (0.5, 0.5).

    Attributes
    ----------
    center : (float, float)
        Continuous index along (across, down) in the middle of the view.
    mm_per_pixel : float
    width, height : int
        Device pixels.
    """

    grid: PlaneGrid
    slice_index: int
    center: tuple[float, float]
    mm_per_pixel: float
    width: int
    height: int

    @classmethod
    def fit(cls, grid: PlaneGrid, slice_index: int, width: int, height: int) -> PlaneFrame:
        """Show a whole slice."""
        wide, high = grid.extent_mm()
        size = grid.geometry.size
        center = ((size[grid.across] - 1) / 2, (size[grid.down] - 1) / 2)
        scale = max(wide / max(1, width), high / max(1, height))
        return cls(grid, slice_index, center, scale, max(1, width), max(1, height))

    @cached_property
    def _index_per_pixel(self) -> Points:
        matrix: Points = np.asarray(np.linalg.inv(self.grid.mm_per_index) * self.mm_per_pixel, dtype=np.float64)
        return matrix

    @cached_property
    def pixel_to_index(self) -> Points:
        """4x4 matrix from (column, row, 0, 1) of a pixel to the continuous index (i, j, k) of the volume there."""
        if self.grid.image is None:
            return self._pixel_to_grid
        matrix: Points = self.grid.image.lps_to_index_matrix @ self.pixel_to_lps
        return matrix

    @property
    def pixel_to_lps(self) -> Points:
        """4x4 matrix from (column, row, 0, 1) of a pixel to LPS mm at its centre."""
        matrix: Points = self.grid.geometry.index_to_lps_matrix @ self._pixel_to_grid
        return matrix

    @cached_property
    def _pixel_to_grid(self) -> Points:
        """As `pixel_to_index`, but of the grid whose slices are shown."""
        grid, step = self.grid, self._index_per_pixel
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1.0
        start = np.array(self.center) + step @ np.array([0.5 - self.width / 2, 0.5 - self.height / 2])
        for row, axis in enumerate((grid.across, grid.down)):
            matrix[axis, :2] = step[row]
            matrix[axis, 3] = start[row]
        matrix[grid.normal, 2] = 1.0
        matrix[grid.normal, 3] = self.slice_index
        return matrix

    def display_to_index(self, x: float, y: float) -> Points:
        """Return the continuous index (i, j, k) of the grid under a display coordinate; along the normal the slice."""
        index: Points = (self._pixel_to_grid @ np.array([x - 0.5, y - 0.5, 0.0, 1.0]))[:3]
        return index

    def display_to_lps(self, x: float, y: float) -> Vec3:
        """Return the point in LPS mm under a display coordinate."""
        return vec3(self.grid.geometry.index_to_lps(self.display_to_index(x, y)))

    def index_to_display(self, across: float, down: float) -> tuple[float, float]:
        """Return the display coordinate of a continuous index in the slice."""
        offset = self.grid.mm_per_index @ (np.array([across, down]) - np.array(self.center)) / self.mm_per_pixel
        return float(offset[0] + self.width / 2), float(offset[1] + self.height / 2)

    def lps_to_display(self, lps: Vec3) -> tuple[float, float]:
        """Return the display coordinate of a point in LPS mm, moved onto the slice along the normal index axis."""
        index = self.grid.geometry.lps_to_index(lps)
        return self.index_to_display(float(index[self.grid.across]), float(index[self.grid.down]))

    def rect_of(self, region: Region) -> tuple[int, int, int, int] | None:
        """Return the pixels (x0, y0, x1, y1), half-open, that show voxels of a region in this slice, or None."""
        if region.is_empty:
            return None
        corners = self._corners(region) if self.grid.image is None else self._section(region, self.grid.image)
        if not corners:
            return None
        xs, ys = [c[0] for c in corners], [c[1] for c in corners]
        x0, y0 = max(0, int(np.floor(min(xs)))), max(0, int(np.floor(min(ys))))
        x1, y1 = min(self.width, int(np.ceil(max(xs))) + 1), min(self.height, int(np.ceil(max(ys))) + 1)
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def _corners(self, region: Region) -> list[tuple[float, float]]:
        """Display coordinates of the corners of a region of the shown grid; empty beside this slice."""
        lower, upper = region.lower[::-1], region.upper[::-1]
        if not lower[self.grid.normal] <= self.slice_index < upper[self.grid.normal]:
            return []
        across, down = self.grid.across, self.grid.down
        return [
            self.index_to_display(a - 0.5, d - 0.5)
            for a in (lower[across], upper[across])
            for d in (lower[down], upper[down])
        ]

    def _section(self, region: Region, image: Geometry) -> list[tuple[float, float]]:
        """Display coordinates of the corners of where a turned slice cuts a region of the volume; empty beside it."""
        ends = [(low - 0.5, high - 0.5) for low, high in zip(region.lower[::-1], region.upper[::-1], strict=True)]
        index = self.grid.geometry.lps_to_index(image.index_to_lps(list(product(*ends))))
        cut = cut_box(index, index[:, self.grid.normal] - self.slice_index)
        return [self.index_to_display(float(p[self.grid.across]), float(p[self.grid.down])) for p in cut]

    def blank_outside(self, grey: npt.NDArray[np.uint8]) -> None:
        """Make the pixels (height, width) or (height, width, 3) black that lie outside the volume."""
        matrix, size = self.pixel_to_index, (self.grid.image or self.grid.geometry).size
        if self.grid.image is not None or matrix[self.grid.across, 1] != 0.0:
            first, last = self._inside_rows(matrix, size)
            columns = np.arange(self.width)
            grey[(columns < first[:, np.newaxis]) | (columns >= last[:, np.newaxis])] = 0
            return
        for axis, step, count, pixels in (
            (self.grid.down, 1, self.height, grey), (self.grid.across, 0, self.width, grey.swapaxes(0, 1)),
        ):  # fmt: skip
            start, end = _inside(matrix[axis, step] * np.arange(count) + matrix[axis, 3], size[axis])
            pixels[:start] = 0
            pixels[end:] = 0

    def _inside_rows(self, matrix: Points, size: tuple[int, int, int]) -> tuple[Points, Points]:
        """First, and one past the last, column that lies in the volume, for every row: what a plane cuts is convex."""
        rows = np.arange(self.height)
        first, last = np.zeros(self.height), np.full(self.height, float(self.width))
        for (step, down, _, start), count in zip(matrix[:3], size, strict=True):
            low, high = -0.5 - start - down * rows, count - 0.5 - start - down * rows
            if abs(step) < 1e-12:
                last[(low > 0) | (high <= 0)] = 0
                continue
            ends = np.sort([low / step, high / step], axis=0)
            first, last = np.maximum(first, ends[0]), np.minimum(last, ends[1])
        return np.ceil(first), np.ceil(last)

    def blank_shut(self, grey: npt.NDArray[np.uint8], shown: npt.NDArray[np.bool_]) -> None:
        """Make the pixels (height, width) or (height, width, 3) black whose voxel (j, i) is not shown."""
        columns, rows = np.arange(self.width), np.arange(self.height)[:, np.newaxis]
        nearest = []
        for axis, count in ((1, shown.shape[0]), (0, shown.shape[1])):
            across, down, _, start = self.pixel_to_index[axis]
            index = np.floor(across * columns + down * rows + start + 0.5).astype(np.int64)
            nearest.append(np.clip(index, 0, count - 1))
        grey[~shown[nearest[0], nearest[1]]] = 0

    def zoomed(self, factor: float, x: float, y: float) -> PlaneFrame:
        """Return the frame enlarged by a factor around a display coordinate."""
        anchor = self.display_to_index(x, y)[[self.grid.across, self.grid.down]]
        center = anchor + (np.array(self.center) - anchor) / factor
        return replace(self, center=(float(center[0]), float(center[1])), mm_per_pixel=self.mm_per_pixel / factor)

    def on(self, grid: PlaneGrid, lps: Vec3) -> PlaneFrame:
        """Return the frame on another grid: the slice through a point (LPS mm), which stays where it is."""
        x, y = self.lps_to_display(lps)
        moved = replace(self, grid=grid, slice_index=grid.slice_of(lps))
        index = grid.geometry.lps_to_index(lps)[[grid.across, grid.down]]
        center = index - moved._index_per_pixel @ np.array([x - self.width / 2, y - self.height / 2])
        return replace(moved, center=(float(center[0]), float(center[1])))

    def panned(self, dx: float, dy: float) -> PlaneFrame:
        """Return the frame with its content moved by device pixels."""
        center = np.array(self.center) - self._index_per_pixel @ np.array([dx, dy])
        return replace(self, center=(float(center[0]), float(center[1])))


def _inside(index: Points, size: int) -> tuple[int, int]:
    """First and one past the last of rising or falling continuous indices that lie in a voxel of 0..size-1."""
    hit = np.flatnonzero((index >= -0.5) & (index < size - 0.5))
    return (int(hit[0]), int(hit[-1]) + 1) if hit.size else (len(index), len(index))


def cut_box(corners: Points, height: Points) -> list[Points]:
    """Return where a plane cuts the edges of a box.

    Parameters
    ----------
    corners : float array (8, 3)
        As `itertools.product` gives them: the first coordinate changes last.
    height : float array (8,)
        Of the corners over the plane.
    """
    points = [corners[a] for a in range(8) if abs(height[a]) < 1e-9]
    for a in range(8):
        for bit in (1, 2, 4):
            b = a | bit
            if a != b and height[a] * height[b] < 0 and min(abs(height[a]), abs(height[b])) >= 1e-9:
                points.append(corners[a] + (corners[b] - corners[a]) * (height[a] / (height[a] - height[b])))
    return points
