"""An image on a 3-D grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Stacking
from medviewer.core.geometry import Geometry
from medviewer.core.suv import Suv

VoxelArray = npt.NDArray[Any]
ColorArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class TimeAxis:
    """One grid imaged more than once: time points, echoes, b-values.

    Attributes
    ----------
    name : str
        What tells the points apart, for example ``time point``.
    labels : tuple of str
        One per point.
    arrays : tuple of arrays (k, j, i)
        One per point, in the unit of the volume.
    index : int
        The point that `Volume.array` shows.
    """

    name: str
    labels: tuple[str, ...]
    arrays: tuple[VoxelArray, ...] = field(repr=False)
    index: int = 0

    @property
    def text(self) -> str:
        """Which point is shown, in words."""
        return f"{self.labels[self.index]} ({self.index + 1} of {len(self.labels)})"


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Read-only voxels in real units with their geometry.

    Attributes
    ----------
    array : shape (k, j, i)
        Modality LUT or rescale applied, in `unit`; never writeable. MONOCHROME1 is not inverted here.
    geometry : Geometry
        LPS mm.
    modality : str
        DICOM Modality (0008,0060).
    unit : str
        ``HU`` for CT, otherwise RescaleType or empty.
    window : (center, width) or None
        WindowCenter (0028,1050) and WindowWidth (0028,1051) of the first slice.
    inverted : bool
        PhotometricInterpretation is MONOCHROME1: shown inverted.
    padding : float or None
        PixelPaddingValue in real units: outside the field of view.
    decoder : str
        What made the voxels: ``native`` for uncompressed DICOM, else the decoder or decoders that gave the stored
        values; empty for what was computed here.
    colors : shape (k, j, i, 3) or None
        RGB of a colour picture; `array` is then its luminance (ITU-R BT.601), which masks and tools work on.
    stacking : "place", "time" or "number"
        What k counts. Only "place" is a direction in space: the frames of a film and pictures one behind the other have
        no depth, and are shown in one view.
    in_patient : bool
        Whether the grid lies in the patient; if not, `geometry` only says how the pixels lie to each other, and sides
        of the patient are not named.
    in_mm : bool
        Whether a length is known; if not, `geometry` counts in pixels and nothing is measured in mm.
    frame_times_ms : tuple of float
        For a film: when each k was taken, from the first.
    time : TimeAxis or None
    suv : Suv or None
        For PET: the units that it can be shown in, with `medviewer.imaging.units.volume_in_unit`.
    shutter : bool, shape (j, i), or None
        What a display shutter leaves of every slice; the rest is drawn black, and only that.
    """

    #: Fields with `repr=False` would put voxels or the patient into logs and messages.
    array: VoxelArray = field(repr=False)
    geometry: Geometry
    name: str = ""
    modality: str = ""
    unit: str = ""
    series: SeriesRef | None = None
    window: tuple[float, float] | None = None
    inverted: bool = False
    padding: float | None = None
    body_part_examined: str = ""
    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    study_date: str = ""
    warnings: tuple[SeriesWarning, ...] = ()
    decoder: str = ""
    colors: ColorArray | None = field(default=None, repr=False)
    stacking: Stacking = "place"
    in_patient: bool = True
    in_mm: bool = True
    frame_times_ms: tuple[float, ...] = ()
    time: TimeAxis | None = None
    suv: Suv | None = None
    shutter: npt.NDArray[np.bool_] | None = field(default=None, repr=False)
    id: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise ValueError(f"array {self.array.shape} does not fit the grid {self.geometry.shape}")
        if self.colors is not None and self.colors.shape != (*self.geometry.shape, 3):
            raise ValueError(f"colours {self.colors.shape} do not fit the grid {self.geometry.shape}")
        if self.array.flags.writeable:
            view = self.array.view()
            view.flags.writeable = False
            object.__setattr__(self, "array", view)

    @property
    def series_instance_uid(self) -> str:
        """SeriesInstanceUID, or empty for an image without one."""
        return self.series.series_instance_uid if self.series else ""

    @property
    def has_depth(self) -> bool:
        """Whether all three axes go through space; a single slice, a picture and a film are looked at in one view."""
        return self.stacking == "place" and min(self.geometry.size) > 1

    def at_time(self, index: int) -> Volume:
        """Return the same volume, under the same id, showing another point of its time axis."""
        if self.time is None:
            raise ValueError("the volume has no time axis")
        return replace(self, array=self.time.arrays[index], time=replace(self.time, index=index))

    def at_one_time(self) -> Volume:
        """Return the volume without the arrays of the points that are not shown; `time` still says which one is."""
        return self if self.time is None else replace(self, time=replace(self.time, arrays=()))

    def value_at(self, kji: tuple[int, int, int]) -> float:
        """Return one voxel in real units."""
        return float(np.asarray(self.array[kji]))
