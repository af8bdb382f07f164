"""A U-Net whose finest stage is thin: the whole field is understood on coarser grids, the finest only draws borders.

On a CPU nearly all the time of a U-Net goes into its finest stage. Here that stage has one convolution on the way down
and two on the way up, without norms over the field, so that training can draw the fine borders in a part of the field
while the coarse answer is learnt everywhere.

References
----------
Çiçek et al., 3D U-Net, MICCAI 2016. Lee et al., Deeply-Supervised Nets, AISTATS 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class _Stage(nn.Module):
    """Two convolutions with norms, the second with a shortcut; the first one may halve the grid."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.InstanceNorm3d(outputs, affine=True)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.InstanceNorm3d(outputs, affine=True)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, (n, outputs, …)."""
        x = self.act(self.first_norm(self.first(x)))
        out: torch.Tensor = self.act(x + self.second_norm(self.second(x)))
        return out


class _Merge(nn.Module):
    """Bring coarse features to a finer grid, add those of the way down, and convolve once."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(inputs, outputs, 2, stride=2)
        self.conv = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return the features, (n, outputs, …)."""
        x = self.up(x) + skip
        out: torch.Tensor = self.act(x + self.norm(self.conv(x)))
        return out


class PyramidUNet(nn.Module):
    """See the module."""

    def __init__(self, in_channels: int, out_channels: int, features: Sequence[int], fine: int, places: bool) -> None:
        super().__init__()
        self.places = places
        self.stem = nn.Conv3d(in_channels, features[0], 3, padding=1)
        inputs = [width + 3 * (places and n == 1) for n, width in enumerate(features)]
        self.down = nn.ModuleList(_Stage(inputs[n - 1], features[n], 2) for n in range(1, len(features)))
        self.merges = nn.ModuleList(_Merge(features[n], features[n - 1]) for n in range(len(features) - 1, 1, -1))
        self.coarse_head = nn.Conv3d(features[1], out_channels, 1)
        self.fine_up = nn.ConvTranspose3d(features[1], fine, 2, stride=2)
        self.fine_skip = nn.Conv3d(features[0], fine, 1)
        self.fine_convs = nn.ModuleList(nn.Conv3d(fine, fine, 3, padding=1) for _ in range(2))
        self.head = nn.Conv3d(fine, out_channels, 1)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, out_channels, …) for an input (n, in_channels, …) divisible by 2 ** (stages - 1)."""
        stem, coarse = self._coarse(x)
        return self._fine(stem, coarse)

    def train_forward(self, x: torch.Tensor, corner: Sequence[int], size: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """Return the coarse logits of the whole field, on half its grid, and the fine ones of a box.

        Parameters
        ----------
        x : Tensor, shape (n, in_channels, k, j, i)
        corner, size : (k, j, i)
            Of the box, voxels of the input, even numbers.
        """
        stem, coarse = self._coarse(x)
        k, j, i = (slice(c, c + n) for c, n in zip(corner, size, strict=True))
        part = stem[:, :, k, j, i]
        k, j, i = (slice(c // 2, (c + n) // 2) for c, n in zip(corner, size, strict=True))
        return self.coarse_head(coarse), self._fine(part, coarse[:, :, k, j, i])

    def _coarse(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stem = self.act(self.stem(x.contiguous(memory_format=torch.channels_last_3d)))
        skips = []
        x = stem
        for n, stage in enumerate(self.down):
            x = stage(torch.cat((x, _places(x)), 1) if self.places and n == 1 else x)
            skips.append(x)
        skips.pop()
        for merge in self.merges:
            x = merge(x, skips.pop())
        return stem, x

    def _fine(self, stem: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        x = self.act(self.fine_up(coarse) + self.fine_skip(stem))
        for conv in self.fine_convs:
            x = self.act(x + conv(x))
        logits: torch.Tensor = self.head(x)
        return logits


def _places(x: torch.Tensor) -> torch.Tensor:
    """Return where each voxel lies from the middle of the window, (n, 3, …); 1 is 16 voxels."""
    size = x.shape[2:]
    axes = [(torch.arange(n, dtype=x.dtype, device=x.device) - (n - 1) / 2) / 16 for n in size]
    lines = (axis.view([-1 if n == d else 1 for n in range(3)]).expand(size) for d, axis in enumerate(axes))
    return torch.stack(tuple(lines)).clamp(-2, 2).expand(x.shape[0], -1, -1, -1, -1)


def build(
    *,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (8, 32, 64, 128, 160),
    fine: int = 24,
    places: bool = False,
) -> PyramidUNet:
    """Return the network.

    Parameters
    ----------
    in_channels, out_channels : int
    features : sequence of int
        Channels of every stage on the way down, the finest first.
    fine : int
        Channels of the finest stage on the way up.
    places : bool
        Whether the network is told where in the window it looks: what is left and right is then learnt sooner.
    """
    if len(features) < 3:
        raise ValueError("features must have at least three stages")
    network = PyramidUNet(in_channels, out_channels, features, fine, places)
    # Channels last: on a CPU, backward takes half the time.
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]
