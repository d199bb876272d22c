"""Densities: factorised for z (Balle et al. 2018, appendix 6.1), Gaussian with mean and scale for y (Minnen et al.
2018).

Scales are a table of 64, log-spaced from 0.11 to 64; the networks predict an index into it, in training a real one.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_SCALES = 64
SCALE_MIN, SCALE_MAX = 0.11, 64.0
LOG_SCALE_STEP = math.log(SCALE_MAX / SCALE_MIN) / (NUM_SCALES - 1)
LIKELIHOOD_BOUND = 1e-9
FAR = 9.0
"""Standard deviations beyond which there is no mass to speak of (1e-19); exp and erfc are ten times as slow there."""


def scale_table() -> Tensor:
    """The 64 standard deviations, float64."""
    return torch.exp(math.log(SCALE_MIN) + LOG_SCALE_STEP * torch.arange(NUM_SCALES, dtype=torch.float64))


def gaussian_bits(residual: Tensor, indexes: Tensor) -> Tensor:
    """Bits of symbols or noisy residuals y - mean under scale index `indexes` (real, clamped to 0..63); same shape."""
    bits: Tensor = _GaussianBits.apply(residual, indexes)  # type: ignore[no-untyped-call]
    return bits


class _GaussianBits(torch.autograd.Function):
    """-log2 of the mass of [r - 1/2, r + 1/2], at least LIKELIHOOD_BOUND; both gradients are made on the way.

    Written out because autograd's own chain of some forty passes over the latent took a tenth of a training step.
    Below the bound the gradient is the bound's, so that an impossible symbol still pulls; outside 0..63 the index has
    none.
    """

    @staticmethod
    def forward(ctx, residual: Tensor, indexes: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        clamped = indexes.clamp(0.0, NUM_SCALES - 1.0)
        sigma = torch.exp(clamped.mul(LOG_SCALE_STEP).add_(math.log(SCALE_MIN)))
        # Both edges are taken on the side where erfc does not cancel.
        distance = residual.abs()
        upper = (distance - 0.5).div_(sigma).clamp_max_(FAR)
        lower = (distance + 0.5).div_(sigma).clamp_max_(FAR)
        mass = torch.erfc(upper * math.sqrt(0.5)).sub_(torch.erfc(lower * math.sqrt(0.5))).mul_(0.5)
        mass.clamp_min_(LIKELIHOOD_BOUND)
        if any(ctx.needs_input_grad):
            density = 1.0 / (math.sqrt(2.0 * math.pi) * math.log(2.0))
            at_upper = upper.square().mul_(-0.5).exp_().mul_(density)
            at_lower = lower.square().mul_(-0.5).exp_().mul_(density)
            by_residual = (at_upper - at_lower).div_(sigma).div_(mass).mul_(residual.sign())
            by_index = at_lower.mul_(lower).sub_(at_upper.mul_(upper)).div_(mass).mul_(LOG_SCALE_STEP)
            ctx.save_for_backward(by_residual, by_index.mul_(clamped == indexes))
        return mass.log2_().neg_()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        by_residual, by_index = ctx.saved_tensors
        return grad * by_residual, grad * by_index


class Factorized(nn.Module):
    """One learned density per channel of z: a monotone network for the cumulative, filters (3, 3, 3)."""

    def __init__(self, channels: int, init_scale: float = 10.0) -> None:
        super().__init__()
        widths = (1, 3, 3, 3, 1)
        scale = init_scale ** (1 / (len(widths) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for i, o in pairwise(widths):
            self.matrices.append(torch.full((channels, o, i), math.log(math.expm1(1 / scale / o))))
            self.biases.append(torch.empty(channels, o, 1).uniform_(-0.5, 0.5))
            if o != 1:
                self.factors.append(torch.zeros(channels, o, 1))

    def logits(self, x: Tensor) -> Tensor:
        """Logit of the cumulative at x: (C, 1, n) -> (C, 1, n)."""
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = F.softplus(matrix) @ x + bias
            if i < len(self.factors):
                x = x + torch.tanh(self.factors[i]) * torch.tanh(x)
        return x

    def bits(self, z: Tensor) -> Tensor:
        """Bits of noisy or rounded z (B, C, h, w), same shape, float32."""
        b, c, h, w = z.shape
        return (
            -torch.log2(_lower_bound(self.mass(z.permute(1, 0, 2, 3).reshape(c, 1, -1)), LIKELIHOOD_BOUND))
            .reshape(c, b, h, w)
            .permute(1, 0, 2, 3)
        )

    def mass(self, x: Tensor) -> Tensor:
        """Probability of [x - 1/2, x + 1/2], (C, 1, n) -> (C, 1, n)."""
        lower, upper = self.logits(x - 0.5), self.logits(x + 0.5)
        sign = -torch.sign(lower + upper).detach()
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()


class _LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient still pulls x up from below the bound."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return torch.where((x >= ctx.bound) | (grad < 0), grad, torch.zeros_like(grad)), None


def _lower_bound(x: Tensor, bound: float) -> Tensor:
    bounded: Tensor = _LowerBound.apply(x, bound)  # type: ignore[no-untyped-call]
    return bounded
