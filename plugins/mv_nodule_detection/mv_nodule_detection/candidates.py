"""From one lung to measured candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.api import JobContext, Mask, SubContext
from mv_nodule_detection.blobs import Blob, find_blobs, merged
from mv_nodule_detection.field import LungField
from mv_nodule_detection.shape import Cutout, Features, body_of, measure

#: Smallest dot response, HU: a faint (ground-glass) nodule of 6 mm gives about twice this.
LEAST_RESPONSE = 20.0
#: Blobs measured in one lung; the rest are fainter than the noise of vessels.
MOST_BLOBS = 300


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A measured blob.

    Attributes
    ----------
    points_lps : float64, shape (n, 3)
        Middles of its voxels, LPS mm.
    center_lps : float64, shape (3,)
    diameter_mm : float
        Of the ball of equal volume.
    step_mm : float
        Edge of its voxels.
    """

    features: Features
    points_lps: npt.NDArray[np.float64]
    center_lps: npt.NDArray[np.float64]
    diameter_mm: float
    step_mm: float


def find_candidates(ctx: JobContext, field: LungField, smallest_mm: float, largest_mm: float) -> list[Candidate]:
    """Return the measured candidates of one lung within a range of diameters."""
    blobs = find_blobs(SubContext(ctx, 0.0, 0.6), field, smallest_mm, largest_mm, LEAST_RESPONSE)
    blobs = merged(blobs, field.step_mm, MOST_BLOBS)
    hu, raw, lung = (part.cpu().numpy() for part in (field.hu, field.raw, field.lung))
    found = []
    for n, blob in enumerate(blobs):
        ctx.progress(0.6 + 0.4 * n / len(blobs), "Measuring candidates")
        candidate = _measured(field, hu, raw, lung, blob)
        if candidate is not None and smallest_mm <= candidate.diameter_mm <= 1.25 * largest_mm:
            found.append(candidate)
    return found


def _measured(
    field: LungField, hu: npt.NDArray[np.float32], raw: npt.NDArray[np.float32], lung: Mask, blob: Blob
) -> Candidate | None:
    # A large thing is measured as well on every second voxel, in an eighth of the time.
    stride = 2 if blob.diameter_mm > 16.0 * field.step_mm else 1
    step = stride * field.step_mm
    half = int(np.ceil((1.5 * blob.diameter_mm + 5.0) / field.step_mm))
    low = np.array([max(0, round(m) - half) for m in blob.kji])
    box = tuple(slice(start, round(m) + half + 1, stride) for start, m in zip(low, blob.kji, strict=True))
    cut = Cutout(hu[box], raw[box], lung[box], step, field.background)
    k, j, i = (np.array(blob.kji) - low) / stride
    parts = body_of(cut, (float(k), float(j), float(i)), blob.diameter_mm)
    if parts is None:
        return None
    body, whole = parts
    features, diameter, middle = measure(cut, body, whole, blob.ratio, blob.response)
    voxels = np.argwhere(body) * stride + low
    center = np.array(middle) * stride + low
    return Candidate(
        features,
        field.geometry.index_to_lps(voxels[:, ::-1]),
        field.geometry.index_to_lps(center[::-1]),
        diameter,
        step,
    )
