"""A volume as it is remembered on disk: which series it is and on which grid, not its voxels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.geometry import Geometry
from medviewer.core.serial import geometry_from_json, geometry_to_json, series_from_json, series_to_json
from medviewer.core.volume import Volume, VoxelArray
from medviewer.imaging.units import volume_in_unit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolumeRef:
    """What is needed to open a volume again and to know that it is the same one.

    Attributes
    ----------
    id : str
        Id of the volume in its workspace; segmentations, findings and undo steps name it.
    geometry : Geometry
        LPS mm.
    series : SeriesRef or None
        Where its voxels come from. None for a volume that was computed; then `voxels` holds them.
    time_index : int
        The point of a time axis that was shown.
    sources : tuple of Path
        What the user opened (a folder, a file, a zip); scanned again when `series.files` are gone.
    voxels : array (k, j, i) or None
        Only for a volume without a series.
    """

    id: str
    name: str
    modality: str
    unit: str
    geometry: Geometry
    series: SeriesRef | None = None
    sources: tuple[Path, ...] = ()
    voxels: VoxelArray | None = None
    time_index: int = 0

    @classmethod
    def of(cls, volume: Volume, sources: tuple[Path, ...] = ()) -> VolumeRef:
        """Describe an open volume."""
        return cls(
            id=volume.id,
            name=volume.name,
            modality=volume.modality,
            unit=volume.unit,
            geometry=volume.geometry,
            series=volume.series,
            sources=tuple(Path(path).absolute() for path in sources),
            voxels=volume.array if volume.series is None else None,
            time_index=volume.time.index if volume.time is not None else 0,
        )

    def fits(self, volume: Volume) -> bool:
        """Whether an opened volume is the one that was remembered: same grid to 0.001 mm and same series."""
        uid = self.series.series_instance_uid if self.series else ""
        return self.geometry.is_close(volume.geometry) and volume.series_instance_uid == uid

    def as_shown(self, volume: Volume) -> Volume:
        """Return an opened volume at the point and in the unit in which it was shown, where it has them."""
        if volume.time is not None and self.time_index < len(volume.time.arrays):
            volume = volume.at_time(self.time_index)
        known = volume.suv is not None and self.unit in volume.suv.factors
        return volume_in_unit(volume, self.unit) if known else volume

    def computed(self) -> Volume:
        """Return the volume of a reference that holds its voxels.

        Raises
        ------
        ValueError
            When the voxels are to be read from the series.
        """
        if self.voxels is None:
            raise ValueError("this volume is read from its series")
        return Volume(self.voxels, self.geometry, self.name, self.modality, self.unit, id=self.id)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values, without voxels."""
        geometry = geometry_to_json(self.geometry)
        return {
            "id": self.id,
            "name": self.name,
            "modality": self.modality,
            "unit": self.unit,
            "time_index": self.time_index,
            "geometry": geometry,
            "geometry_sha256": _checksum(geometry),
            "series": series_to_json(self.series) if self.series else None,
            "sources": [str(path) for path in self.sources],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VolumeRef:
        """Build from `to_json`; raises ValueError when the geometry is not the one that was written."""
        if _checksum(data["geometry"]) != data["geometry_sha256"]:
            raise ValueError("the geometry does not fit its checksum")
        return cls(
            id=str(data["id"]),
            name=str(data["name"]),
            modality=str(data["modality"]),
            unit=str(data["unit"]),
            time_index=int(data.get("time_index", 0)),
            geometry=geometry_from_json(data["geometry"]),
            series=series_from_json(data["series"]) if data["series"] else None,
            sources=tuple(Path(path) for path in data["sources"]),
        )

    def with_voxels(self, voxels: VoxelArray) -> VolumeRef:
        """Return the reference of a computed volume with its voxels (k, j, i)."""
        return replace(self, voxels=voxels)


def _checksum(geometry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(geometry, sort_keys=True).encode()).hexdigest()
