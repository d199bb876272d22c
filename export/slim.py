"""Cut a level out of the slimmable model: contiguous arrays of exactly the channels that the level uses.

Scalings that would cost a pass over an image or a latent are folded here: 2x - 1 of the input and (x + 1) / 2 of the
output into the first and last layer, eighths and index units into the head's last one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..runtime.groups import Plan, group_channels
from ..training.context import OUTPUT_SCALE
from ..training.model import Model
from ..training.nodes import Widths
from ..training.transforms import PIXEL_STRIDE

Array = NDArray[Any]


@dataclass(frozen=True)
class Conv:
    """Weights (o, i / groups, k, k) and biases (o,) of one convolution, float32."""

    weight: Array
    bias: Array


class Cutter:
    """Reads a model's weights and gives each layer cut to one level's widths."""

    def __init__(self, model: Model, widths: Widths) -> None:
        self.arch, self.widths = model.arch, widths
        self.weights = {name: tensor.detach().float().numpy() for name, tensor in model.state_dict().items()}

    def pointwise(self, name: str, out: int | None, inp: int | None) -> Conv:
        weight = self.weights[f"{name}.weight"][:out, :inp]
        return Conv(weight[:, :, None, None], self.weights[f"{name}.bias"][:out])

    def spatial(self, name: str, out: int | None, inp: int | None = None) -> Conv:
        return Conv(self.weights[f"{name}.weight"][:out, :inp], self.weights[f"{name}.bias"][:out])

    def embed(self) -> Conv:
        """Pixel-unshuffle by 8 and 1x1 as one 8x8 convolution with stride 8; takes x in 0..1 instead of -1..1."""
        conv = self.pointwise("g_a.embed", self.widths["g_a.trunk8"], None)
        weight = conv.weight.reshape(-1, 3, PIXEL_STRIDE, PIXEL_STRIDE)
        return Conv(weight * 2.0, conv.bias - weight.sum(axis=(1, 2, 3)))

    def project(self) -> Conv:
        """The last 1x1 of g_s, giving 0..1 instead of -1..1."""
        conv = self.pointwise("g_s.project", None, self.widths["g_s.trunk8"])
        return Conv(conv.weight * 0.5, conv.bias * 0.5 + 0.5)

    def heads(self, plan: Plan, group: int) -> tuple[Conv, Conv]:
        """Last layers of a group: means in eighths and scale indexes."""
        channels = group_channels(plan[group], self.arch.latent_channels)
        found = []
        for name in ("context.mean", "context.scale"):
            conv = self.pointwise(name, None, self.widths["context.inner"])
            found.append(Conv(conv.weight[channels] * OUTPUT_SCALE, conv.bias[channels] * OUTPUT_SCALE))
        return found[0], found[1]

    def update(self, plan: Plan, group: int) -> tuple[Conv, Conv]:
        """Reading (depthwise) and writing (1x1 into the state) of a decoded group."""
        channels = group_channels(plan[group], self.arch.latent_channels)
        state = self.widths["context.state"]
        read = Conv(self.weights["context.read.weight"][channels], self.weights["context.read.bias"][channels])
        bias = self.weights["context.write_bias"][list(plan[group]), :state].sum(0)
        return read, Conv(self.weights["context.write"][:state, channels, None, None], bias)


def gain_tables(model: Model) -> tuple[Array, Array]:
    """The modulator as tables: gain and inverse gain, each (64, M) float32."""
    from ..training.model import NUM_QUALITIES

    with torch.no_grad():
        gain, inverse = model.modulator(torch.arange(NUM_QUALITIES, dtype=torch.float32))
    return gain[:, :, 0, 0].numpy(), inverse[:, :, 0, 0].numpy()


def z_pmfs(model: Model, reach: int = 128) -> Array:
    """Probabilities of z_hat = -reach .. reach for each channel, (C, 2 reach + 1) float64."""
    density = model.z_density.double()
    values = torch.arange(-reach, reach + 1, dtype=torch.float64)
    with torch.no_grad():
        mass = density.mass(values.expand(model.arch.hyper_channels, 1, -1))[:, 0]
    model.z_density.float()
    return np.asarray(mass.numpy(), np.float64)
