"""hyper and contexts as float ONNX graphs: what the integer ones are measured against. No bundle holds them."""

from onnx import TensorProto

from ..runtime.groups import Plan, group_channels
from ..runtime.layers import INDEX_CLAMP, MEAN_CLAMP
from ..training.context import CLAMP, LATENT_CLAMP
from .slim import Conv, Cutter
from .to_onnx import Graph


def _conv(g: Graph, x: str, name: str, conv: Conv, low: float, high: float, depthwise: bool = False) -> str:
    return g.clip(g.conv(x, name, conv.weight, conv.bias, group=len(conv.weight) if depthwise else 1), low, high)


def float_hyper_graph(cut: Cutter) -> Graph:
    """z_hat (B, C, h, w) -> state (B, S, 2h, 2w)."""
    w = cut.widths
    g = Graph("hyper")
    z_hat = g.input("z_hat", ["batch", cut.arch.hyper_channels, "height_64", "width_64"])
    h = g.clip(z_hat, -LATENT_CLAMP, LATENT_CLAMP)
    h = _conv(g, h, "h_s.spread", cut.pointwise("h_s.spread", w["h_s.inner"], None), 0.0, CLAMP)
    h = _conv(g, h, "h_s.depthwise", cut.spatial("h_s.depthwise", w["h_s.inner"]), 0.0, CLAMP, depthwise=True)
    up = cut.pointwise("h_s.up", 4 * w["context.state"], w["h_s.inner"])
    h = g.add("DepthToSpace", [g.conv(h, "h_s.up", up.weight, up.bias)], blocksize=2, mode="CRD")
    g.output(h, "state", ["batch", w["context.state"], "height_32", "width_32"])
    return g


def float_context_graph(cut: Cutter, plan: Plan, group: int) -> Graph:
    """state (and y_hat of the group before) -> means (int16 eighths), indexes (uint8), and state_out for the next."""
    w = cut.widths
    num_state, inner, latents = w["context.state"], w["context.inner"], cut.arch.latent_channels
    g = Graph(f"context_g{group}")
    space = ["height_32", "width_32"]
    state = g.input("state", ["batch", num_state, *space])
    if group:
        y_hat = g.input("y_hat", ["batch", len(group_channels(plan[group - 1], latents)), *space])
        read, write = cut.update(plan, group - 1)
        h = g.clip(g.add("Round", [y_hat]), -LATENT_CLAMP, LATENT_CLAMP)
        h = _conv(g, h, "context.read", read, -CLAMP, CLAMP, depthwise=True)
        state = g.add("Add", [state, g.conv(h, "context.write", write.weight, write.bias)])
    h = g.clip(state, -CLAMP, CLAMP)
    h = _conv(g, h, "context.first", cut.pointwise("context.first", inner, num_state), 0.0, CLAMP)
    h = _conv(g, h, "context.depthwise", cut.spatial("context.depthwise", inner), 0.0, CLAMP, depthwise=True)
    h = _conv(g, h, "context.second", cut.pointwise("context.second", inner, inner), 0.0, CLAMP)
    mean, scale = cut.heads(plan, group)
    size = len(group_channels(plan[group], latents))
    for conv, name, high, dtype in (
        (mean, "means", MEAN_CLAMP, TensorProto.INT16),
        (scale, "indexes", INDEX_CLAMP, TensorProto.UINT8),
    ):
        value = _conv(g, h, f"context.{name}", conv, -high if name == "means" else 0, high)
        g.output(g.add("Cast", [g.add("Round", [value])], to=dtype), name, ["batch", size, *space], dtype)
    if 0 < group < len(plan) - 1:
        g.output(state, "state_out", ["batch", num_state, *space])
    return g
