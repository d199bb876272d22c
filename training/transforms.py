"""The float transforms g_a, g_s and h_a: low resolution, 1x1 and depthwise, few kernels launched.

g_a: pixel-unshuffle by 8, 1x1 to the trunk at 1/8, blocks, 3x3 stride 2 to the trunk at 1/16, blocks, 1x1 to M.
g_s mirrors it; upsampling is 1x1 then pixel-shuffle. h_a: two 3x3 with stride 2 from 1/16 to 1/64.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import LEAKY_SLOPE, Block, Pointwise, Strided, Upsample, positionwise
from .nodes import Architecture, Widths

PIXEL_STRIDE = 8


def to_patches(x: Tensor) -> Tensor:
    """Pixel-unshuffle by 8 of images (B, 3, H, W) in 0..1 -> (B, 192, H/8, W/8) in -1..1, channels last in memory.

    In one pass: the order in memory that the convolutions want is the patches' own.
    """
    b, c, h, w = x.shape
    s = PIXEL_STRIDE
    patches = x.reshape(b, c, h // s, s, w // s, s).permute(0, 2, 4, 1, 3, 5).reshape(b, h // s, w // s, c * s * s)
    return patches.mul(2.0).sub_(1.0).permute(0, 3, 1, 2)


def from_patches(x: Tensor) -> Tensor:
    """Pixel-shuffle by 8: patches (B, 192, h, w) -> images (B, 3, 8 h, 8 w), float32."""
    b, c, h, w = x.shape
    s = PIXEL_STRIDE
    patches = x.permute(0, 2, 3, 1).reshape(b, h, w, c // s**2, s, s)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(b, c // s**2, h * s, w * s).float()


class _Trunks(nn.Module):
    """The blocks that g_a and g_s have in common."""

    def __init__(self, name: str, arch: Architecture) -> None:
        super().__init__()
        self.name = name
        residual_gain = 0.1 / (arch.num_blocks8 + arch.num_blocks16) ** 0.5

        def blocks(count: int, trunk: int, within: int) -> nn.ModuleList:
            return nn.ModuleList(Block(trunk, within, residual_gain, arch.gate_limit) for _ in range(count))

        self.blocks8 = blocks(arch.num_blocks8, arch.trunk8, arch.trunk8)
        self.blocks16 = blocks(arch.num_blocks16, arch.trunk16, arch.inner16)

    def run(self, scale: str, x: Tensor, widths: Widths) -> Tensor:
        for i, block in enumerate(self.blocks8 if scale == "8" else self.blocks16):
            prefix = f"{self.name}.block{scale}.{i}"
            x = block(x, widths[f"{prefix}.inner"], widths[f"{prefix}.ff"])
        return x


class Analysis(_Trunks):
    """g_a: image (B, 3, H, W) in 0..1 -> latent (B, M, H/16, W/16) before the gain; the last layer runs in float32."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__("g_a", arch)
        self.embed = Pointwise(3 * PIXEL_STRIDE**2, arch.trunk8)
        self.down = Strided(arch.trunk8, arch.trunk16)
        self.project = Pointwise(arch.trunk16, arch.latent_channels)

    def forward(self, x: Tensor, widths: Widths) -> Tensor:
        x = self.run("8", self.embed(to_patches(x), widths["g_a.trunk8"]), widths)
        x = self.run("16", self.down(x, widths["g_a.trunk16"]), widths)  # (B, T, H/16, W/16)
        with torch.autocast(x.device.type, enabled=False):
            return positionwise(x.float(), self.project.weight[:, : x.shape[1]], self.project.bias)


class Synthesis(_Trunks):
    """g_s: latent (B, M, H/16, W/16) after the inverse gain -> image (B, 3, H, W), not clipped, float32."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__("g_s", arch)
        self.embed = Pointwise(arch.latent_channels, arch.trunk16)
        self.up = Upsample(arch.trunk16, arch.trunk8, 2)
        self.project = Pointwise(arch.trunk8, 3 * PIXEL_STRIDE**2)

    def forward(self, y_hat: Tensor, widths: Widths) -> Tensor:
        with torch.autocast(y_hat.device.type, enabled=False):
            n = widths["g_s.trunk16"]
            x = positionwise(y_hat.float(), self.embed.weight[:n], self.embed.bias[:n])
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        x = self.up(self.run("16", x, widths), widths["g_s.trunk8"])  # (B, N, H/8, W/8)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.run("8", x, widths)
        # Patches in -1..1 become pixels in 0..1 within the last layer: a pass over every pixel less.
        weight, bias = self.project.weight[:, : x.shape[1]] * 0.5, self.project.bias * 0.5 + 0.5
        return from_patches(F.conv2d(x, weight[:, :, None, None], bias))


class HyperAnalysis(nn.Module):
    """h_a: latent with gain (B, M, H/16, W/16) -> hyper-latent (B, C, H/64, W/64), not rounded."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.first = Strided(arch.latent_channels, arch.hyper_width)
        self.second = Strided(arch.hyper_width, arch.hyper_channels)

    def forward(self, y: Tensor, widths: Widths) -> Tensor:
        h = F.leaky_relu(self.first(y, widths["h_a.inner"]), LEAKY_SLOPE)
        z: Tensor = self.second(h)
        return z.float()
