"""Where training starts: g_a and g_s as a block DCT with a Haar step, so that the first step already is a codec.

Why: with random weights the rate term silences most latent channels before the distortion has found a use for them,
and a silent channel (always rounded to zero) never comes back: 150 of 192 were lost within 2000 steps, and
reconstruction stayed below 29 dB at any rate. Starting from a transform keeps them all, in the order of their energy,
which is also the order in which slimming drops them.
"""

import math

import torch
from torch import Tensor

from ..runtime.groups import NUM_PHASES
from .context import OUTPUT_SCALE, Context
from .entropy import LOG_SCALE_STEP, SCALE_MIN
from .nodes import Architecture
from .transforms import PIXEL_STRIDE, Analysis, HyperAnalysis, Synthesis

# Relative standard deviations of the three opponent colours, and of coefficients over frequency, in photographs.
COLOUR_STD = (1.0, 0.22, 0.12)
FREQUENCY_FALL = 0.9  # std ~ (1 + u^2 + v^2)^-FREQUENCY_FALL
DC_STD = 7.0  # of the luma mean of a block on -1..1, orthonormal
LATENT_STEP = 0.14  # step in orthonormal units on -1..1 that the middle quality wants
OPPONENT = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, 0.0, -(2**-0.5)), (6**-0.5, -2 * 6**-0.5, 6**-0.5))


def dct_basis(count: int) -> tuple[Tensor, Tensor]:
    """The `count` strongest coefficients of colour x 8x8 DCT: orthonormal rows (count, 192), model stds (count,)."""
    size = PIXEL_STRIDE
    n = torch.arange(size, dtype=torch.float64)
    cosines = torch.cos(math.pi * (2 * n[None] + 1) * n[:, None] / (2 * size)) * math.sqrt(2 / size)
    cosines[0] /= math.sqrt(2)
    rows = torch.einsum("kc,uy,vx->kuvcyx", torch.tensor(OPPONENT, dtype=torch.float64), cosines, cosines)
    frequency = 1 + n[:, None] ** 2 + n[None] ** 2
    stds = torch.tensor(COLOUR_STD, dtype=torch.float64)[:, None, None] * DC_STD * frequency[None] ** -FREQUENCY_FALL
    order = stds.reshape(-1).argsort(descending=True)[:count]
    return rows.reshape(3 * size**2, -1)[order].float(), stds.reshape(-1)[order].float()


def latent_scales(arch: Architecture) -> Tensor:
    """What a whitened latent is multiplied by to stand in steps of the middle quality, (M,).

    It goes into the modulator's gains: were it in the weights of g_a's last and g_s's first layer, columns of 1/50
    would stand beside columns of 1 there, and the optimizer's steps, equal for all, would drown the small ones.
    """
    num_kept = min(arch.trunk16, arch.latent_channels) // 4
    scales = torch.ones(arch.latent_channels)
    scales[: 4 * num_kept] = (dct_basis(arch.trunk8)[1][:num_kept] / LATENT_STEP).repeat_interleave(4)
    return scales


@torch.no_grad()
def start_as_transform(arch: Architecture, g_a: Analysis, g_s: Synthesis) -> None:
    """Set the first, middle and last layers: pixels -> whitened DCT -> 2x2 Haar -> whitened latent, and back."""
    basis, stds = dct_basis(arch.trunk8)
    g_a.embed.weight.copy_(basis / stds[:, None])
    g_s.project.weight.copy_((basis * stds[:, None]).T)
    haar = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0  # (band, 2 dy + dx)
    num_kept = min(arch.trunk16, arch.latent_channels) // 4
    for layer in (g_a.down, g_a.project, g_s.embed, g_s.up):
        layer.weight.zero_()
    for j in range(num_kept):
        for band in range(4):
            k = 4 * j + band
            g_a.down.weight[k, j, 1:, 1:] += haar[band].reshape(2, 2)
            g_s.up.weight[4 * j : 4 * j + 4, k] += haar[band]
            g_a.project.weight[k, k] += 1.0
            g_s.embed.weight[k, k] += 1.0


@torch.no_grad()
def start_entropy(arch: Architecture, h_a: HyperAnalysis, context: Context) -> None:
    """Fit the entropy networks to the latent's scales: what they read is about 1, what they predict about its size.

    The clamps of the integer networks allow no large activations, while the latent's first channels have standard
    deviations of 50 and more.
    """
    scales = latent_scales(arch).clamp_min(1.0)
    h_a.first.weight.div_(scales[None, :, None, None])
    packed = scales.repeat(NUM_PHASES)  # phase-major
    context.read.weight.div_(packed[:, None, None, None])
    context.mean.weight.mul_(packed[:, None])
    context.scale.bias.copy_((packed / SCALE_MIN).log() / LOG_SCALE_STEP / OUTPUT_SCALE)
