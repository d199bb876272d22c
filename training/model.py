"""The whole model in one readable file: one scalable codec, every width, every group plan, every rate.

    x -> g_a -> y * gain(q) -> h_a -> z -> round -> z_hat -> h_s -> S_0
                  |                                               |
                  +-> round(y - mean) + mean -> y_hat <- context: means, scale indexes, group by group
                                                  |
    x_hat <- g_s <- y_hat * inverse_gain(q) <-----+

Rounding in training (Minnen & Singh 2020): rates see additive uniform noise, everything downstream sees rounded values
whose gradient passes straight through.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..runtime.groups import Plan
from .context import Context, Hyper, pack, unpack
from .entropy import Factorized, gaussian_bits
from .layers import round_through
from .nodes import Architecture, Widths
from .start import latent_scales, start_as_transform, start_entropy
from .transforms import Analysis, HyperAnalysis, Synthesis

NUM_QUALITIES = 64


def quality_to_lambda(arch: Architecture, quality: Tensor) -> Tensor:
    """Quality 0..63 -> lambda (x 255^2 x MSE on 0..1), log-spaced over the range of the architecture."""
    return arch.lambda_min * (arch.lambda_max / arch.lambda_min) ** (quality / (NUM_QUALITIES - 1))


def _log_range(arch: Architecture) -> float:
    return math.log(arch.lambda_max / arch.lambda_min)


class Modulator(nn.Module):
    """Bit-rate modulator (Yin et al. 2022): quality -> two fully connected layers -> a positive gain per channel.

    Starts at gain = scale * sqrt(lambda / geometric mean of lambda) and learns the difference, apart for the inverse.
    """

    def __init__(self, scales: Tensor, log_range: float, hidden: int = 64) -> None:
        """`scales` (M,) of the latent's channels; `log_range` is log(lambda_max / lambda_min)."""
        super().__init__()
        self.log_range = log_range
        channels = len(scales)
        self.first = nn.Linear(1, hidden)
        self.second = nn.Linear(hidden, 2 * channels)
        nn.init.zeros_(self.second.weight)
        self.second.bias.data.copy_(torch.cat([scales.log(), -scales.log()]))

    def forward(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Quality (B,) in 0..63 -> gain and inverse gain, each (B, M, 1, 1), float32."""
        with torch.autocast(quality.device.type, enabled=False):
            position = quality.float()[:, None] / (NUM_QUALITIES - 1) * 2.0 - 1.0  # (B, 1) in -1..1
            start = position * (0.25 * self.log_range)
            up, down = self.second(torch.nn.functional.silu(self.first(position))).chunk(2, dim=1)
            return (start + up).exp()[:, :, None, None], (down - start).exp()[:, :, None, None]

    @torch.no_grad()
    def shift(self, slope: float, offset: float, log_range: float) -> None:
        """Give at position p what was given at slope p + offset, under another range of lambda; exact."""
        self.first.bias.add_(self.first.weight[:, 0] * offset)
        self.first.weight.mul_(slope)
        moved = torch.full((len(self.second.bias) // 2,), 0.25 * offset * self.log_range)
        self.second.bias.add_(torch.cat([moved, -moved]))
        self.log_range = log_range


@dataclass
class Output:
    """What one pass gives: x_hat (B, 3, H, W) and the bits of each image, (B,), of y and of z."""

    x_hat: Tensor
    y_bits: Tensor
    z_bits: Tensor


class Model(nn.Module):
    """The slimmable codec. `widths` names every node (nodes.py); parts read only their own."""

    def __init__(self, arch: Architecture | None = None) -> None:
        super().__init__()
        self.arch = arch or Architecture()
        self.g_a, self.g_s = Analysis(self.arch), Synthesis(self.arch)
        self.h_a = HyperAnalysis(self.arch)
        self.h_s = Hyper(self.arch)
        self.context = Context(self.arch)
        self.z_density = Factorized(self.arch.hyper_channels)
        self.modulator = Modulator(latent_scales(self.arch), _log_range(self.arch))
        start_as_transform(self.arch, self.g_a, self.g_s)
        start_entropy(self.arch, self.h_a, self.context)

    def set_lambda_range(self, lambda_min: float, lambda_max: float) -> None:
        """Let the qualities stand for another range of lambda; at every lambda the model stays what it was."""
        old, new = self.arch, replace(self.arch, lambda_min=lambda_min, lambda_max=lambda_max)
        slope = _log_range(new) / _log_range(old)
        offset = math.log(lambda_min * lambda_max / (old.lambda_min * old.lambda_max)) / _log_range(old)
        self.modulator.shift(slope, offset, _log_range(new))
        self.arch = new

    def forward(self, x: Tensor, quality: Tensor, widths: Widths, plan: Plan, hard: bool = False) -> Output:
        """Images (B, 3, H, W) in 0..1, sides multiples of 64; quality (B,). `hard` rounds for the rates too."""
        gain, inverse_gain = self.modulator(quality)
        y = self.g_a(x, widths) * gain
        z = self.h_a(y, widths)
        packed = pack(y)
        means, indexes, y_hat = self.context(self.h_s(round_through(z), widths), packed, plan, widths)
        with torch.autocast(x.device.type, enabled=False):
            if hard:
                y_bits = gaussian_bits(y_hat - means, indexes.round())
                z_bits = self.z_density.bits(z.round())
            else:
                y_bits = gaussian_bits(packed - means + torch.rand_like(packed) - 0.5, indexes)
                z_bits = self.z_density.bits(z + torch.rand_like(z) - 0.5)
        x_hat = self.g_s(unpack(y_hat) * inverse_gain, widths)
        return Output(x_hat, y_bits.flatten(1).sum(1), z_bits.flatten(1).sum(1))
