"""How alike two images are at a set of places; all can be differentiated by the transform.

References
----------
Mattes D et al. PET-CT image registration in the chest using free-form deformations. IEEE Trans Med Imaging
2003;22:120-128 (mutual information with Parzen windows).
Avants BB et al. Symmetric diffeomorphic image registration with cross-correlation. Med Image Anal 2008;12:26-41.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BINS = 32


def bin_weights(values: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Return the cubic B-spline Parzen weights (n, bins) of values (n,) in 0..1; each row sums to one."""
    import torch

    # Two empty bins at each end hold the tails of the window.
    place = 1.5 + values[:, None] * (bins - 4)
    away = (place - torch.arange(bins, dtype=values.dtype, device=values.device)[None, :]).abs()
    near = 2 / 3 - away**2 + away**3 / 2
    far = (2 - away).clamp(min=0) ** 3 / 6
    return torch.where(away < 1, near, far)


def mutual_information(fixed: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mutual information in nats of values under weights.

    Parameters
    ----------
    fixed : float tensor, shape (n, bins)
        Parzen weights of the fixed values, see `bin_weights`: constant, so computed once.
    moving : float tensor, shape (n,)
        Moving values, 0..1.
    weight : float tensor, shape (n,)
        0 for a place that lies outside the moving image.
    """
    joint = fixed.T @ (bin_weights(moving) * weight[:, None])
    joint = joint / joint.sum().clamp(min=1e-6)
    alone = joint.sum(dim=1, keepdim=True) * joint.sum(dim=0, keepdim=True)
    return (joint * ((joint + 1e-10) / (alone + 1e-10)).log()).sum()


def local_correlation(fixed: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean squared correlation within patches (0..1); all arguments have shape (patches, places)."""
    total = weight.sum(dim=1, keepdim=True).clamp(min=1e-3)
    f = fixed - (fixed * weight).sum(dim=1, keepdim=True) / total
    m = moving - (moving * weight).sum(dim=1, keepdim=True) / total
    ff, mm, fm = ((a * b * weight).sum(dim=1) / total[:, 0] for a, b in ((f, f), (m, m), (f, m)))
    # A patch without structure says nothing, however well it correlates.
    structured = (weight.mean(dim=1) > 0.5) * (ff > 1e-4)
    value = fm * fm / (ff * mm + 1e-6)
    return (value * structured).sum() / structured.sum().clamp(min=1)
