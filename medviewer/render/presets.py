"""How a volume looks in 3D: colours and opacities by value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medviewer.core.view_state import WindowLevel

Rgb = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Stop:
    """A value with its colour (0..1) and opacity (0..1); between stops both are interpolated."""

    value: float
    color: Rgb
    opacity: float


@dataclass(frozen=True, slots=True)
class VolumePreset:
    """A named look.

    Attributes
    ----------
    stops : tuple of Stop
        Rising values: in HU, or, where `relative`, 0..1 of the window.
    blend : "composite" or "mip"
        Ray casting, or the largest value along each ray.
    """

    name: str
    stops: tuple[Stop, ...]
    relative: bool = False
    blend: Literal["composite", "mip"] = "composite"

    def at(self, window: WindowLevel) -> tuple[Stop, ...]:
        """Return the stops in the unit of the volume."""
        if not self.relative:
            return self.stops
        return tuple(Stop(window.lower + s.value * window.width, s.color, s.opacity) for s in self.stops)

    def opacity_of(self, values: npt.NDArray[np.float64], window: WindowLevel) -> npt.NDArray[np.float64]:
        """Return the opacity 0..1 of values."""
        stops = self.at(window)
        opacity: npt.NDArray[np.float64] = np.interp(values, [s.value for s in stops], [s.opacity for s in stops])
        return opacity


_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

PRESETS: tuple[VolumePreset, ...] = (
    VolumePreset(
        "CT-Bone",
        (
            Stop(-1024.0, _BLACK, 0.0),
            Stop(120.0, (0.62, 0.25, 0.18), 0.0),
            Stop(300.0, (0.85, 0.62, 0.40), 0.25),
            Stop(650.0, (0.95, 0.88, 0.72), 0.75),
            Stop(3071.0, _WHITE, 0.85),
        ),
    ),
    VolumePreset(
        "CT-Lung",
        (
            Stop(-1024.0, _BLACK, 0.0),
            Stop(-960.0, (0.20, 0.30, 0.45), 0.0),
            Stop(-850.0, (0.35, 0.50, 0.70), 0.012),
            Stop(-650.0, (0.80, 0.55, 0.50), 0.06),
            Stop(-350.0, (0.95, 0.80, 0.70), 0.30),
            Stop(-180.0, (0.95, 0.85, 0.78), 0.0),
            Stop(3071.0, _WHITE, 0.0),
        ),
    ),
    VolumePreset(
        "CT-Soft tissue",
        (
            Stop(-1024.0, _BLACK, 0.0),
            Stop(-180.0, (0.55, 0.25, 0.15), 0.0),
            Stop(-60.0, (0.88, 0.60, 0.29), 0.12),
            Stop(50.0, (0.80, 0.36, 0.30), 0.30),
            Stop(180.0, (0.92, 0.70, 0.55), 0.65),
            Stop(600.0, (0.97, 0.93, 0.85), 0.85),
            Stop(3071.0, _WHITE, 0.9),
        ),
    ),
    VolumePreset(
        "MR",
        (
            Stop(0.0, _BLACK, 0.0),
            Stop(0.12, (0.15, 0.12, 0.12), 0.0),
            Stop(0.35, (0.55, 0.42, 0.38), 0.12),
            Stop(0.70, (0.85, 0.75, 0.68), 0.35),
            Stop(1.0, _WHITE, 0.6),
        ),
        relative=True,
    ),
    VolumePreset(
        "MIP",
        (Stop(0.0, _BLACK, 0.0), Stop(1.0, _WHITE, 1.0)),
        relative=True,
        blend="mip",
    ),
)


def preset(name: str) -> VolumePreset:
    """Return a preset by its name; raises KeyError."""
    for known in PRESETS:
        if known.name == name:
            return known
    raise KeyError(name)


def preset_for(modality: str) -> VolumePreset:
    """Return the preset to start with for a DICOM Modality (0008,0060)."""
    return preset({"CT": "CT-Bone", "MR": "MR"}.get(modality, "MIP"))
