"""The parts of a level as ONNX graphs with fixed names: analysis, hyper, context_g0.., synthesis.

Two 1x1 convolutions and a product for the gate instead of one and a split: the split would copy both halves. hyper and
contexts come from the integer layers alone (what the entropy id covers), never from the float model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from ..runtime.groups import NUM_PHASES, Plan, group_channels
from ..runtime.layers import CLAMPS, LATENT_CLAMP, Layer, Layers
from ..training.layers import LEAKY_SLOPE
from ..training.model import Model
from ..training.nodes import Widths
from .slim import Conv, Cutter
from .to_onnx import Graph


@dataclass(frozen=True)
class PartFile:
    """One part ready to write: serialized graph, its number of parameters, and the stride of its first input."""

    name: str
    data: bytes
    num_parameters: int
    stride: int
    precision: str  # float, int8 (export/int8.py), or exact: the entropy part's integers in float32


def build_parts(
    model: Model, widths: Widths, plan: Plan, layers: Layers, int8: Mapping[str, Graph] | None = None
) -> list[PartFile]:
    """All parts of a level in the order in which they run; hyper and contexts from the integer layers.

    `int8`: 8-bit graphs of transforms by name (int8.py), which take the place of the float ones.
    """
    cut, int8 = Cutter(model, widths), int8 or {}
    found = []
    for name, build, stride in (("analysis", analysis_graph, 1), ("synthesis", synthesis_graph, 16)):
        graph, precision = (int8[name], "int8") if name in int8 else (build(cut), "float")
        found.append(PartFile(name, graph.serialize(), graph.num_parameters, stride, precision))
    entropy = [(hyper_graph(layers), 64)] + [(context_graph(layers, plan, g), 32) for g in range(len(plan))]
    found[1:1] = [PartFile(g.name, g.serialize(), g.num_parameters, stride, "exact") for g, stride in entropy]
    return found


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
        limit = cut.arch.gate_limit
        halves = [
            g.clip(_conv(g, x, f"{layer}.{half}", cut.pointwise(f"{layer}.{half}", ff, trunk)), -limit, limit)
            for half in ("value", "gate")
        ]
        product = g.add("Mul", halves)
        x = g.add("Add", [x, _conv(g, product, f"{layer}.project", cut.pointwise(f"{layer}.project", trunk, ff))])
    return x


def _blocks(g: Graph, cut: Cutter, x: str, name: str, scale: str) -> str:
    count = cut.arch.num_blocks8 if scale == "8" else cut.arch.num_blocks16
    trunk = cut.widths[f"{name}.trunk{scale}"]
    for i in range(count):
        x = _block(g, cut, x, f"{name}.block{scale}.{i}", f"{name}.blocks{scale}.{i}", trunk)
    return x


def analysis_graph(cut: Cutter) -> Graph:
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
    z = hyper_analysis(g, cut, y)
    g.output(y, "y", ["batch", arch.latent_channels, "height_16", "width_16"])
    g.output(z, "z", ["batch", arch.hyper_channels, "height_64", "width_64"])
    return g


def hyper_analysis(g: Graph, cut: Cutter, y: str) -> str:
    """h_a: y (B, M, H/16, W/16) -> z (B, C, H/64, W/64)."""
    inner = cut.widths["h_a.inner"]
    h = _leaky(g, _conv(g, y, "h_a.first", cut.spatial("h_a.first", inner), stride=2))
    return _conv(g, h, "h_a.second", cut.spatial("h_a.second", None, inner), stride=2)


def synthesis_graph(cut: Cutter) -> Graph:
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
    # The identity: a node that onnxruntime has in its blocked layout, so that the residual stream at 1/8 stays in it.
    # Without, every Add and Mul below goes through the plain layout and back: 49 ms instead of 41 at the full level.
    h = g.add("MaxPool", [h], kernel_shape=[1, 1])
    h = _blocks(g, cut, h, "g_s", "8")
    h = g.clip(_conv(g, h, "g_s.project", cut.project()), 0.0, 1.0)
    h = g.add("DepthToSpace", [h], blocksize=8, mode="CRD")
    g.output(h, "x_hat", ["batch", 3, "height", "width"])
    return g


def _integer(g: Graph, x: str, name: str, layer: Layer, depthwise: bool = False) -> str:
    """(acc + 2^(s-1) + 1/2) / 2^s of an integer layer, clamped and floored: exact, and half a unit from any edge.

    Clamping first lets engines fuse it with the convolution; the floor of a clamped value is the clamped floor.
    """
    half = np.ldexp(0.5, layer.shift.astype(np.int32)) + 0.5
    weight = layer.weight[:, None] if depthwise else layer.weight[:, :, None, None]
    h = g.integer_conv(x, name, weight, layer.bias.astype(np.float64) + half, layer.shift, depthwise)
    return g.add("Floor", [g.clip(h, *CLAMPS[name])])


def hyper_graph(layers: Layers) -> Graph:
    """z_hat (B, C, h, w) integers -> state (B, S, 2h, 2w), the integers of engine_oracle.state_out."""
    spread, depthwise, up = (layers[f"h_s.{name}"] for name in ("spread", "depthwise", "up"))
    g = Graph("hyper")
    z_hat = g.input("z_hat", ["batch", spread.weight.shape[1], "height_64", "width_64"])
    h = _integer(g, g.clip(z_hat, -LATENT_CLAMP, LATENT_CLAMP), "h_s.spread", spread)
    h = _integer(g, h, "h_s.depthwise", depthwise, depthwise=True)
    half = np.ldexp(0.5, up.shift.astype(np.int32)) + 0.5  # the state travels ready to be floored
    h = g.integer_conv(h, "h_s.up", up.weight[:, :, None, None], up.bias.astype(np.float64) + half, up.shift)
    h = g.add("DepthToSpace", [h], blocksize=2, mode="CRD")
    g.output(h, "state", ["batch", len(up.weight) // 4, "height_32", "width_32"])
    return g


def context_graph(layers: Layers, plan: Plan, group: int) -> Graph:
    """state (and y_hat of the group before) -> means (eighths, int16), indexes (uint8), and state_out for the next."""
    write = layers["context.write"]
    num_state, num_packed = len(write.shift), len(layers["context.read"].weight)
    g = Graph(f"context_g{group}")
    space = ["height_32", "width_32"]
    state = g.input("state", ["batch", num_state, *space])
    if group:
        channels = group_channels(plan[group - 1], num_packed // NUM_PHASES)
        y_hat = g.input("y_hat", ["batch", len(channels), *space])
        whole = g.add("Floor", [g.add("Add", [y_hat, g.constant(np.array(0.5, np.float32))])])
        h = g.clip(whole, -LATENT_CLAMP, LATENT_CLAMP)
        h = _integer(g, h, "context.read", layers["context.read"].rows(channels), depthwise=True)
        bias = write.bias[list(plan[group - 1])].sum(0, dtype=np.int64).astype(np.float64)
        h = g.integer_conv(h, "context.write", write.weight[:, channels, None, None], bias, write.shift)
        state = g.add("Add", [state, h])
    h = g.add("Floor", [g.clip(state, *CLAMPS["context.state"])])
    h = _integer(g, h, "context.first", layers["context.first"])
    h = _integer(g, h, "context.depthwise", layers["context.depthwise"], depthwise=True)
    h = _integer(g, h, "context.second", layers["context.second"])
    channels = group_channels(plan[group], num_packed // NUM_PHASES)
    for layer, name, dtype in (("mean", "means", TensorProto.INT16), ("scale", "indexes", TensorProto.UINT8)):
        value = _integer(g, h, f"context.{layer}", layers[f"context.{layer}"].rows(channels))
        g.output(g.add("Cast", [value], to=dtype), name, ["batch", len(channels), *space], dtype)
    if 0 < group < len(plan) - 1:
        g.output(state, "state_out", ["batch", num_state, *space])
    return g
