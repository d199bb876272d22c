"""Slimmable layers: every layer holds its widest weights and runs with the first channels of them.

What a newcomer gets wrong: widths are arguments of the call, never state. A layer takes its input width from the tensor
it is given and its output width from the caller, so any combination of widths is a valid network (SlimCAE, Yang et al.
2021; slimmable networks, Yu et al. 2019).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.1


def positionwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution (B, i, h, w) -> (B, o, h, w) as a matrix product, channels last in memory.

    In float32 on a CPU it takes a third of conv2d's time for this model's sizes.
    """
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


class Pointwise(nn.Module):
    """1x1 convolution (B, i, h, w) -> (B, o, h, w) with i taken from the input and o given (default: the widest)."""

    def __init__(self, in_channels: int, out_channels: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels) * (gain / math.sqrt(in_channels)))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, out_channels: int | None = None) -> Tensor:
        weight, bias = self.weight[:out_channels, : x.shape[1]], self.bias[:out_channels]
        return F.conv2d(x, weight[:, :, None, None], bias)


class Depthwise(nn.Module):
    """3x3 depthwise convolution on the first channels, zero padding; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        weight = torch.randn(channels, 1, 3, 3) * 0.1
        weight[:, 0, 1, 1] += 1.0
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return F.conv2d(x, self.weight[:channels], self.bias[:channels], padding=1, groups=channels)


class Strided(nn.Module):
    """3x3 convolution with stride 2: (B, i, h, w) -> (B, o, h/2, w/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) / math.sqrt(9 * in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, out_channels: int | None = None) -> Tensor:
        weight, bias = self.weight[:out_channels, : x.shape[1]], self.bias[:out_channels]
        return F.conv2d(x, weight, bias, stride=2, padding=1)


class Upsample(nn.Module):
    """1x1 convolution, then pixel-shuffle by `factor`; output channel c of phase p sits at row c * factor^2 + p."""

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.randn(out_channels * factor**2, in_channels) / math.sqrt(in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels * factor**2))

    def forward(self, x: Tensor, out_channels: int | None = None) -> Tensor:
        rows = None if out_channels is None else out_channels * self.factor**2
        x = F.conv2d(x, self.weight[:rows, : x.shape[1], None, None], self.bias[:rows])
        return F.pixel_shuffle(x, self.factor)


class Block(nn.Module):
    """Residual block: 1x1, leaky ReLU, depthwise 3x3, 1x1; then 1x1 to two clamped halves, their product, 1x1.

    At full width 5 N K + 9 K multiplications a position, for N channels and K within. `inner` = 0 leaves out the first
    half of the block, `ff` = 0 the second (layer skipping). The product as gate: simple gate (Chen et al. 2022, NAFNet)
    or bilinear GLU (Shazeer 2020); it needs no transcendental function on any engine.
    """

    def __init__(self, channels: int, within: int, residual_gain: float, gate_limit: float) -> None:
        super().__init__()
        self.gate_limit = gate_limit
        self.spread = Pointwise(channels, within)
        self.depthwise = Depthwise(within)
        self.merge = Pointwise(within, channels, residual_gain)
        self.value = Pointwise(channels, within)
        self.gate = Pointwise(channels, within)
        nn.init.ones_(self.gate.bias)
        self.project = Pointwise(within, channels, residual_gain)

    def forward(self, x: Tensor, inner: int, ff: int) -> Tensor:
        if inner:
            h = F.leaky_relu(self.spread(x, inner), LEAKY_SLOPE)
            x = x + self.merge(self.depthwise(h), x.shape[1])
        if ff:
            n = x.shape[1]
            weight = torch.cat([self.value.weight[:ff, :n], self.gate.weight[:ff, :n]])
            bias = torch.cat([self.value.bias[:ff], self.gate.bias[:ff]])
            halves = F.hardtanh(F.conv2d(x, weight[:, :, None, None], bias), -self.gate_limit, self.gate_limit)
            value, gate = halves.chunk(2, dim=1)
            x = x + self.project(value * gate, n)
        return x


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest integer; the gradient passes unchanged (straight-through estimator)."""
    return x + (x.round() - x).detach()
