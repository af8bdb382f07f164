"""One case as nnU-Net sees it: axes, crop, intensities, resampling; and logits back onto the image.

References
----------
Isensee et al., nnU-Net, Nature Methods 2021, supplement: resampling with the coarse axis apart, cropping to what is not
zero, intensity schemes by channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.model_grid import along, taps
from medviewer.ai.patient_grid import PatientGrid
from medviewer.ai.sliding_window import Slab
from medviewer.core.geometry import Geometry

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Steps = tuple[int, ...]

#: A spacing this many times another is resampled apart.
_ANISOTROPIC = 3.0
_TINY = 1e-8
#: Slices of the image drawn at a time.
_SLICES = 8


@dataclass(frozen=True, slots=True)
class Axes:
    """From an image's array to the order and direction of axes in which a model was trained, and back."""

    grid: PatientGrid | None
    transpose: Steps

    @classmethod
    def of(cls, geometry: Geometry, axes: str, transpose: Sequence[int]) -> Axes:
        """Return the axes for an image; `axes` is ``stored`` or ``RAS``."""
        return cls(PatientGrid.of(geometry) if axes == "RAS" else None, tuple(transpose))

    def forward(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view in the model's axes."""
        if self.grid is not None:
            array = self.grid.turn(array)[:, ::-1, ::-1]
        return array.transpose(self.transpose)

    def back(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array (k, j, i) of the image."""
        array = array.transpose(tuple(int(n) for n in np.argsort(self.transpose)))
        if self.grid is not None:
            array = self.grid.turn_back(array[:, ::-1, ::-1])
        return np.ascontiguousarray(array)

    def spacing(self, geometry: Geometry) -> tuple[float, ...]:
        """Return the image's spacing in the model's axes."""
        mm = self.grid.spacing if self.grid is not None else geometry.spacing[::-1]
        return tuple(mm[axis] for axis in self.transpose)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An image as the network takes it.

    Attributes
    ----------
    image : float32, shape (c, a, b, c)
        On the network's grid, axes of the model.
    axes : Axes
    whole : shape of the uncropped image, in the model's axes
    crop : slices of it that `image` was made from
    spacing, target : mm of the image and of the network's grid, in the model's axes
    """

    image: FloatArray
    axes: Axes
    whole: Steps
    crop: tuple[slice, ...]
    spacing: tuple[float, ...]
    target: tuple[float, ...]

    @property
    def cropped(self) -> Steps:
        """Shape of the crop."""
        return tuple(part.stop - part.start for part in self.crop)


def prepare(channels: Sequence[npt.NDArray[Any]], geometry: Geometry, target: Sequence[float], settings: Any) -> Case:
    """Return a case.

    Parameters
    ----------
    channels : sequence of arrays (k, j, i)
        On one grid.
    geometry : Geometry
        Of that grid.
    target : two or three mm
        Spacing of the network; two leave the first axis as it is.
    settings : mapping
        Of the card that `medviewer.ai.formats.nnunet` makes.
    """
    axes = Axes.of(geometry, settings["axes"], settings["transpose"])
    stack = np.stack([axes.forward(channel) for channel in channels]).astype(np.float32)
    spacing = axes.spacing(geometry)
    wanted = (spacing[0], *target) if len(target) == 2 else tuple(target)
    crop = _box(stack)
    image = np.ascontiguousarray(stack[(slice(None), *crop)])
    inside = _inside(image) if any(settings["inside_only"]) else None
    for n, scheme in enumerate(settings["schemes"]):
        masked = inside if settings["inside_only"][n] else None
        _normalise(image[n], scheme, settings["intensities"][n], masked)
    shape = tuple(round(a / b * n) for a, b, n in zip(spacing, wanted, image.shape[1:], strict=True))
    rule = settings["resample_image"]
    if rule["kind"] != "none":
        image = np.stack([_resized(channel, shape, rule, apart(rule, spacing, wanted)) for channel in image])
    return Case(image, axes, stack.shape[1:], crop, spacing, wanted)


def _box(stack: FloatArray) -> tuple[slice, ...]:
    """Return the box of all voxels that are not zero in every channel."""
    filled = (stack != 0).any(axis=0)
    if not filled.any():
        return tuple(slice(0, n) for n in filled.shape)
    parts = []
    for axis in range(3):
        here = np.flatnonzero(filled.any(axis=tuple(n for n in range(3) if n != axis)))
        parts.append(slice(int(here[0]), int(here[-1]) + 1))
    return tuple(parts)


def _inside(image: FloatArray) -> Mask:
    from scipy import ndimage

    filled: Mask = ndimage.binary_fill_holes((image != 0).any(axis=0))
    return filled


def _normalise(values: FloatArray, scheme: str, of_training: Mapping[str, float], inside: Mask | None) -> None:
    """Change the values of one channel in place."""
    if scheme == "ct":
        np.clip(values, of_training["percentile_00_5"], of_training["percentile_99_5"], out=values)
        values -= of_training["mean"]
        values /= max(of_training["std"], _TINY)
    elif scheme == "zscore" and inside is not None:
        part = values[inside]
        values[inside] = (part - part.mean()) / max(float(part.std()), _TINY)
    elif scheme == "zscore":
        values -= values.mean()
        values /= max(float(values.std()), _TINY)
    elif scheme == "rescale":
        values -= values.min()
        values /= max(float(values.max()), _TINY)
    elif scheme == "rgb":
        values /= 255.0


def apart(rule: Mapping[str, Any], old: Sequence[float], new: Sequence[float]) -> int | None:
    """Return the axis that is resampled apart from the others because it is much coarser; None for none."""
    if rule["apart"] is False:
        return None
    for spacing in (old, new):
        if rule["apart"] or max(spacing) / min(spacing) > _ANISOTROPIC:
            coarse = [axis for axis, mm in enumerate(spacing) if mm == max(spacing)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def places(old: int, new: int) -> npt.NDArray[np.float64]:
    """Return where the middles of `new` voxels lie on a line of `old` voxels of the same length."""
    return np.asarray((np.arange(new) + 0.5) * (old / new) - 0.5, dtype=np.float64)


def nearest(old: int, new: int) -> npt.NDArray[np.intp]:
    """Return the nearest of `old` voxels for each of `new`."""
    return np.floor(places(old, new) + 0.5).clip(0, old - 1).astype(np.intp)


def _resized(values: FloatArray, shape: Steps, rule: Mapping[str, Any], axis: int | None) -> FloatArray:
    """Return one channel on another shape."""
    if values.shape == shape:
        return values
    if axis is None:
        return _smooth(values, shape, rule)
    slices = np.moveaxis(values, axis, 0)
    flat = tuple(n for a, n in enumerate(shape) if a != axis)
    drawn = np.stack([_smooth(part, flat, rule) for part in slices])
    old, new = len(slices), shape[axis]
    if old != new and rule["order_apart"] == 0:
        drawn = drawn[nearest(old, new)]
    elif old != new:
        drawn = _linear(drawn, (new, *flat))
    result: FloatArray = np.ascontiguousarray(np.moveaxis(drawn, 0, axis))
    return result


def _smooth(values: FloatArray, shape: Steps, rule: Mapping[str, Any]) -> FloatArray:
    if values.shape == shape:
        return values
    if rule["kind"] == "linear" or rule["order"] == 1:
        return _linear(values, shape)
    from skimage.transform import resize

    draw: Any = resize
    drawn: FloatArray = draw(values.astype(np.float64), shape, rule["order"], mode="edge", anti_aliasing=False)
    return drawn.astype(np.float32)


def _linear(values: FloatArray, shape: Steps) -> FloatArray:
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    for axis, (old, new) in enumerate(zip(values.shape, shape, strict=True)):
        if old != new:
            tensor = along(tensor, axis, taps(places(old, new), old))
    result: FloatArray = tensor.numpy()
    return result


def logits_on_image(case: Case, slabs: Iterator[Slab], rule: Mapping[str, Any]) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the first slice and the logits (outputs, n, b, c) of the crop of the image, in order, as slabs come.

    Only what the next slices need is kept.
    """
    import torch

    axis = apart(rule, case.target, case.spacing)
    if rule["kind"] != "none" and rule["kind"] != "linear" and rule["order"] not in (0, 1):
        raise ValueError(f"logits resampled with order {rule['order']}")
    old, new = case.image.shape[1], case.cropped[0]
    where = places(old, new)
    if (axis == 0 and rule["order_apart"] == 0) or (rule["kind"] == "spline" and rule["order"] == 0):
        where = nearest(old, new).astype(np.float64)
    waiting: torch.Tensor | None = None
    first, done = 0, 0
    for slab in slabs:
        part = _in_plane(slab.logits, case, rule, axis)
        if waiting is None:
            waiting, first = part, slab.k
        else:
            waiting = torch.cat((waiting, part), dim=1)
        have = first + waiting.shape[1] - 1
        stop = new if have == old - 1 else int(np.searchsorted(where, have, side="right"))
        for start in range(done, stop, _SLICES):
            here = where[start : min(start + _SLICES, stop)] - first
            yield start, along(waiting, 1, taps(here, waiting.shape[1]))
        done = max(done, stop)
        keep = min(max(0, int(np.floor(where[min(done, new - 1)])) - first), waiting.shape[1])
        waiting, first = waiting[:, keep:], first + keep


def _in_plane(logits: torch.Tensor, case: Case, rule: Mapping[str, Any], axis: int | None) -> torch.Tensor:
    """Return a slab's logits on the rows and columns of the crop."""
    import torch

    for n in (1, 2):
        old, new = case.image.shape[n + 1], case.cropped[n]
        if old == new:
            continue
        if (axis == n and rule["order_apart"] == 0) or (rule["kind"] == "spline" and rule["order"] == 0):
            logits = logits.index_select(n + 1, torch.from_numpy(nearest(old, new)).to(logits.device))
        else:
            logits = along(logits, n + 1, taps(places(old, new), old))
    return logits
