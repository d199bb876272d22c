"""Transforms in 8-bit integers: the same parts in ONNX's quantise/dequantise form, for processors that multiply int8.

What a newcomer gets wrong: the residual stream stays in float32. Each branch reads it through 8 bits and adds a float
result, so rounding never piles up along the trunk; an int8 trunk costs 9 dB. Activations have one scale for a tensor,
so channels are first brought to equal ranges and the weights beside them take up the factors (cross-layer
equalisation, Nagel et al. 2019; SmoothQuant, Xiao et al. 2023): a leaky ReLU, a depthwise convolution and a product
all pass a positive factor per channel. Weights are as fine as no sum of two neighbouring products can leave the 16
bits in which AVX2 adds them, so old and new processors see the same sums: 8 bits for most, 7 where two large weights
stand side by side.

The trunk lies channels last: 1x1 layers that write to it are matrix products with float output, and no layout changes
inside a block. Biases of these layers go to whoever reads the trunk next.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper

from ..training.data import to_tensor
from ..training.graphics import shapes, text
from ..training.layers import LEAKY_SLOPE
from ..training.model import Model
from ..training.nodes import Widths
from .graphs import analysis_graph, hyper_analysis, synthesis_graph
from .slim import Conv, Cutter
from .to_onnx import Graph

Floats = NDArray[np.float64]

WEIGHT_LIMIT = 127  # of a weight, and of two neighbours together: 255 x (127 + 1, by rounding) is below 2^15
LEVELS = 255
CALIBRATION_QUALITIES = (0.0, 24.0, 48.0, 63.0)
SMALL_SIDES = (64, 64, 48, 32, 32, 16, 16, 8, 4, 1)
"""Of small pictures to calibrate on: borders are most of what they have."""
TRUNK_EXPONENT = 0.85  # of a trunk channel's range that equalisation takes out; 1 would leave its weights too uneven
SMALLEST_RANGE = 1e-4
# Of the ranges seen, what 8 bits cover of a layer's input and output: rare extremes may saturate, all other values get
# finer steps. What loses least on photographs that ranges were not measured on; of the analysis all, since there a
# saturated value stays wrong at the highest qualities.
COVERED: dict[str, dict[str, tuple[float, float]]] = {
    "g_s": {
        "spread": (0.85, 0.94),
        "depthwise": (1.1, 0.95),
        "value": (0.8, 0.6),
        "gate": (0.8, 0.8),
        "project": (0.45, 1.0),
    },
}
COVERED_ELSEWHERE = (1.05, 1.05)
# Drawings reach further than photographs. In the analysis some room for them costs photographs nothing; in the
# synthesis it costs least in what is limited anyway.
WIDENED = 1.5
WIDER_LAYERS = {
    "analysis": ("spread", "depthwise", "merge", "value", "gate", "project"),
    "synthesis": ("value", "gate"),
}
NEIGHBOURS = 0.8  # correlation of the nine values that a depthwise convolution weighs, about
LARGER_STEPS = (1.0, 1.02, 1.05, 1.08, 1.1, 1.15, 1.2)  # tried for its weights, times the least
NARROWEST = 96  # trunk channels at 1/8 below which conversions cost what the cheaper products save
CHOICES = {"none": (), "synthesis": ("synthesis",), "transforms": ("analysis", "synthesis")}


@dataclass(frozen=True)
class Range:
    """Lowest and highest value of every channel of a tensor, (C,) float64 each."""

    low: Floats
    high: Floats

    @property
    def largest(self) -> Floats:
        return np.maximum(np.maximum(self.high, -self.low), SMALLEST_RANGE)

    def scaled(self, factor: Floats | float, shift: Floats | float = 0.0) -> "Range":
        return Range(self.low * factor + shift, self.high * factor + shift)

    def within(self, limit: float) -> "Range":
        return Range(np.maximum(self.low, -limit), np.minimum(self.high, limit))

    def clipped(self, other: "Range") -> "Range":
        return Range(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def union(self, other: "Range") -> "Range":
        return Range(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


Ranges = Mapping[str, tuple[Range, Range]]  # layer -> its input and its output


@torch.no_grad()
def transform_feeds(
    model: Model, widths: Widths, images: Iterable[torch.Tensor]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What analysis and synthesis read for images (1, 3, H, W) at several qualities; y_hat is the rounded y."""
    analysis, synthesis = [], []
    for x in images:
        for quality in CALIBRATION_QUALITIES:
            gain, inverse_gain = model.modulator(torch.tensor([quality]))
            y_hat = (model.g_a(x, widths) * gain).round()
            analysis.append({"x": x.numpy(), "gain": gain.numpy()})
            synthesis.append({"y_hat": y_hat.numpy(), "inverse_gain": inverse_gain.numpy()})
    return analysis, synthesis


def measure_ranges(graph: Graph, feeds: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Range, Range]]:
    """Per channel, the range of every convolution's input and output over all feeds of a float graph."""
    layers = graph.convolutions
    named = {value.name for value in graph.inputs}
    wanted = sorted({value for pair in layers.values() for value in pair} - named)
    model = onnx.load_from_string(graph.serialize())
    there = {value.name for value in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted if name not in there)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, Range] = {}
    for feed in feeds:
        values = dict(zip(wanted, session.run(wanted, dict(feed)), strict=True))
        for name, value in (values | {name: feed[name] for name in named}).items():
            seen = Range(value.min(axis=(0, 2, 3)).astype(np.float64), value.max(axis=(0, 2, 3)).astype(np.float64))
            found[name] = found[name].union(seen) if name in found else seen
    return {layer: (found[a], found[b]) for layer, (a, b) in layers.items()}


def _covered(ranges: Ranges) -> Ranges:
    """Of the ranges seen, what 8 bits are spread over."""
    share = {layer: COVERED.get(layer[:3], {}).get(layer.rsplit(".", 1)[-1], COVERED_ELSEWHERE) for layer in ranges}
    return {layer: (a.scaled(share[layer][0]), b.scaled(share[layer][1])) for layer, (a, b) in ranges.items()}


class Int8Trunk:
    """Writes the residual blocks of one trunk. Values named `x` are the trunk over `scale`, less `debt`."""

    def __init__(self, g: Graph, cut: Cutter, ranges: Ranges, node: str, layer: str, count: int, trunk: int) -> None:
        self.g, self.cut, self.ranges = g, cut, ranges
        self.node, self.layer, self.count, self.trunk = node, layer, count, trunk
        largest = np.full(trunk, SMALLEST_RANGE)
        for i in range(count):
            for reader in ("spread", "value"):
                if f"{layer}.{i}.{reader}" in ranges:
                    largest = np.maximum(largest, ranges[f"{layer}.{i}.{reader}"][0].largest)
        self.scale = _normalised(largest**TRUNK_EXPONENT)
        self.debt = np.zeros(trunk)  # biases not yet added, in units of `scale`

    def entering(self, conv: Conv) -> Conv:
        """A layer that makes the trunk: its rows over `scale`."""
        scale = self.scale
        return Conv(conv.weight / scale[:, None, None, None], conv.bias / scale)

    def leaving(self, conv: Conv) -> Conv:
        """A layer that reads the trunk: columns times `scale`, the debt paid by its bias."""
        weight = conv.weight * self.scale[None, :, None, None]
        return Conv(weight, conv.bias + weight.sum(axis=(2, 3)) @ self.debt)

    def settle(self, x: str) -> str:
        """Add the debt to the trunk."""
        owed, self.debt = self.debt.astype(np.float32), np.zeros(self.trunk)
        return self.g.add("Add", [x, self.g.constant(owed)])

    def blocks(self, x: str) -> str:
        """All blocks on x (B, h, w, trunk), float32."""
        for i in range(self.count):
            node, layer = f"{self.node}.{i}", f"{self.layer}.{i}"
            if self.cut.widths[f"{node}.inner"]:
                x = self._first_half(x, layer, self.cut.widths[f"{node}.inner"])
            if self.cut.widths[f"{node}.ff"]:
                x = self._second_half(x, layer, self.cut.widths[f"{node}.ff"])
        return x

    def _first_half(self, x: str, layer: str, inner: int) -> str:
        g, cut = self.g, self.cut
        before, (after, middle) = self.ranges[f"{layer}.spread"][1], self.ranges[f"{layer}.depthwise"]
        first, second = 1.0 / _normalised(before.largest), 1.0 / _normalised(middle.largest)
        spread = self.leaving(cut.pointwise(f"{layer}.spread", inner, self.trunk))
        h, step = self._read(x, layer, "spread")
        h = self._conv(h, step, f"{layer}.spread", spread, first)
        h, _ = self._through(h, before.scaled(first))
        h, step = self._through(g.add("LeakyRelu", [h], alpha=LEAKY_SLOPE), after.scaled(first))
        depthwise = cut.spatial(f"{layer}.depthwise", inner)
        depthwise = Conv(depthwise.weight / first[:, None, None, None], depthwise.bias)
        h = self._conv(h, step, f"{layer}.depthwise", depthwise, second, depthwise=True)
        return self._write(x, h, middle.scaled(second), f"{layer}.merge", second)

    def _second_half(self, x: str, layer: str, ff: int) -> str:
        cut = self.cut
        h, step = self._read(x, layer, "value")
        halves, factor = [], np.ones(ff)
        for name in ("value", "gate"):
            # Where the float graph clips, this saturates.
            made = self.ranges[f"{layer}.{name}"][1].within(cut.arch.gate_limit)
            own = 1.0 / _normalised(made.largest)
            conv = self.leaving(cut.pointwise(f"{layer}.{name}", ff, self.trunk))
            half, _ = self._through(self._conv(h, step, f"{layer}.{name}", conv, own), made.scaled(own))
            halves.append(half)
            factor = factor * own
        product = self.ranges[f"{layer}.project"][0].scaled(factor)
        return self._write(x, self.g.add("Mul", halves), product, f"{layer}.project", factor)

    def _read(self, x: str, layer: str, reader: str) -> tuple[str, float]:
        """The trunk through 8 bits, in the channels-first layout that convolutions want."""
        seen = self.ranges[f"{layer}.{reader}"][0].scaled(1.0 / self.scale, -self.debt)
        scale, zero = _uint8(seen)
        h = self.g.add("Transpose", [self.g.quantize(x, scale, zero)], perm=[0, 3, 1, 2])
        return self.g.dequantize(h, scale, zero), float(scale)

    def _through(self, h: str, seen: Range) -> tuple[str, float]:
        """A value through 8 bits."""
        scale, zero = _uint8(seen)
        return self.g.dequantize(self.g.quantize(h, scale, zero), scale, zero), float(scale)

    def _write(self, x: str, h: str, seen: Range, name: str, factor: Floats) -> str:
        """x plus a 1x1 of h (through 8 bits); h comes times `factor`. The layer's bias becomes debt."""
        scale, zero = _uint8(seen)
        h = self.g.add("Transpose", [self.g.quantize(h, scale, zero)], perm=[0, 2, 3, 1])
        conv = self.entering(self.cut.pointwise(name, self.trunk, len(factor)))
        values, scales = _int8(conv.weight[:, :, 0, 0] / factor[None, :])
        weight = self.g.int8_weight(f"{name}.weight", values.T, scales, axis=1)
        self.debt = self.debt + conv.bias
        h = self.g.add("MatMul", [self.g.dequantize(h, scale, zero), weight])
        return self.g.add("Add", [x, h])

    def _conv(self, h: str, step: float, name: str, conv: Conv, factor: Floats, depthwise: bool = False) -> str:
        """A convolution by int8 weights whose output comes times `factor`."""
        values, scales = _int8(conv.weight * factor[:, None, None, None], depthwise)
        weight = self.g.int8_weight(f"{name}.weight", values, scales, axis=0)
        unit = (scales * np.float32(step)).astype(np.float32)
        rounded = np.rint(conv.bias * factor / unit.astype(np.float64)).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
        bias = self.g.int8_weight(f"{name}.bias", rounded, unit, axis=0)
        return self.g.conv_of([h, weight, bias], values.shape[-1], len(values) if depthwise else 1)


def _normalised(values: Floats) -> Floats:
    """Over their geometric mean."""
    result: Floats = values / np.exp(np.log(values).mean())
    return result


def _uint8(seen: Range) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of a tensor's 8 bits; zero is always met exactly."""
    low, high = min(float(seen.low.min()), 0.0), max(float(seen.high.max()), 0.0)
    scale = np.float32(max(high - low, SMALLEST_RANGE) / LEVELS)
    return scale, np.uint8(np.clip(round(-low / float(scale)), 0, LEVELS))


def _int8(weight: Floats, depthwise: bool = False) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights as int8 and a scale for each output channel (the first axis), as fine as sums of two products allow."""
    if depthwise:
        return _int8_depthwise(weight)
    rows = np.abs(weight).reshape(len(weight), -1)
    largest = rows.max(axis=1)
    if rows.shape[1] > 1:
        largest = np.maximum(largest, (rows[:, :-1] + rows[:, 1:]).max(axis=1))
    scales = np.maximum(largest / WEIGHT_LIMIT, 1e-12).astype(np.float32)
    values = np.rint(weight / scales.reshape(-1, *[1] * (weight.ndim - 1)))
    return values.clip(-WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8), scales


def _int8_depthwise(weight: Floats) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """As `_int8`, for a filter in each row: engines sum its taps in 32 bits, so all 8 are used.

    What a filter reads is much alike, so errors of one sign add up. Each row is rounded so as to make the expected
    error small, not each weight's: from the nearest integers on, the best step of one weight by one, while any helps.
    """
    taps = weight.reshape(len(weight), -1)
    likeness = NEIGHBOURS + (1.0 - NEIGHBOURS) * np.eye(taps.shape[1])
    rows, least = np.arange(len(taps)), np.maximum(np.abs(taps).max(axis=1) / WEIGHT_LIMIT, 1e-12)
    best, values, scales = np.full(len(taps), np.inf), np.zeros_like(taps), least
    for larger in LARGER_STEPS:
        wanted = taps / (larger * least)[:, None]
        found = np.rint(wanted)
        while True:
            slope = 2.0 * (found - wanted) @ likeness
            step = np.where(slope > 0, -1.0, 1.0)
            gain = np.where(np.abs(found + step) <= WEIGHT_LIMIT, np.abs(slope) - 1.0, 0.0)
            tap = gain.argmax(axis=1)
            helped = gain[rows, tap] > 1e-9
            if not helped.any():
                break
            found[rows[helped], tap[helped]] += step[rows[helped], tap[helped]]
        error = ((found - wanted) @ likeness * (found - wanted)).sum(axis=1) * (larger * least) ** 2
        better = error < best
        best, scales = np.where(better, error, best), np.where(better, larger * least, scales)
        values[better] = found[better]
    return values.reshape(weight.shape).astype(np.int8), scales.astype(np.float32)


def _trunks(g: Graph, cut: Cutter, ranges: Ranges, name: str) -> tuple[Int8Trunk, Int8Trunk]:
    """The trunks at 1/8 and 1/16 of g_a or g_s."""
    arch, w, ranges = cut.arch, cut.widths, _covered(ranges)
    return (
        Int8Trunk(g, cut, ranges, f"{name}.block8", f"{name}.blocks8", arch.num_blocks8, w[f"{name}.trunk8"]),
        Int8Trunk(g, cut, ranges, f"{name}.block16", f"{name}.blocks16", arch.num_blocks16, w[f"{name}.trunk16"]),
    )


def _channels_last(g: Graph, x: str) -> str:
    return g.add("Transpose", [x], perm=[0, 2, 3, 1])


def _channels_first(g: Graph, x: str) -> str:
    return g.add("Transpose", [x], perm=[0, 3, 1, 2])


def _matmul(g: Graph, x: str, name: str, conv: Conv) -> str:
    return g.matmul(x, name, conv.weight[:, :, 0, 0], conv.bias)


def _sizes(g: Graph, values: list[int]) -> str:
    return g.constant(np.array(values, np.int64))


def _space(g: Graph, x: str, height: int, factor: int) -> tuple[str, str, str]:
    """Batch, height and width of x, one value each; height is its dimension `height`, sides come times `factor`."""
    shape = g.add("Shape", [x])
    batch, rows, columns = (g.add("Gather", [shape, _sizes(g, [i])]) for i in (0, height, height + 1))
    return batch, g.add("Mul", [rows, _sizes(g, [factor])]), g.add("Mul", [columns, _sizes(g, [factor])])


def _reshape(g: Graph, x: str, dims: list[str | int]) -> str:
    """x in the shape of computed and of fixed sizes."""
    shape = g.add("Concat", [_sizes(g, [d]) if isinstance(d, int) else d for d in dims], axis=0)
    return g.add("Reshape", [x, shape])


def int8_analysis(cut: Cutter, ranges: Ranges) -> Graph:
    """As graphs.analysis_graph: x (B, 3, H, W) in 0..1, gain -> y, z."""
    arch, w = cut.arch, cut.widths
    trunk8, trunk16 = w["g_a.trunk8"], w["g_a.trunk16"]
    g = Graph("analysis")
    x = g.input("x", ["batch", 3, "height", "width"])
    gain = g.input("gain", [1, arch.latent_channels, 1, 1])
    at8, at16 = _trunks(g, cut, ranges, "g_a")
    # Every eighth pixel of one channel: its shape is the trunk's, in a form that shape inference follows (not so Div).
    corners = g.add("Slice", [x, *(_sizes(g, v) for v in ([0, 0, 0], [1, 1 << 30, 1 << 30], [1, 2, 3], [1, 8, 8]))])
    batch, rows, columns = _space(g, corners, 2, 1)
    h = _reshape(g, x, [batch, 3, rows, 8, columns, 8])
    h = g.add("Transpose", [h], perm=[0, 2, 4, 1, 3, 5])
    h = _reshape(g, h, [batch, rows, columns, 192])
    embed = cut.embed()
    embed = Conv(embed.weight.reshape(trunk8, -1, 1, 1), embed.bias)
    h = at8.blocks(_matmul(g, h, "g_a.embed", at8.entering(embed)))
    h = _channels_first(g, at8.settle(h))  # zero padding means zero: nothing may be owed here
    down = at16.entering(at8.leaving(cut.spatial("g_a.down", trunk16, trunk8)))
    h = g.conv(h, "g_a.down", down.weight, down.bias, stride=2)
    h = at16.blocks(_channels_last(g, h))
    project = at16.leaving(cut.pointwise("g_a.project", None, trunk16))
    h = _channels_first(g, _matmul(g, h, "g_a.project", project))
    y = g.add("Mul", [h, gain])
    z = hyper_analysis(g, cut, y)
    g.output(y, "y", ["batch", arch.latent_channels, "height_16", "width_16"])
    g.output(z, "z", ["batch", arch.hyper_channels, "height_64", "width_64"])
    return g


def int8_synthesis(cut: Cutter, ranges: Ranges) -> Graph:
    """As graphs.synthesis_graph: y_hat, inverse_gain -> x_hat (B, 3, H, W) clipped to 0..1."""
    arch, w = cut.arch, cut.widths
    trunk8, trunk16 = w["g_s.trunk8"], w["g_s.trunk16"]
    g = Graph("synthesis")
    y_hat = g.input("y_hat", ["batch", arch.latent_channels, "height_16", "width_16"])
    inverse_gain = g.input("inverse_gain", [1, arch.latent_channels, 1, 1])
    at8, at16 = _trunks(g, cut, ranges, "g_s")
    h = _channels_last(g, g.add("Mul", [y_hat, inverse_gain]))
    h = _matmul(g, h, "g_s.embed", at16.entering(cut.pointwise("g_s.embed", trunk16, None)))
    h = at16.blocks(h)
    up = at16.leaving(cut.pointwise("g_s.up", 4 * trunk8, trunk16))
    by_phase = np.arange(4 * trunk8).reshape(trunk8, 4).T.reshape(-1)  # rows (c, dy, dx) -> (dy, dx, c)
    scale = np.tile(at8.scale, 4)
    up = Conv(up.weight[by_phase] / scale[:, None, None, None], up.bias[by_phase] / scale)
    rows = _matmul(g, h, "g_s.up", up)  # (B, h, w, 4 N)
    h = g.add("Reshape", [rows, _sizes(g, [0, 0, 0, 2, 2 * trunk8])])
    h = g.add("Transpose", [h], perm=[0, 1, 3, 2, 4])  # (B, h, dy, w, dx and c)
    h = at8.blocks(_reshape(g, h, [*_space(g, rows, 1, 2), trunk8]))
    pixels = _matmul(g, h, "g_s.project", at8.leaving(cut.project()))  # (B, H/8, W/8, c dy dx)
    h = g.add("Reshape", [g.clip(pixels, 0.0, 1.0), _sizes(g, [0, 0, 0, 3, 8, 8])])
    h = g.add("Transpose", [h], perm=[0, 3, 1, 4, 2, 5])
    batch, height, width = _space(g, pixels, 1, 8)
    g.output(_reshape(g, h, [batch, 3, height, width]), "x_hat", ["batch", 3, "height", "width"])
    return g


def wide_transforms(widths: Widths, choice: str) -> list[str]:
    """The transforms of `choice` (a key of CHOICES) whose trunks are wide enough to gain."""
    return [name for name in CHOICES[choice] if widths[f"g_{name[0]}.trunk8"] >= NARROWEST]


def small_pictures(images: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Parts of images (1, 3, H, W), of SMALL_SIDES each, as a codec fills them up to multiples of 64."""
    rng, found = np.random.default_rng(0), []
    for x in images:
        for side in SMALL_SIDES:
            top, left = (int(rng.integers(length - side + 1)) for length in x.shape[2:])
            inner = x[..., top : top + side, left : left + side]
            found.append(torch.nn.functional.pad(inner, (0, -side % 64, 0, -side % 64), "replicate"))
    return found


def drawings() -> list[torch.Tensor]:
    """Crops (1, 3, 256, 256) of text and of flat shapes, three of each."""
    rng = np.random.default_rng(0)
    return [to_tensor(draw(rng, 256)[None]) for draw in (text, shapes) for _ in range(3)]


def widened(seen: Ranges, further: Ranges, kinds: Sequence[str]) -> dict[str, tuple[Range, Range]]:
    """Ranges as `seen`, for these kinds of layers up to WIDENED times as far where `further` reaches so far."""
    made = dict(seen)
    for layer in seen:
        if layer.rsplit(".", 1)[-1] in kinds:
            a, b = (
                own.union(other.clipped(own.scaled(WIDENED)))
                for own, other in zip(seen[layer], further[layer], strict=True)
            )
            made[layer] = a, b
    return made


def transform_ranges(
    model: Model, widths: Widths, images: Sequence[torch.Tensor], names: Sequence[str]
) -> dict[str, Ranges]:
    """The ranges of these transforms on images (1, 3, H, W) and small parts of them, some widened towards drawings'."""
    if not names:
        return {}
    seen = _measured(model, widths, [*images, *small_pictures(images)], names)
    further = _measured(model, widths, drawings(), names)
    return {name: widened(seen[name], further[name], WIDER_LAYERS[name]) for name in names}


def _measured(model: Model, widths: Widths, images: Iterable[torch.Tensor], names: Sequence[str]) -> dict[str, Ranges]:
    cut, plain = Cutter(model, widths), {"analysis": analysis_graph, "synthesis": synthesis_graph}
    feeds = dict(zip(CHOICES["transforms"], transform_feeds(model, widths, images), strict=True))
    return {name: measure_ranges(plain[name](cut), feeds[name]) for name in names}


def int8_transforms(model: Model, widths: Widths, ranges: Mapping[str, Ranges]) -> dict[str, Graph]:
    """The transforms whose ranges are given, in 8 bits."""
    cut, int8 = Cutter(model, widths), {"analysis": int8_analysis, "synthesis": int8_synthesis}
    return {name: int8[name](cut, found) for name, found in ranges.items()}
