"""Networks of MONAI that a bundle may name, seen from our axes. Nothing that is not in the table is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

NETS = (
    "UNet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "SegResNet", "SegResNetVAE", "UNETR", "SwinUNETR",
    "AttentionUnet", "VNet", "FlexibleUNet", "HighResNet",
)  # fmt: skip
#: Letters of MONAI's orientation that run against ours: our axes run to the left, the back and the head.
_REVERSED = {"R": 0, "A": 1, "I": 2}
_SAME = {"L": 0, "P": 1, "S": 2}


class Turned(nn.Module):
    """A network whose axes are (x, y, z) by an orientation code, for windows (k, j, i) to head, back and left."""

    def __init__(self, network: nn.Module, orientation: str) -> None:
        super().__init__()
        self.network = network
        letters = [(_REVERSED | _SAME)[letter] for letter in orientation]
        if sorted(letters) != [0, 1, 2]:
            raise ValueError(f"{orientation!r} is no orientation")
        # Our tensor axes of x, y and z: i, j and k.
        self.order = (0, 1, *(4 - axis for axis in letters))
        self.back = tuple(self.order.index(axis) for axis in range(5))
        self.flips = tuple(n + 2 for n, letter in enumerate(orientation) if letter in _REVERSED)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits on the grid of the input."""
        x = x.permute(self.order)
        out = self.network(x.flip(self.flips) if self.flips else x)
        if isinstance(out, list | tuple):
            out = out[0]
        out = out.flip(self.flips) if self.flips else out
        return out.permute(self.back)  # type: ignore[no-any-return]


def build(*, net: str, arguments: Mapping[str, Any], orientation: str = "RAS") -> Turned:
    """Return a network.

    Parameters
    ----------
    net : str
        Class of `monai.networks.nets`, one of `NETS`.
    arguments : mapping
        Plain JSON values.
    orientation : str
        Axis codes the network was trained in, for example ``RAS``.
    """
    if net not in NETS:
        raise ValueError(f"the network {net} is none that this version builds")
    import monai.networks.nets as nets

    return Turned(getattr(nets, net)(**arguments), orientation)
