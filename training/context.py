"""The entropy networks: h_s and the state-carrying context model, any-order over 32 nodes.

What a newcomer gets wrong: the state is never recomputed. hyper makes S_0 from z_hat; the head reads S_g and gives
means and scale indexes of group g; once the group is decoded, S_{g+1} = S_g + W_g clamp(depthwise(round(y_hat of
group g))). So each latent is read once whatever the number of groups, and a group's cost does not depend on the
others.

Only 1x1 and depthwise convolutions, additions and clamps: the form that an exact integer network can take later.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..runtime.groups import NUM_NODES, NUM_PHASES, NUM_SLICES, Plan
from .layers import Depthwise, Pointwise, Upsample, positionwise, round_through
from .nodes import Architecture, Widths

CLAMP = 8.0  # activations live in 0..8, states are read in -8..8: the range that 8-bit activations will cover
LATENT_CLAMP = 127.0  # y_hat enters as its nearest integer, clamped to +-127
Pair = tuple[Tensor, Tensor]
OUTPUT_SCALE = 8.0  # the head's last layer works in eighths (means) and in scale indexes


def rectify(x: Tensor, exact: bool = False) -> Tensor:
    """Clamped ReLU, 0..8; `exact` rounds to the 8 bits that the integer networks have, straight-through."""
    x = F.hardtanh(x, -1e-30, CLAMP)  # its backward is one pass, clamp's are four; exact zeros must keep their gradient
    return _stepped(x, CLAMP / 255) if exact else x


def clamp(x: Tensor, exact: bool = False) -> Tensor:
    """-8..8; `exact` as in `rectify`."""
    x = F.hardtanh(x, -CLAMP, CLAMP)
    return _stepped(x, CLAMP / 127) if exact else x


def _stepped(x: Tensor, step: float) -> Tensor:
    return round_through(x / step) * step


def pack(y: Tensor) -> Tensor:
    """Latent (B, M, h, w) -> packed latent (B, 4M, h/2, w/2), phase-major (see runtime/groups.py), channels last in
    memory as y is."""
    b, m, h, w = y.shape
    y = y.permute(0, 2, 3, 1).reshape(b, h // 2, 2, w // 2, 2, m).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(b, h // 2, w // 2, NUM_PHASES * m).permute(0, 3, 1, 2)


def unpack(packed: Tensor) -> Tensor:
    """The inverse of `pack`."""
    b, m4, h, w = packed.shape
    y = packed.permute(0, 2, 3, 1).reshape(b, h, w, 2, 2, m4 // NUM_PHASES).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(b, 2 * h, 2 * w, m4 // NUM_PHASES).permute(0, 3, 1, 2)


class _Permuted(torch.autograd.Function):
    """index_select with a permutation: its gradient is a selection too, where autograd's adds element by element."""

    @staticmethod
    def forward(ctx, x: Tensor, dim: int, order: Tensor, back: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.dim, ctx.back = dim, back
        return x.index_select(dim, order)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[no-untyped-def]
        return grad.index_select(ctx.dim, ctx.back), None, None, None


class _Quantised(torch.autograd.Function):
    """y and real means -> means in eighths, and y_hat = round(y - mean) + mean.

    Straight through: means have the gradient of the rounded ones, y that of y_hat, in which the mean cancels out.
    """

    @staticmethod
    def forward(ctx, y: Tensor, means: Tensor) -> Pair:  # type: ignore[no-untyped-def]
        means = (means * OUTPUT_SCALE).round_().mul_(1 / OUTPUT_SCALE)
        return means, (y - means).round_().add_(means)

    @staticmethod
    def backward(ctx, of_means: Tensor, of_y_hat: Tensor) -> Pair:  # type: ignore[no-untyped-def]
        return of_y_hat, of_means


class Hyper(nn.Module):
    """h_s: z_hat (B, C, h/64, w/64), integers -> S_0 (B, S, h/32, w/32)."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.exact = False  # set while fine-tuning for the integer networks (exact.py)
        self.spread = Pointwise(arch.hyper_channels, arch.hyper_spread)
        self.depthwise = Depthwise(arch.hyper_spread)
        self.up = Upsample(arch.hyper_spread, arch.state, 2)

    def forward(self, z_hat: Tensor, widths: Widths) -> Tensor:
        h = rectify(self.spread(z_hat.clamp(-LATENT_CLAMP, LATENT_CLAMP), widths["h_s.inner"]), self.exact)
        state: Tensor = self.up(rectify(self.depthwise(h), self.exact), widths["context.state"])
        return state.float()


class Context(nn.Module):
    """The head and the state's update, shared by all groups; weights of the last and first layer are per node."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        packed = NUM_PHASES * arch.latent_channels
        self.exact = False
        self.node_channels = arch.latent_channels // NUM_SLICES
        self.first = Pointwise(arch.state, arch.context_inner)
        self.depthwise = Depthwise(arch.context_inner)
        self.second = Pointwise(arch.context_inner, arch.context_inner)
        self.mean = Pointwise(arch.context_inner, packed, 0.1)
        self.scale = Pointwise(arch.context_inner, packed, 0.1)
        nn.init.constant_(self.scale.bias, 24.0 / OUTPUT_SCALE)
        self.read = Depthwise(packed)
        self.read.weight.data.mul_(1.5)
        self.write = nn.Parameter(torch.randn(arch.state, packed) * (0.5 / packed**0.5))
        self.write_bias = nn.Parameter(torch.zeros(NUM_NODES, arch.state))

    def head(self, states: Tensor, inner: int) -> Tensor:
        """States (B, S, h, w) -> features (B, K, h, w) from which every group's outputs are one 1x1 away."""
        h = rectify(self.first(clamp(states, self.exact), inner), self.exact)
        return rectify(self.second(rectify(self.depthwise(h), self.exact), inner), self.exact)

    def outputs(self, features: Tensor, group: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Features -> means and (real-valued) scale indexes of a group's nodes, each (B, n, h, w), float32."""
        rows, k = self.channels(group, features.device), features.shape[1]
        return self._outputs(features, *(t[rows] for t in self._last_layer(k)))

    def _last_layer(self, inner: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.mean.weight[:, :inner], self.mean.bias, self.scale.weight[:, :inner], self.scale.bias

    @staticmethod
    def _outputs(features: Tensor, weight: Tensor, bias: Tensor, scale_weight: Tensor, scale_bias: Tensor) -> Pair:
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            means = positionwise(features, weight, bias)
            return means, positionwise(features, scale_weight, scale_bias) * OUTPUT_SCALE

    def update(self, y_hat: Tensor, group: tuple[int, ...], state: int) -> Tensor:
        """What a decoded group (B, n, h, w) adds to the state, (B, S, h, w)."""
        rows = self.channels(group, y_hat.device)
        return self._update(y_hat, group, self.read.weight[rows], self.read.bias[rows], self.write[:state, rows])

    def _update(self, y_hat: Tensor, group: tuple[int, ...], weight: Tensor, bias: Tensor, write: Tensor) -> Tensor:
        read = self._read(y_hat, weight, bias)
        write_bias = self.write_bias[list(group), : len(write)].sum(0)
        return F.conv2d(read, write[:, :, None, None], write_bias).float()

    def read_group(self, y_hat: Tensor, channels: Tensor) -> Tensor:
        """The depthwise reading of a group's y_hat (B, n, h, w), clamped; same shape."""
        return self._read(y_hat, self.read.weight[channels], self.read.bias[channels])

    def _read(self, y_hat: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y_hat = round_through(y_hat).clamp(-LATENT_CLAMP, LATENT_CLAMP)
        return clamp(F.conv2d(y_hat, weight, bias, padding=1, groups=len(weight)), self.exact)

    def forward(self, state: Tensor, packed: Tensor, plan: Plan, widths: Widths) -> tuple[Tensor, Tensor, Tensor]:
        """S_0 (B, S, h, w) and the packed latent before rounding (B, 4M, h, w) -> means (eighths as real numbers),
        scale indexes (real) and y_hat = round(y - mean) + mean, each (B, 4M, h, w), group after group as decoding goes.

        Weights and latent are put into coding order once, and each group takes its stretch of them: gathering them
        group by group cost as much as the layers. Everything is channels-last in memory.
        """
        inner, state = widths["context.inner"], state.contiguous(memory_format=torch.channels_last)
        order = torch.tensor([node for group in plan for node in group], device=packed.device)
        back = torch.argsort(order)
        sizes = [len(group) * self.node_channels for group in plan]

        def in_order(x: Tensor, dim: int, order: Tensor = order, back: Tensor = back) -> Tensor:
            """Channels along `dim`, node by node, as they are coded."""
            nodes = x.reshape(*x.shape[:dim], NUM_NODES, self.node_channels, *x.shape[dim + 1 :])
            moved: Tensor = _Permuted.apply(nodes, dim, order, back)  # type: ignore[no-untyped-call]
            return moved.reshape(x.shape)

        last = [torch.split(in_order(t, 0), sizes) for t in self._last_layer(inner)]
        weights, biases = (torch.split(in_order(t, 0), sizes) for t in (self.read.weight, self.read.bias))
        write = torch.split(in_order(self.write[: state.shape[1]], 1), sizes, dim=1)
        latents = torch.split(in_order(packed.permute(0, 2, 3, 1), 3), sizes, dim=3)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for step, (group, y) in enumerate(zip(plan, latents, strict=True)):
            features = self.head(state, inner)
            means, indexes = self._outputs(features, *(t[step] for t in last))
            means, y_hat = _Quantised.apply(y.permute(0, 3, 1, 2), means)  # type: ignore[no-untyped-call]
            found.append((means, indexes, y_hat))
            if step + 1 < len(plan):
                state = state + self._update(y_hat, group, weights[step], biases[step], write[step])
        means, indexes, y_hat = (
            in_order(torch.cat(list(part), dim=1).permute(0, 2, 3, 1), 3, back, order).permute(0, 3, 1, 2)
            for part in zip(*found, strict=True)
        )
        return means, indexes, y_hat

    def channels(self, group: tuple[int, ...], device: torch.device) -> Tensor:
        """Packed channel numbers of a group, in coding order (runtime.groups.group_channels as a tensor)."""
        nodes = torch.tensor(group, device=device)
        return (nodes[:, None] * self.node_channels + torch.arange(self.node_channels, device=device)).reshape(-1)
