"""What a phantom is: a volume with its truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Ijk, Points, Vec3, vec3
from medviewer.core.volume import Volume

#: Receives 0..1 and what is being done; may raise to stop the work.
Progress = Callable[[float, str], object]
Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Nodule:
    """A lung nodule of known place and size.

    Attributes
    ----------
    label : str
        Name, for example ``N1``.
    lps : (float, float, float)
        Centre, LPS mm.
    diameter_mm : float
        Diameter of the sphere of the same volume.
    kind : str
        ``solid``, ``vascular`` (solid, at a vessel), ``pleural`` (solid, at the pleura) or ``ground-glass``.
    """

    label: str
    lps: Vec3
    diameter_mm: float
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A synthetic image and the truth about it.

    Attributes
    ----------
    volume : Volume
        int16 voxels.
    labels : shape (k, j, i), uint8
        On the grid of `volume`; 0 is background.
    names : dict
        Label value to name.
    nodules : tuple of Nodule
        Empty where there are none.
    """

    volume: Volume
    labels: Labels
    names: dict[int, str]
    nodules: tuple[Nodule, ...] = ()

    def __post_init__(self) -> None:
        if self.labels.shape != self.volume.array.shape:
            raise ValueError(f"labels {self.labels.shape} do not fit the volume {self.volume.array.shape}")

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Return the voxels (k, j, i) of one label by name; raises KeyError for an unknown one."""
        values = {text: value for value, text in self.names.items()}
        return np.asarray(self.labels == values[name])

    def placed(self, geometry: Geometry) -> Phantom:
        """Return the same voxels on another grid of the same size: the patient lies elsewhere.

        Parameters
        ----------
        geometry : Geometry
            Same size as the volume. The nodules move with the voxels that hold them.

        Raises
        ------
        ValueError
            If the size differs.
        """
        old = self.volume.geometry
        if geometry.size != old.size:
            raise ValueError(f"size {geometry.size} differs from {old.size}")
        nodules = tuple(replace(n, lps=vec3(geometry.index_to_lps(old.lps_to_index(n.lps)))) for n in self.nodules)
        return replace(self, volume=replace(self.volume, geometry=geometry), nodules=nodules)

    def oblique(self, degrees: Vec3) -> Phantom:
        """Return the phantom with its grid turned about its centre.

        Parameters
        ----------
        degrees : (float, float, float)
            Rotation about the x, then y, then z axis of LPS.
        """
        old = self.volume.geometry
        turn = rotation(degrees)
        center = np.asarray(old.center_lps)
        origin = vec3(np.round(turn @ (np.asarray(old.origin) - center) + center, 6))
        direction = tuple((turn @ old.direction_matrix).ravel())
        return self.placed(Geometry(old.size, old.spacing, origin, direction))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStudy:
    """Where a written demo study lies."""

    folder: Path
    dicom_folder: Path
    files: tuple[Path, ...]
    labels_nifti: Path
    nodules_csv: Path
    truth_json: Path
    series_instance_uid: str
    phantom: Phantom


def rotation(degrees: Vec3) -> Points:
    """Return the 3x3 rotation about the x, then y, then z axis."""
    a, b, c = np.deg2rad(degrees)
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx, dtype=np.float64)


def centered_grid(size: Ijk, extent_mm: Vec3) -> Geometry:
    """Return the axis-aligned grid of `size` voxels that fills `extent_mm` around the origin."""
    spacing = vec3(e / n for e, n in zip(extent_mm, size, strict=True))
    origin = vec3((s - e) / 2 for s, e in zip(spacing, extent_mm, strict=True))
    return Geometry(size, spacing, origin)
