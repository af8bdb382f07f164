"""Blood and organs full of contrast agent: as dense as bone, but even inside and without a shell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import avg_pool3d

from medviewer.api import JobContext, Mask
from medviewer.api.inference import CoarseCt, components, dilated, opened
from mv_ct_anatomy.spine import Line, vertebral_bodies

#: Blood is not brighter than this where it is even; an end plate of a vertebra may be.
BRIGHTEST_HU = 600.0
#: Smallest even region that is taken for contrast agent.
SMALLEST_ML = 1.5


def find_contrast(ctx: JobContext, ct: CoarseCt, dense: Mask, body: Mask, canal: Line | None) -> Mask:
    """Return regions full of contrast agent with their blurred rim.

    Parameters
    ----------
    ctx : JobContext
    ct : CoarseCt
    dense : bool, shape of ``ct.hu``
        Everything as dense as bone.
    body : bool, shape of ``ct.hu``
    canal : shape (slices, 2), or None
        Middle of the spinal canal, see `find_canal`: vertebral bodies in front of it are even too, but bone.

    Returns
    -------
    bool, shape of ``ct.hu``
    """
    spread = _local_spread(ctx, ct)
    soft = body & (ct.hu > 0.0) & (ct.hu < 100.0)
    noise = float(np.median(spread[soft])) if soft.any() else 15.0
    ctx.progress(0.3, "Looking for contrast agent")
    even = dense & (spread < 2.5 * noise + 5.0) & (ct.hu < BRIGHTEST_HU)
    if canal is not None:
        even &= ~vertebral_bodies(ct, canal)
    ctx.progress(0.6, "Looking for contrast agent")
    pools = opened(ctx, even, 2.5, ct.spacing)
    labels, sizes = components(pools)
    large = sizes * float(np.prod(ct.spacing)) / 1000 >= SMALLEST_ML
    large[0] = False
    pools = large[labels]
    if not pools.any():
        return pools
    ctx.progress(0.8, "Looking for contrast agent")
    return _with_fringe(ctx, ct, pools, dense)


def _local_spread(ctx: JobContext, ct: CoarseCt) -> npt.NDArray[np.float32]:
    """Return the standard deviation of density in about 7 mm around each block."""
    size = [max(1, 2 * round(3.0 / mm) + 1) for mm in ct.spacing]
    padding = [n // 2 for n in size]
    hu = torch.from_numpy(ct.hu).to(ctx.device)[None, None] / 1000
    mean = avg_pool3d(hu, size, stride=1, padding=padding, count_include_pad=False)
    ctx.check_cancelled()
    square = avg_pool3d(hu * hu, size, stride=1, padding=padding, count_include_pad=False)
    spread: npt.NDArray[np.float32] = (square - mean * mean).clamp(min=0).sqrt()[0, 0].cpu().numpy() * 1000
    return spread


def _with_fringe(ctx: JobContext, ct: CoarseCt, pools: Mask, dense: Mask) -> Mask:
    """Return pools with their rim, and with small dense pieces that mostly border on them (a beating heart's edge)."""
    rim = dilated(ctx, pools, 4.5, ct.spacing) & dense
    labels, sizes = components(dense & ~rim)
    halo = dilated(ctx, rim, max(ct.spacing) + 1e-3, ct.spacing)
    border = np.bincount(labels[halo], minlength=sizes.size)
    bright = np.bincount(labels[dense & (ct.hu > 500.0)], minlength=sizes.size)
    voxel_ml = float(np.prod(ct.spacing)) / 1000
    fringe = (border > 0.3 * sizes) & (sizes * voxel_ml < 20.0) & (bright < 0.05 * sizes)
    fringe[0] = False
    result: Mask = rim | fringe[labels]
    return result
