"""What a candidate looks like: cut out, cleaned of vessels and pleura, and measured."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Numbers a nodule is told from a vessel by; all about 0..1, roughly.

    Attributes
    ----------
    ratio : float
        Smallest over largest curvature of the blob.
    response : float
        Dot response over the contrast to lung tissue.
    compactness : float
        Volume over that of the smallest ball around its middle that holds it.
    elongation : float
        Shortest over longest principal axis.
    detached : float
        Share of the connected structure near by that is the body itself; the rest are vessels that enter it.
    free_shell : float
        Share of a shell around it that is lung tissue.
    wall_shell : float
        Share of that shell outside the lung.
    contrast : float
        Density over that of lung tissue, in 1000 HU.
    bright : float
        Density above that of soft tissue, in 100 HU: contrast agent or calcium.
    size : float
        Logarithm of the diameter over 8 mm.
    """

    ratio: float
    response: float
    compactness: float
    elongation: float
    detached: float
    free_shell: float
    wall_shell: float
    contrast: float
    bright: float
    size: float

    def values(self) -> npt.NDArray[np.float64]:
        """Return the numbers in the order of their names."""
        return np.array([getattr(self, field.name) for field in fields(self)], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A cube around a candidate.

    Attributes
    ----------
    hu, raw : float32, shape (k, j, i)
        Masked and clipped, and original densities.
    lung : bool
    step_mm : float
    background : float
        Density of lung tissue, HU.
    """

    hu: Image
    raw: Image
    lung: Mask
    step_mm: float
    background: float


def distance_from(shape: tuple[int, ...], middle: tuple[float, ...], step_mm: float) -> npt.NDArray[np.float64]:
    """Return the distance in mm of every voxel from a place in voxels."""
    axes = [(np.arange(n) - m) * step_mm for n, m in zip(shape, middle, strict=True)]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    result: npt.NDArray[np.float64] = np.sqrt(k * k + j * j + i * i)
    return result


def body_of(cut: Cutout, middle: tuple[float, float, float], diameter_mm: float) -> tuple[Mask, Mask] | None:
    """Return the candidate without vessels, and all that is connected with it near by; None when there is nothing.

    Parameters
    ----------
    cut : Cutout
    middle : (float, float, float)
        Voxel of the candidate in it.
    diameter_mm : float
        Of the scale that found it.
    """
    away = distance_from(cut.hu.shape, middle, cut.step_mm)
    core = cut.hu[away <= max(0.25 * diameter_mm, 1.01 * cut.step_mm)]
    top = float(np.median(core))
    if top - cut.background < 100.0:
        return None
    # Half-way between lung tissue and the candidate: where its edge is, whatever the blur.
    dense = (cut.hu > (top + cut.background) / 2) & cut.lung & (away <= 1.1 * diameter_mm + 2.0)
    labels, _ = ndimage.label(dense)
    near = np.where(dense, away, np.inf)
    start = np.unravel_index(int(near.argmin()), near.shape)
    if not near[start] <= 0.5 * diameter_mm:
        return None
    whole = labels == labels[start]
    inside = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=cut.step_mm)[1:-1, 1:-1, 1:-1]
    deepest = float(inside[away <= 0.6 * diameter_mm].max())
    radius = max(0.45 * deepest, 0.6 * cut.step_mm)
    eroded = inside > radius
    parts, count = ndimage.label(eroded)
    if not count:
        return whole, whole
    near = np.where(eroded, away, np.inf)
    seed = parts == parts[np.unravel_index(int(near.argmin()), near.shape)]
    back = ndimage.distance_transform_edt(~seed, sampling=cut.step_mm) <= radius + 0.5 * cut.step_mm
    return back & whole, whole


def measure(
    cut: Cutout, body: Mask, whole: Mask, ratio: float, response: float
) -> tuple[Features, float, tuple[float, float, float]]:
    """Return the features, the diameter of the ball of equal volume in mm, and the middle in voxels."""
    count = int(body.sum())
    diameter = float(np.cbrt(6 * count * cut.step_mm**3 / np.pi))
    points = np.argwhere(body).astype(np.float64)
    middle = points.mean(axis=0)
    away = np.linalg.norm(points - middle, axis=1) * cut.step_mm
    reach = float(np.percentile(away, 98)) + 0.5 * cut.step_mm
    spread = np.linalg.eigvalsh(np.cov(points.T) + np.eye(3) / 12) if count > 3 else np.ones(3)
    outer = ndimage.distance_transform_edt(~body, sampling=cut.step_mm)
    shell = (outer > 1.0) & (outer <= 3.0)
    in_shell = max(int(shell.sum()), 1)
    near = outer <= 0.35 * diameter + 2.0
    density = float(np.median(cut.raw[body]))
    contrast = max(density - cut.background, 100.0)
    edge = (float(np.median(cut.hu[body])) + cut.background) / 2
    features = Features(
        ratio=ratio,
        response=response / contrast * 4,
        compactness=min(1.0, (diameter / 2 / reach) ** 3),
        elongation=float(np.sqrt(spread[0] / spread[2])),
        detached=count / max(int((whole & near).sum()), 1),
        free_shell=float((shell & cut.lung & (cut.hu < edge)).sum()) / in_shell,
        wall_shell=float((shell & ~cut.lung).sum()) / in_shell,
        contrast=contrast / 1000,
        bright=max(density - 80.0, 0.0) / 100,
        size=float(np.log(max(diameter, 2.0) / 8)),
    )
    return features, diameter, (float(middle[0]), float(middle[1]), float(middle[2]))
