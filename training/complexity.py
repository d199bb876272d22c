"""Multiplications per image pixel of every part, in closed form from the widths and the plan.

Counted: every multiplication of convolutions, depthwise and per-group context ones included; biases, gates and gains
are not. Export counts the same from the ONNX graphs and refuses to differ.
"""

from ..runtime.groups import NUM_PHASES, NUM_SLICES, Plan
from .nodes import Architecture, Widths
from .transforms import PIXEL_STRIDE

PATCH = 3 * PIXEL_STRIDE**2


def _blocks(widths: Widths, name: str, scale: str, count: int, trunk: int) -> float:
    area = int(scale) ** 2
    total = 0
    for i in range(count):
        inner, ff = widths[f"{name}.block{scale}.{i}.inner"], widths[f"{name}.block{scale}.{i}.ff"]
        total += 2 * trunk * inner + 9 * inner + 3 * trunk * ff
    return total / area


def analysis_macs(arch: Architecture, widths: Widths) -> float:
    """g_a and h_a, multiplications per pixel."""
    n, t, h = widths["g_a.trunk8"], widths["g_a.trunk16"], widths["h_a.inner"]
    blocks = _blocks(widths, "g_a", "8", arch.num_blocks8, n) + _blocks(widths, "g_a", "16", arch.num_blocks16, t)
    convolutions = PATCH * n / 64 + (9 * n * t + t * arch.latent_channels) / 256
    return blocks + convolutions + 9 * arch.latent_channels * h / 1024 + 9 * h * arch.hyper_channels / 4096


def synthesis_macs(arch: Architecture, widths: Widths) -> float:
    """g_s, multiplications per pixel."""
    n, t = widths["g_s.trunk8"], widths["g_s.trunk16"]
    blocks = _blocks(widths, "g_s", "8", arch.num_blocks8, n) + _blocks(widths, "g_s", "16", arch.num_blocks16, t)
    return blocks + (arch.latent_channels * t + t * 4 * n) / 256 + n * PATCH / 64


def hyper_macs(arch: Architecture, widths: Widths) -> float:
    """h_s, multiplications per pixel."""
    a, s = widths["h_s.inner"], widths["context.state"]
    return (arch.hyper_channels * a + 9 * a + a * 4 * s) / 4096


def context_macs(arch: Architecture, widths: Widths, plan: Plan) -> list[float]:
    """Each group's engine: the state's update by the group before, then the head; multiplications per pixel."""
    s, k = widths["context.state"], widths["context.inner"]
    sizes = [len(group) * arch.latent_channels // NUM_SLICES for group in plan]
    assert sum(sizes) == NUM_PHASES * arch.latent_channels
    found = []
    for g, size in enumerate(sizes):
        update = sizes[g - 1] * (9 + s) if g else 0
        found.append((update + s * k + 9 * k + k * k + 2 * k * size) / 1024)
    return found


def part_macs(arch: Architecture, widths: Widths, plan: Plan) -> dict[str, float]:
    """Part name -> multiplications per pixel, in the order in which parts run."""
    found = {"analysis": analysis_macs(arch, widths), "hyper": hyper_macs(arch, widths)}
    found |= {f"context_g{g}": macs for g, macs in enumerate(context_macs(arch, widths, plan))}
    return found | {"synthesis": synthesis_macs(arch, widths)}


def total_macs(arch: Architecture, widths: Widths, plan: Plan) -> float:
    """All parts of a level together, multiplications per pixel."""
    return sum(part_macs(arch, widths, plan).values())
