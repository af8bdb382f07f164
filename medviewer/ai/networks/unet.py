"""U-Net with plain or residual blocks, 2-D or 3-D: what the models that come with the program are made of.

References
----------
Çiçek et al., 3D U-Net, MICCAI 2016. Isensee et al., nnU-Net Revisited, MICCAI 2024 (residual encoder).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM: dict[tuple[str, int], Any] = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}


class _Block(nn.Module):
    """Convolution, norm, leaky rectifier; twice, with a shortcut when residual."""

    def __init__(
        self, dims: int, inputs: int, outputs: int, convs: int, stride: Sequence[int], residual: bool, norm: str
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        for n in range(convs):
            step = tuple(stride) if n == 0 else 1
            self.layers.append(
                _CONV[dims](inputs if n == 0 else outputs, outputs, 3, stride=step, padding=1, bias=False)
            )
            self.norms.append(_NORM[norm, dims](outputs, affine=True))
        self.shortcut: nn.Module | None = None
        if residual:
            plain = inputs == outputs and set(stride) == {1}
            self.shortcut = (
                nn.Identity() if plain else _CONV[dims](inputs, outputs, 1, stride=tuple(stride), bias=False)
            )
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, (n, outputs, …)."""
        skip = None if self.shortcut is None else self.shortcut(x)
        last = len(self.layers) - 1
        for n, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(layer(x))
            if n == last and skip is not None:
                x = x + skip
            x = self.act(x)
        return x


class UNet(nn.Module):
    """An encoder and a decoder with skips; logits on the grid of the input."""

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int],
        strides: Sequence[Sequence[int]],
        convs: Sequence[int],
        convs_decoder: int,
        residual: bool,
        norm: str,
    ) -> None:
        super().__init__()
        if not len(features) == len(strides) == len(convs):
            raise ValueError("features, strides and convs must be equally long")
        widths = [in_channels, *features]
        self.encoder = nn.ModuleList(
            _Block(dims, widths[n], widths[n + 1], convs[n], strides[n], residual, norm) for n in range(len(features))
        )
        self.ups = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for n in range(len(features) - 1, 0, -1):
            stride = tuple(strides[n])
            self.ups.append(_UP[dims](features[n], features[n - 1], stride, stride=stride))
            self.decoder.append(
                _Block(dims, 2 * features[n - 1], features[n - 1], convs_decoder, (1,) * dims, False, norm)
            )
        # A first stage with a stride works on a coarser grid; its logits are brought back here.
        first = tuple(strides[0])
        self.head: nn.Module = (
            _CONV[dims](features[0], out_channels, 1)
            if set(first) == {1}
            else _UP[dims](features[0], out_channels, first, stride=first)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, out_channels, …) for an input (n, in_channels, …) divisible by the product of strides."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(torch.cat((up(x), skips.pop()), dim=1))
        logits: torch.Tensor = self.head(x)
        return logits


def build(
    *,
    in_channels: int,
    out_channels: int,
    features: Sequence[int],
    strides: Sequence[Sequence[int]] | None = None,
    convs: Sequence[int] | None = None,
    convs_decoder: int = 1,
    residual: bool = True,
    dims: int = 3,
    norm: str = "instance",
) -> UNet:
    """Return a U-Net.

    Parameters
    ----------
    in_channels, out_channels : int
    features : sequence of int
        Channels of every stage.
    strides : sequence of (k, j, i), optional
        Of every stage; default 1 in the first and 2 in the others. A first stride of 2 makes the network about eight
        times cheaper, and its borders coarser.
    convs : sequence of int, optional
        Convolutions of every stage of the encoder; default 1 in the first and 2 in the others.
    convs_decoder : int
        Convolutions of every stage of the decoder.
    residual : bool
        Whether the encoder's blocks have shortcuts.
    dims : 2 or 3
    norm : "instance" or "batch"
        With batch norm the values of an input keep their meaning, and what lies around an object does not change its
        features.
    """
    stages = len(features)
    if (norm, dims) not in _NORM:
        raise ValueError(f"there is no norm {norm!r} in {dims} dimensions")
    if strides is None:
        strides = [[1] * dims] + [[2] * dims] * (stages - 1)
    if convs is None:
        convs = [1] + [2] * (stages - 1)
    return UNet(dims, in_channels, out_channels, features, strides, convs, convs_decoder, residual, norm)
