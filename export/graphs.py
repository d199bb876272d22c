"""The parts of a level as ONNX graphs with fixed names: analysis, hyper, context_g0.., synthesis.

Two 1x1 convolutions and a product for the gate instead of one and a split: the split would copy both halves.
"""

from dataclasses import dataclass

from onnx import TensorProto

from ..runtime.groups import NUM_SLICES, Plan
from ..training.context import CLAMP, LATENT_CLAMP
from ..training.entropy import NUM_SCALES
from ..training.layers import LEAKY_SLOPE
from ..training.model import Model
from ..training.nodes import Widths
from .slim import Conv, Cutter
from .to_onnx import Graph

MEAN_LIMIT = 16383.0  # eighths; keeps 8 * symbol + mean far inside int32


@dataclass(frozen=True)
class PartFile:
    """One part ready to write: serialized graph, its number of parameters, and the stride of its first input."""

    name: str
    data: bytes
    num_parameters: int
    stride: int


def build_parts(model: Model, widths: Widths, plan: Plan) -> list[PartFile]:
    """All parts of a level in the order in which they run."""
    cut = Cutter(model, widths)
    graphs = [(_analysis(cut), 1), (_hyper(cut), 64)]
    graphs += [(_context(cut, plan, g), 32) for g in range(len(plan))]
    graphs.append((_synthesis(cut), 16))
    return [PartFile(g.name, g.serialize(), g.num_parameters, stride) for g, stride in graphs]


def _conv(g: Graph, x: str, name: str, conv: Conv, stride: int = 1, depthwise: bool = False) -> str:
    return g.conv(x, name, conv.weight, conv.bias, stride, group=len(conv.weight) if depthwise else 1)


def _leaky(g: Graph, x: str) -> str:
    return g.add("LeakyRelu", [x], alpha=LEAKY_SLOPE)


def _block(g: Graph, cut: Cutter, x: str, node: str, layer: str, trunk: int) -> str:
    """One residual block; a half of width 0 leaves no trace."""
    inner, ff = cut.widths[f"{node}.inner"], cut.widths[f"{node}.ff"]
    if inner:
        h = _leaky(g, _conv(g, x, f"{layer}.spread", cut.pointwise(f"{layer}.spread", inner, trunk)))
        h = _conv(g, h, f"{layer}.depthwise", cut.spatial(f"{layer}.depthwise", inner), depthwise=True)
        x = g.add("Add", [x, _conv(g, h, f"{layer}.merge", cut.pointwise(f"{layer}.merge", trunk, inner))])
    if ff:
        value = _conv(g, x, f"{layer}.value", cut.pointwise(f"{layer}.value", ff, trunk))
        gate = _conv(g, x, f"{layer}.gate", cut.pointwise(f"{layer}.gate", ff, trunk))
        product = g.add("Mul", [value, gate])
        x = g.add("Add", [x, _conv(g, product, f"{layer}.project", cut.pointwise(f"{layer}.project", trunk, ff))])
    return x


def _blocks(g: Graph, cut: Cutter, x: str, name: str, scale: str) -> str:
    count = cut.arch.num_blocks8 if scale == "8" else cut.arch.num_blocks16
    trunk = cut.widths[f"{name}.trunk{scale}"]
    for i in range(count):
        x = _block(g, cut, x, f"{name}.block{scale}.{i}", f"{name}.blocks{scale}.{i}", trunk)
    return x


def _analysis(cut: Cutter) -> Graph:
    """x (B, 3, H, W) in 0..1, gain (1, M, 1, 1) -> y (B, M, H/16, W/16), z (B, C, H/64, W/64)."""
    arch, w = cut.arch, cut.widths
    g = Graph("analysis")
    x = g.input("x", ["batch", 3, "height", "width"])
    gain = g.input("gain", [1, arch.latent_channels, 1, 1])
    h = _conv(g, x, "g_a.embed", cut.embed(), stride=8)
    h = _blocks(g, cut, h, "g_a", "8")
    h = _conv(g, h, "g_a.down", cut.spatial("g_a.down", w["g_a.trunk16"], w["g_a.trunk8"]), stride=2)
    h = _blocks(g, cut, h, "g_a", "16")
    y = g.add("Mul", [_conv(g, h, "g_a.project", cut.pointwise("g_a.project", None, w["g_a.trunk16"])), gain])
    h = _leaky(g, _conv(g, y, "h_a.first", cut.spatial("h_a.first", w["h_a.inner"]), stride=2))
    z = _conv(g, h, "h_a.second", cut.spatial("h_a.second", None, w["h_a.inner"]), stride=2)
    g.output(y, "y", ["batch", arch.latent_channels, "height_16", "width_16"])
    g.output(z, "z", ["batch", arch.hyper_channels, "height_64", "width_64"])
    return g


def _synthesis(cut: Cutter) -> Graph:
    """y_hat (B, M, H/16, W/16), inverse_gain (1, M, 1, 1) -> x_hat (B, 3, H, W) clipped to 0..1."""
    arch, w = cut.arch, cut.widths
    g = Graph("synthesis")
    y_hat = g.input("y_hat", ["batch", arch.latent_channels, "height_16", "width_16"])
    inverse_gain = g.input("inverse_gain", [1, arch.latent_channels, 1, 1])
    h = g.add("Mul", [y_hat, inverse_gain])
    h = _conv(g, h, "g_s.embed", cut.pointwise("g_s.embed", w["g_s.trunk16"], None))
    h = _blocks(g, cut, h, "g_s", "16")
    h = _conv(g, h, "g_s.up", cut.pointwise("g_s.up", 4 * w["g_s.trunk8"], w["g_s.trunk16"]))
    h = g.add("DepthToSpace", [h], blocksize=2, mode="CRD")
    h = _blocks(g, cut, h, "g_s", "8")
    h = g.clip(_conv(g, h, "g_s.project", cut.project()), 0.0, 1.0)
    h = g.add("DepthToSpace", [h], blocksize=8, mode="CRD")
    g.output(h, "x_hat", ["batch", 3, "height", "width"])
    return g


def _hyper(cut: Cutter) -> Graph:
    """z_hat (B, C, h, w) integers -> state (B, S, 2h, 2w)."""
    w = cut.widths
    g = Graph("hyper")
    h = g.clip(
        g.input("z_hat", ["batch", cut.arch.hyper_channels, "height_64", "width_64"]), -LATENT_CLAMP, LATENT_CLAMP
    )
    h = g.clip(_conv(g, h, "h_s.spread", cut.pointwise("h_s.spread", w["h_s.inner"], None)), 0.0, CLAMP)
    h = g.clip(_conv(g, h, "h_s.depthwise", cut.spatial("h_s.depthwise", w["h_s.inner"]), depthwise=True), 0.0, CLAMP)
    h = _conv(g, h, "h_s.up", cut.pointwise("h_s.up", 4 * w["context.state"], w["h_s.inner"]))
    h = g.add("DepthToSpace", [h], blocksize=2, mode="CRD")
    g.output(h, "state", ["batch", w["context.state"], "height_32", "width_32"])
    return g


def _context(cut: Cutter, plan: Plan, group: int) -> Graph:
    """state (and y_hat of the group before) -> means (eighths, int16), indexes (uint8), and state_out for the next."""
    w = cut.widths
    num_state, inner = w["context.state"], w["context.inner"]
    g = Graph(f"context_g{group}")
    space = ["height_32", "width_32"]
    state = g.input("state", ["batch", num_state, *space])
    if group:
        y_hat = g.input("y_hat", ["batch", _num_channels(cut, plan, group - 1), *space])
        read, write = cut.update(plan, group - 1)
        h = g.clip(g.add("Round", [y_hat]), -LATENT_CLAMP, LATENT_CLAMP)
        h = g.clip(_conv(g, h, "context.read", read, depthwise=True), -CLAMP, CLAMP)
        state = g.add("Add", [state, _conv(g, h, "context.write", write)])
    h = g.clip(state, -CLAMP, CLAMP)
    h = g.clip(_conv(g, h, "context.first", cut.pointwise("context.first", inner, num_state)), 0.0, CLAMP)
    h = g.clip(_conv(g, h, "context.depthwise", cut.spatial("context.depthwise", inner), depthwise=True), 0.0, CLAMP)
    h = g.clip(_conv(g, h, "context.second", cut.pointwise("context.second", inner, inner)), 0.0, CLAMP)
    mean, scale = cut.heads(plan, group)
    means = g.clip(_conv(g, h, "context.mean", mean), -MEAN_LIMIT, MEAN_LIMIT)
    indexes = g.clip(_conv(g, h, "context.scale", scale), 0.0, NUM_SCALES - 1.0)
    size = _num_channels(cut, plan, group)
    for value, name, dtype in ((means, "means", TensorProto.INT16), (indexes, "indexes", TensorProto.UINT8)):
        g.output(g.add("Cast", [g.add("Round", [value])], to=dtype), name, ["batch", size, *space], dtype)
    if 0 < group < len(plan) - 1:
        g.output(state, "state_out", ["batch", num_state, *space])
    return g


def _num_channels(cut: Cutter, plan: Plan, group: int) -> int:
    return len(plan[group]) * cut.arch.latent_channels // NUM_SLICES
