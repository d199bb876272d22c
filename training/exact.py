"""Quantisation-aware fine-tuning of the entropy part (`basic-train --exact`).

Forward and backward see the weights and activations as the integer networks will have them; the update goes to the
float weights (straight-through). Weights are rounded on the grid that the accumulator bound leaves to their output
channel, so a channel with a large L1 norm feels its coarser grid and learns to be small. Activations take the
coarsest steps that export uses (its calibrated ones are finer). Only h_s and the context learn; the transforms stay
as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .context import CLAMP, LATENT_CLAMP, OUTPUT_SCALE
from .model import Model

ACCUMULATOR_BITS = 22
OPERAND_LIMIT = 2047.0
UNSIGNED, SIGNED = 255.0, 127.0


def fine_tune_entropy(model: Model) -> None:
    """Freeze all but h_s and the context, and let their activations round."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for part in (model.h_s, model.context):
        part.exact = True
        for parameter in part.parameters():
            parameter.requires_grad_(True)


@contextmanager
def rounded_weights(model: Model) -> Iterator[None]:
    """Within: h_s and the context have their weights on the integer grids. Afterwards: the float ones again."""
    kept = [
        (parameter, parameter.detach().clone())
        for part in (model.h_s, model.context)
        for parameter in part.parameters()
    ]
    with torch.no_grad():
        for layer, max_input, step_in, step_out in _layers(model):
            layer.copy_(round_to_bound(layer, max_input, step_in, step_out))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)


def round_to_bound(weight: Tensor, max_input: float, step_in: float, step_out: float) -> Tensor:
    """Weights (o, ...) on the finest power-of-two grid with sum|w| max|x| < 2^22 (with a margin) and |w| < 2^11."""
    rows = weight.reshape(len(weight), -1).abs() * (step_in / step_out)
    room = 0.9 * 2.0**ACCUMULATOR_BITS / (rows.sum(1) * max_input + 1.0)
    limit = torch.minimum(room, OPERAND_LIMIT / rows.amax(1).clamp_min(1e-9))
    factor = torch.exp2(limit.log2().floor().clamp(max=20)) * (step_in / step_out)
    factor = factor.reshape(-1, *[1] * (weight.ndim - 1))
    return (weight * factor).round() / factor


def _layers(model: Model) -> Iterator[tuple[nn.Parameter, float, float, float]]:
    """Weight, largest input, and real value of an input and an output unit of every integer layer."""
    unsigned, signed, outputs = CLAMP / UNSIGNED, CLAMP / SIGNED, 1 / OUTPUT_SCALE
    h_s, context = model.h_s, model.context
    yield h_s.spread.weight, LATENT_CLAMP, 1.0, unsigned
    yield h_s.depthwise.weight, UNSIGNED, unsigned, unsigned
    yield h_s.up.weight, 2 * UNSIGNED, unsigned, signed  # the state's bound is shared with context.write
    yield context.read.weight, LATENT_CLAMP, 1.0, signed
    yield context.write, 2 * SIGNED, signed, signed
    yield context.first.weight, SIGNED, signed, unsigned
    yield context.depthwise.weight, UNSIGNED, unsigned, unsigned
    yield context.second.weight, UNSIGNED, unsigned, unsigned
    yield context.mean.weight, UNSIGNED, unsigned, outputs
    yield context.scale.weight, UNSIGNED, unsigned, outputs
