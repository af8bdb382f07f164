"""How large a mask is, in a unit that its image allows."""

from __future__ import annotations

from dataclasses import dataclass

from medviewer.core.volume import Volume


@dataclass(frozen=True, slots=True)
class MaskUnit:
    """What one voxel of a mask counts for.

    Attributes
    ----------
    name : str
        ``ml``, ``mm²``, ``px`` or ``voxels``.
    per_voxel : float
    about : str
        For people: what is measured.
    """

    name: str
    per_voxel: float
    about: str


def mask_unit(volume: Volume) -> MaskUnit:
    """Return the unit of mask sizes: ml in space, mm² in a film or picture, a count where no length is known."""
    if volume.stacking == "place" and volume.in_mm:
        return MaskUnit("ml", volume.geometry.voxel_volume_mm3 / 1000.0, "Volume in millilitres")
    over_all = ", summed over all frames" if volume.geometry.size[2] > 1 else ""
    if volume.in_mm:
        i_mm, j_mm, _ = volume.geometry.spacing
        return MaskUnit("mm²", i_mm * j_mm, f"Area in mm²{over_all}")
    if volume.has_depth:
        return MaskUnit("voxels", 1.0, "Number of voxels; the size of one is not known")
    return MaskUnit("px", 1.0, f"Number of pixels{over_all}; the size of one is not known")
