"""Integer networks from the float entropy part: scales found on images, weights bounded, exactness proved.

What a newcomer gets wrong: float32 adds integers exactly in any order only while every partial sum stays below 2^24.
So each output channel's weights are scaled until sum|w| max|x| + |b| + 2^(s-1) < 2^22, from the weights themselves;
for the state, which adds up over the groups, with the total over all of them. Weights also stay below 2^11 (TF32's
operand).

Activations of a channel take 8 bits over the range seen on the calibration images, never beyond the float net's clamp.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.groups import Plan, group_channels
from ..runtime.layers import (
    ACCUMULATOR_LIMIT,
    CLAMPS,
    LATENT_CLAMP,
    OPERAND_LIMIT,
    SIGNED,
    UNSIGNED,
    Bound,
    Layer,
    prove,
)
from ..training.context import CLAMP, OUTPUT_SCALE, pack, rectify
from ..training.model import Model
from ..training.nodes import Widths
from .slim import Cutter

Floats = NDArray[np.float64]

MAX_SHIFT = 20
CALIBRATION_QUALITIES = (0.0, 12.0, 24.0, 36.0, 48.0, 63.0)
HEADROOM = 1.1  # of the largest value seen
RANGES_PER_OCTAVE = 8
SMALLEST_RANGE = 0.02
MAX_WIDENINGS = 16
FIXED_UNITS = ("context.mean", "context.scale")  # eighths and index units
EXACT_OPS = {"Add", "Cast", "Clip", "Concat", "DepthToSpace", "Floor", "Reshape", "SpaceToDepth"}


def calibrate(model: Model, widths: Widths, plan: Plan, images: Iterable[Tensor]) -> dict[str, Floats]:
    """Largest absolute value of every activation channel of the float entropy part over images and qualities."""
    seen: dict[str, Floats] = {}
    context = model.context

    def see(name: str, x: Tensor) -> Tensor:
        largest = x.detach().abs().amax(dim=(0, 2, 3)).double().numpy()
        seen[name] = np.maximum(seen[name], largest) if name in seen else largest
        return x

    with torch.no_grad():
        for x in images:
            for quality in CALIBRATION_QUALITIES:
                y = model.g_a(x, widths) * model.modulator(torch.full((len(x),), quality))[0]
                packed = pack(y)
                z_hat = model.h_a(y, widths).round()
                h = see("h_s.spread", rectify(model.h_s.spread(z_hat.clamp(-127, 127), widths["h_s.inner"])))
                h = see("h_s.depthwise", rectify(model.h_s.depthwise(h)))
                state = model.h_s.up(h, widths["context.state"])
                read = torch.zeros(packed.shape[1], dtype=torch.float64).numpy()
                for step, group in enumerate(plan):
                    see("context.state", state.clamp(-CLAMP, CLAMP))
                    h = see(
                        "context.first", rectify(context.first(state.clamp(-CLAMP, CLAMP), widths["context.inner"]))
                    )
                    h = see("context.depthwise", rectify(context.depthwise(h)))
                    h = see("context.second", rectify(context.second(h, widths["context.inner"])))
                    means, _ = context.outputs(h, group)
                    channels = context.channels(group, x.device)
                    means = (means * OUTPUT_SCALE).round() / OUTPUT_SCALE
                    y_hat = (packed[:, channels] - means).round() + means
                    read[channels.numpy()] = context.read_group(y_hat, channels).abs().amax(dim=(0, 2, 3)).numpy()
                    if step + 1 < len(plan):
                        state = state + context.update(y_hat, group, state.shape[1])
                seen["context.read"] = np.maximum(seen.get("context.read", read), read)
    return seen


def quantise(
    model: Model, widths: Widths, seen: Mapping[str, Floats], plan: Plan
) -> tuple[dict[str, Layer], list[Bound]]:
    """Integer layers of a level and their proof; `seen` as `calibrate` found it. Raises ValueError naming a layer that
    cannot be bounded."""
    cut = Cutter(model, widths)
    state, inner = widths["context.state"], widths["context.inner"]
    steps = {name: _steps(seen[name], CLAMPS[name]) for name in seen}
    ones = np.ones(model.arch.hyper_channels)
    layers: dict[str, Layer] = {}
    layers["h_s.spread"] = _layer(
        "h_s.spread", cut.pointwise("h_s.spread", widths["h_s.inner"], None), ones, steps["h_s.spread"], LATENT_CLAMP
    )
    layers["h_s.depthwise"] = _layer(
        "h_s.depthwise",
        cut.spatial("h_s.depthwise", widths["h_s.inner"]),
        steps["h_s.spread"],
        steps["h_s.depthwise"],
        UNSIGNED[1],
    )
    packed = np.ones(len(cut.weights["context.read.bias"]))
    layers["context.read"] = _layer(
        "context.read", cut.spatial("context.read", None), packed, steps["context.read"], LATENT_CLAMP
    )
    layers |= _state_layers(cut, steps, plan)
    layers["context.first"] = _layer(
        "context.first",
        cut.pointwise("context.first", inner, state),
        steps["context.state"],
        steps["context.first"],
        SIGNED[1],
    )
    layers["context.depthwise"] = _layer(
        "context.depthwise",
        cut.spatial("context.depthwise", inner),
        steps["context.first"],
        steps["context.depthwise"],
        UNSIGNED[1],
    )
    layers["context.second"] = _layer(
        "context.second",
        cut.pointwise("context.second", inner, inner),
        steps["context.depthwise"],
        steps["context.second"],
        UNSIGNED[1],
    )
    for name in ("context.mean", "context.scale"):
        conv = cut.pointwise(name, None, inner)
        target = np.full(len(conv.bias), 1 / OUTPUT_SCALE)  # eighths, and index units
        layers[name] = _layer(name, conv, steps["context.second"], target, UNSIGNED[1])
    return layers, prove(layers)


def _steps(largest: Floats, clamp: tuple[int, int]) -> Floats:
    """Real value of one unit of every channel.

    Ranges go up to a power of 2^(1/8), so that another machine's last digit in the calibration changes no integer.
    """
    ranges = np.clip(largest * HEADROOM, SMALLEST_RANGE, CLAMP)
    rounded = np.exp2(np.ceil(np.log2(ranges) * RANGES_PER_OCTAVE) / RANGES_PER_OCTAVE)
    return np.asarray(np.minimum(rounded, CLAMP) / clamp[1])


def _layer(name: str, conv: Any, step_in: Floats, step_out: Floats, max_input: int) -> Layer:
    """Scale each output channel by 2^s / step_out with the largest s that the bounds admit.

    A channel whose weights are too large for its range (one that is nearly always zero) gets a wider one: `step_out` is
    doubled in place until s = 1 fits, and the next layer reads it so.
    """
    weight = conv.weight.astype(np.float64).reshape(len(conv.bias), -1)
    depthwise = conv.weight.shape[1] == 1 and conv.weight.shape[-1] == 3
    weight = weight * (step_in[:, None] if depthwise else step_in[None, :])
    for _ in range(MAX_WIDENINGS):
        scaled, bias = weight / step_out[:, None], conv.bias.astype(np.float64) / step_out
        shift = _shifts([(scaled, max_input)], bias)
        if shift.all() or name in FIXED_UNITS:
            break
        step_out[shift == 0] *= 2.0
    _require(name, shift)
    factor = np.exp2(shift)
    integers = np.rint(scaled * factor[:, None]).astype(np.int16)
    shape = (len(bias), 3, 3) if depthwise else integers.shape
    return Layer(integers.reshape(shape), np.rint(bias * factor).astype(np.int32), shift.astype(np.uint8))


def _require(name: str, shift: NDArray[np.int64]) -> None:
    if not shift.all():
        raise ValueError(
            f"{name}: output channel {int(np.argmin(shift))} cannot be scaled under 2^22 with a shift of 1 or more; "
            "its weights are too large: fine-tune the checkpoint with basic-train --exact"
        )


def _shifts(terms: list[tuple[Floats, int]], bias: Floats) -> NDArray[np.int64]:
    """Per output channel, the largest shift whose rounded weights and bias keep both limits; 0 where none does."""
    shift = np.zeros(len(bias), np.int64)
    for s in range(1, MAX_SHIFT + 1):
        total = np.abs(np.rint(bias * 2.0**s)) + 2.0 ** (s - 1)
        fits = np.ones(len(bias), bool)
        for scaled, max_input in terms:
            rounded = np.abs(np.rint(scaled * 2.0**s))
            total += rounded.sum(1) * max_input
            fits &= rounded.max(1) <= OPERAND_LIMIT
        shift[fits & (total < ACCUMULATOR_LIMIT)] = s
    return shift


def _state_layers(cut: Cutter, steps: dict[str, Floats], plan: Plan) -> dict[str, Layer]:
    """h_s.up and context.write share the state's scale; their bound is the state's total over all groups."""
    state = cut.widths["context.state"]
    up = cut.pointwise("h_s.up", 4 * state, cut.widths["h_s.inner"])
    step = steps["context.state"]
    up_scaled = up.weight[:, :, 0, 0].astype(np.float64) * steps["h_s.depthwise"][None] / step.repeat(4)[:, None]
    up_bias = up.bias.astype(np.float64) / step.repeat(4)
    write_scaled = cut.weights["context.write"][:state].astype(np.float64) * steps["context.read"][None] / step[:, None]
    node_bias = cut.weights["context.write_bias"][:, :state].astype(np.float64) / step[None]
    # The last group is never written to the state, so it takes no part in the bound.
    write_scaled[:, group_channels(plan[-1], cut.arch.latent_channels)] = 0.0
    node_bias[list(plan[-1])] = 0.0
    # One row per phase of the pixel-shuffle; the state's channel takes the smallest shift of the four.
    terms = [(up_scaled, UNSIGNED[1]), (write_scaled.repeat(4, axis=0), SIGNED[1])]
    # Rounding of 32 node biases apart may add half a unit each.
    total_bias = np.abs(up_bias) + np.abs(node_bias).sum(0).repeat(4) + 33
    shift = _shifts(terms, total_bias).reshape(state, 4).min(1)
    _require("context.state", shift)
    factor = np.exp2(shift)
    rows = factor.repeat(4)
    return {
        "h_s.up": Layer(
            np.rint(up_scaled * rows[:, None]).astype(np.int16),
            np.rint(up_bias * rows).astype(np.int32),
            shift.repeat(4).astype(np.uint8),
        ),
        "context.write": Layer(
            np.rint(write_scaled * factor[:, None]).astype(np.int16),
            np.rint(node_bias * factor).astype(np.int32),
            shift.astype(np.uint8),
        ),
    }


def check_exact_ops(data: bytes) -> None:
    """Raise ValueError where a graph holds an operation that is not exact on bounded integers, by its name."""
    model = onnx.load_from_string(data)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        exact = node.op_type in EXACT_OPS
        if node.op_type == "Conv":
            weight = node.input[1]
            while weight in made_by:  # a Cast and a scaling lie between the stored integers and the convolution
                weight = made_by[weight].input[0]
            group = next((a.i for a in node.attribute if a.name == "group"), 1)
            shape = weights[weight]
            exact = shape[2:] == (1, 1) or (shape[1] == 1 and group == shape[0])
        elif node.op_type == "Mul":  # the scaling of weights, by constants that are powers of two
            exact = all(name in weights or made_by[name].op_type == "Cast" for name in node.input)
        if not exact:
            raise ValueError(
                f"{model.graph.name}: {node.name} is a {node.op_type}, which is not exact on integers; expected 1x1 or "
                f"depthwise convolutions and {', '.join(sorted(EXACT_OPS))}"
            )
