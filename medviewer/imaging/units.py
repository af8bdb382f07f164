"""A PET image in another unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medviewer.core.errors import InputError
from medviewer.core.volume import Volume, VoxelArray


def volume_in_unit(volume: Volume, unit: str) -> Volume:
    """Return the same volume, under the same id and on the same grid, in another unit of `Volume.suv`.

    Parameters
    ----------
    volume : Volume
    unit : str
        One of `medviewer.core.suv.PET_UNITS`.

    Raises
    ------
    InputError
        ``E_UNIT`` when its values in that unit are not known, with the reason.
    """
    if unit == volume.unit:
        return volume
    suv = volume.suv
    if suv is None or unit not in suv.factors or volume.unit not in suv.factors:
        why = suv.missing.get(unit, "") if suv is not None else "it is no PET image"
        raise InputError(f"“{volume.name}” cannot be shown in {unit}: {why or 'its unit is not known'}.", code="E_UNIT")
    ratio = suv.ratio(volume.unit, unit)
    time = volume.time
    if time is not None:
        time = replace(time, arrays=tuple(_scaled(array, ratio) for array in time.arrays))
    return replace(
        volume,
        array=time.arrays[time.index] if time is not None else _scaled(volume.array, ratio),
        unit=unit,
        time=time,
        window=(volume.window[0] * ratio, volume.window[1] * ratio) if volume.window is not None else None,
        padding=volume.padding * ratio if volume.padding is not None else None,
    )


def _scaled(array: VoxelArray, ratio: float) -> VoxelArray:
    # In steps of a slice, so that no second array in double precision is needed.
    scaled = np.empty(array.shape, np.float32)
    for source, target in zip(array, scaled, strict=True):
        target[...] = source * np.float64(ratio)
    return scaled
