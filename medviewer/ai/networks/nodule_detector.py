"""Networks for small round things in a 3-D image: one marks them, one tells them from what only looks like them, and
one draws them.

The first two begin by folding blocks of 2x2x2 voxels into channels: nothing is lost, and all that follows costs an
eighth. Batch norm, not instance norm: a density means the same in every window, and windows of any size give the same
answer.

References
----------
Çiçek et al., 3D U-Net, MICCAI 2016. Setio et al., Pulmonary Nodule Detection in CT Images: False Positive Reduction,
IEEE TMI 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from medviewer.ai.networks.unet import build as build_unet


def _folded(x: torch.Tensor) -> torch.Tensor:
    """Return (n, 8 c, k/2, j/2, i/2) for (n, c, k, j, i)."""
    n, c, k, j, i = x.shape
    x = x.reshape(n, c, k // 2, 2, j // 2, 2, i // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, k // 2, j // 2, i // 2)


def _unfolded(x: torch.Tensor) -> torch.Tensor:
    """Return (n, 1, 2 k, 2 j, 2 i) for (n, 8, k, j, i)."""
    n, _, k, j, i = x.shape
    return x.reshape(n, 2, 2, 2, k, j, i).permute(0, 4, 1, 5, 2, 6, 3).reshape(n, 1, 2 * k, 2 * j, 2 * i)


class _Conv(nn.Sequential):
    """Convolution, batch norm, rectifier."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )


class _Residual(nn.Module):
    """Two convolutions around which the input is carried."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = _Conv(features, features)
        self.second = nn.Sequential(nn.Conv3d(features, features, 3, padding=1, bias=False), nn.BatchNorm3d(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape."""
        return torch.relu(self.second(self.first(x)) + x)


class Marker(nn.Module):
    """U-Net on folded voxels: one logit per voxel."""

    def __init__(self, features: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Conv(8, features[0]), _Conv(features[0], features[0]))
        self.downs = nn.ModuleList(nn.Sequential(_Conv(a, b, 2), _Residual(b)) for a, b in pairwise(features))
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(b, a, 2, stride=2)
            for a, b in zip(features[-2::-1], features[:0:-1], strict=True)
        )  # fmt: skip
        self.joins = nn.ModuleList(_Conv(a, a) for a in features[-2::-1])
        self.head = nn.Conv3d(features[0], 8, 1)
        assert self.head.bias is not None
        # Most voxels are no nodule; beginning there saves the first hundreds of steps.
        nn.init.constant_(self.head.bias, -3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 1, k, j, i) for (n, 1, k, j, i); axes divisible by 2 to the number of stages."""
        x = self.stem(_folded(x))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up, join in zip(self.ups, self.joins, strict=True):
            x = join(up(x) + skips.pop())
        return _unfolded(self.head(x))


class Judge(nn.Module):
    """Classifier of a cube around a candidate: one logit per cube."""

    def __init__(self, features: Sequence[int], dropout: float) -> None:
        super().__init__()
        stages: list[nn.Module] = [_Conv(8, features[0])]
        for a, b in pairwise(features):
            stages += [_Conv(a, b, 2), _Residual(b)]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * features[-1], 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for (n, 1, k, j, i)."""
        x = self.stages(_folded(x))
        logits: torch.Tensor = self.head(torch.cat((x.mean((2, 3, 4)), x.amax((2, 3, 4))), dim=1))[:, 0]
        return logits


class Drawing(nn.Module):
    """U-Net that corrects an outline: one logit per voxel of a cube around one candidate."""

    def __init__(self, features: Sequence[int]) -> None:
        super().__init__()
        n = len(features)
        self.net = build_unet(
            in_channels=3, out_channels=1, features=features, strides=[(2, 2, 2)] * n, convs=[2] * n, norm="batch"
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 1, k, j, i) for (n, 3, k, j, i), of which the last channel is the outline so far, -1..1."""
        logits: torch.Tensor = self.net(x) + 3 * x[:, 2:]
        return logits


class NoduleDetector(nn.Module):
    """A marker, a judge and perhaps what draws outlines; called as a whole it is the marker."""

    def __init__(self, marker: Marker, judge: Judge, outline: Drawing | None) -> None:
        super().__init__()
        self.marker = marker
        self.judge = judge
        self.outline = outline

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the marker's logits."""
        logits: torch.Tensor = self.marker(x)
        return logits


def build(
    *,
    marker: Sequence[int] = (16, 32, 64),
    judge: Sequence[int] = (16, 32, 64),
    dropout: float = 0.3,
    outline: Sequence[int] = (),
) -> NoduleDetector:
    """Return the networks.

    Parameters
    ----------
    marker, judge : sequence of int
        Channels of every stage; the first works on half the resolution, each further on half of that.
    dropout : float
        Before the judge's verdict, in training.
    outline : sequence of int
        Channels of every stage of the U-Net that draws, the first on half the resolution; empty for none.
    """
    network = NoduleDetector(Marker(marker), Judge(judge, dropout), Drawing(outline) if outline else None)
    # Channels last: on a CPU a third faster, training and running.
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network
