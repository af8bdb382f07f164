"""U-Nets as nnU-Net plans them: plain or residual encoder, module names as in its checkpoints, so that weights fit.

References
----------
Isensee et al., nnU-Net, Nature Methods 2021; nnU-Net Revisited, MICCAI 2024 (residual encoder, presets M, L and XL).
He et al., Bag of Tricks for Image Classification, CVPR 2019 (shortcut with a mean before the projection).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_MEAN: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_NORMS: dict[str, dict[int, Any]] = {
    "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
}
_ACTIVATIONS: dict[str, Any] = {
    "LeakyReLU": nn.LeakyReLU, "ReLU": nn.ReLU, "ELU": nn.ELU, "GELU": nn.GELU, "SiLU": nn.SiLU, "Mish": nn.Mish,
}  # fmt: skip

Steps = Sequence[int]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all blocks of one network share."""

    dims: int
    bias: bool
    norm: str | None
    norm_arguments: Mapping[str, Any]
    activation: str
    activation_arguments: Mapping[str, Any]
    activation_first: bool = False

    def act(self) -> nn.Module:
        made: nn.Module = _ACTIVATIONS[self.activation](**self.activation_arguments)
        return made

    def conv(self, inputs: int, outputs: int, kernel: Steps, stride: Steps, *, act: bool = True) -> _Conv:
        return _Conv(self, inputs, outputs, tuple(kernel), tuple(stride), self.bias, act)


class _Conv(nn.Module):
    """Convolution, norm, activation."""

    def __init__(
        self, parts: _Parts, inputs: int, outputs: int, kernel: Steps, stride: Steps, bias: bool, act: bool
    ) -> None:
        super().__init__()
        padding = [(n - 1) // 2 for n in kernel]
        self.conv = _CONV[parts.dims](inputs, outputs, kernel, stride, padding=padding, bias=bias)
        self.norm: nn.Module | None = None
        if parts.norm is not None:
            self.norm = _NORMS[parts.norm][parts.dims](outputs, **parts.norm_arguments)
        self.act = parts.act() if act else None
        self.act_first = parts.activation_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.act is not None and self.act_first:
            x = self.act(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None or self.act_first else self.act(x)


class _Convs(nn.Module):
    """Some convolutions in a row; the first may have a stride."""

    def __init__(self, parts: _Parts, count: int, inputs: int, outputs: int, kernel: Steps, stride: Steps) -> None:
        super().__init__()
        one = (1,) * parts.dims
        self.convs = nn.Sequential(
            *(
                parts.conv(inputs if n == 0 else outputs, outputs, kernel, stride if n == 0 else one)
                for n in range(count)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convs(x)  # type: ignore[no-any-return]


class _Residual(nn.Module):
    """Two convolutions with a shortcut, or three with a bottleneck in the middle."""

    def __init__(self, parts: _Parts, inputs: int, outputs: int, kernel: Steps, stride: Steps, narrow: int | None):
        super().__init__()
        one = (1,) * parts.dims
        if narrow is None:
            self.conv1 = parts.conv(inputs, outputs, kernel, stride)
            self.conv2 = parts.conv(outputs, outputs, kernel, one, act=False)
            self.conv3: nn.Module | None = None
        else:
            self.conv1 = parts.conv(inputs, narrow, one, one)
            self.conv2 = parts.conv(narrow, narrow, kernel, stride)
            self.conv3 = parts.conv(narrow, outputs, one, one, act=False)
        skip: list[nn.Module] = []
        if set(stride) != {1}:
            skip.append(_MEAN[parts.dims](tuple(stride), tuple(stride)))
        if inputs != outputs:
            skip.append(_Conv(parts, inputs, outputs, one, one, False, False))
        self.skip = nn.Sequential(*skip)
        self.act = parts.act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv2(self.conv1(x))
        if self.conv3 is not None:
            out = self.conv3(out)
        out = out + self.skip(x)
        return self.act(out)  # type: ignore[no-any-return]


class _Residuals(nn.Module):
    """Some residual blocks in a row."""

    def __init__(
        self, parts: _Parts, count: int, inputs: int, outputs: int, kernel: Steps, stride: Steps, narrow: int | None
    ) -> None:
        super().__init__()
        one = (1,) * parts.dims
        self.blocks = nn.Sequential(
            *(
                _Residual(parts, inputs if n == 0 else outputs, outputs, kernel, stride if n == 0 else one, narrow)
                for n in range(count)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    in_channels: int
    out_channels: int
    features: Steps
    kernels: Sequence[Steps]
    strides: Sequence[Steps]
    blocks: Steps
    convs_decoder: Steps
    residual: bool
    stem_channels: int
    narrow: Sequence[int | None] = field(default_factory=tuple)


class _Encoder(nn.Module):
    def __init__(self, parts: _Parts, plan: _Plan) -> None:
        super().__init__()
        one = (1,) * parts.dims
        inputs = plan.in_channels
        self.stem: nn.Module | None = None
        if plan.residual:
            self.stem = _Convs(parts, 1, inputs, plan.stem_channels, plan.kernels[0], one)
            inputs = plan.stem_channels
        stages: list[nn.Module] = []
        for n, outputs in enumerate(plan.features):
            here = (plan.blocks[n], inputs, outputs, plan.kernels[n], plan.strides[n])
            if plan.residual:
                stages.append(_Residuals(parts, *here, plan.narrow[n]))
            else:
                stages.append(nn.Sequential(_Convs(parts, *here)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        if self.stem is not None:
            x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class _Decoder(nn.Module):
    def __init__(self, parts: _Parts, plan: _Plan) -> None:
        super().__init__()
        one = (1,) * parts.dims
        self.stages = nn.ModuleList()
        self.transpconvs = nn.ModuleList()
        #: One for each stage, as trained with deep supervision; only the last is used.
        self.seg_layers = nn.ModuleList()
        for n in range(1, len(plan.features)):
            below, skip, stride = plan.features[-n], plan.features[-n - 1], tuple(plan.strides[-n])
            self.transpconvs.append(_UP[parts.dims](below, skip, stride, stride, bias=parts.bias))
            self.stages.append(_Convs(parts, plan.convs_decoder[n - 1], 2 * skip, skip, plan.kernels[-n - 1], one))
            self.seg_layers.append(_CONV[parts.dims](skip, plan.out_channels, 1))

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        x = features.pop()
        for up, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat((up(x), features.pop()), dim=1))
        return self.seg_layers[-1](x)  # type: ignore[no-any-return]


class DynamicUNet(nn.Module):
    """An encoder of stages, and a decoder with skips; logits on the grid of the input."""

    def __init__(self, parts: _Parts, plan: _Plan) -> None:
        super().__init__()
        self.encoder = _Encoder(parts, plan)
        self.decoder = _Decoder(parts, plan)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, out_channels, …) for an input divisible by the product of the strides."""
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]


def build(
    *,
    in_channels: int,
    out_channels: int,
    features: Sequence[int],
    kernels: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
    blocks: Sequence[int],
    convs_decoder: Sequence[int],
    residual: bool,
    dims: int = 3,
    narrow: Sequence[int | None] | None = None,
    stem_channels: int | None = None,
    bias: bool = True,
    norm: str | None = "instance",
    norm_arguments: Mapping[str, Any] | None = None,
    activation: str = "LeakyReLU",
    activation_arguments: Mapping[str, Any] | None = None,
    activation_first: bool = False,
) -> DynamicUNet:
    """Return a U-Net.

    Parameters
    ----------
    in_channels, out_channels : int
    features : sequence of int
        Channels of every stage of the encoder.
    kernels, strides : sequence of (k, j, i)
        Of every stage.
    blocks : sequence of int
        Convolutions, or residual blocks, of every stage of the encoder.
    convs_decoder : sequence of int
        Convolutions of every stage of the decoder, the coarsest first; one fewer.
    residual : bool
        Whether the encoder has a stem and residual blocks.
    dims : 2 or 3
    narrow : sequence of int or None, optional
        Channels in the middle of residual blocks with a bottleneck.
    stem_channels : int, optional
        Default: those of the first stage.
    bias : bool
        Of convolutions that are followed by a norm.
    norm : "instance", "batch" or None
    activation : str
        Name of a class of `torch.nn` without weights.
    activation_first : bool
        Whether it comes before the norm.
    """
    stages = len(features)
    lists = (kernels, strides, blocks, narrow or [None] * stages)
    if any(len(values) != stages for values in lists) or len(convs_decoder) != stages - 1:
        raise ValueError("the lists of the stages differ in length")
    if any(len(steps) != dims for steps in (*kernels, *strides)):
        raise ValueError(f"kernels and strides must have {dims} values")
    if norm is not None and norm not in _NORMS:
        raise ValueError(f"the norm {norm!r} is unknown")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"the activation {activation!r} is unknown")
    parts = _Parts(
        dims, bias, norm, dict(norm_arguments or {}), activation, dict(activation_arguments or {}), activation_first
    )
    plan = _Plan(
        in_channels=in_channels,
        out_channels=out_channels,
        features=features,
        kernels=kernels,
        strides=strides,
        blocks=blocks,
        convs_decoder=convs_decoder,
        residual=residual,
        stem_channels=features[0] if stem_channels is None else stem_channels,
        narrow=narrow or [None] * stages,
    )
    return DynamicUNet(parts, plan)
