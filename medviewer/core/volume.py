"""An image on a 3-D grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.geometry import Geometry

VoxelArray = npt.NDArray[Any]


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
    id: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise ValueError(f"array {self.array.shape} does not fit the grid {self.geometry.shape}")
        if self.array.flags.writeable:
            view = self.array.view()
            view.flags.writeable = False
            object.__setattr__(self, "array", view)

    @property
    def series_instance_uid(self) -> str:
        """SeriesInstanceUID, or empty for an image without one."""
        return self.series.series_instance_uid if self.series else ""

    def value_at(self, kji: tuple[int, int, int]) -> float:
        """Return one voxel in real units."""
        return float(np.asarray(self.array[kji]))
