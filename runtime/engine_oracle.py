"""The oracle: hyper and contexts in numpy int64, from the integers that a bundle holds; what every engine must equal.

What a newcomer gets wrong: the state that goes from part to part is a float that stands for an integer. Parts carry
(S + 2^(s-1) + 1/2) / 2^s, exact in float32, so that reading the state is a floor and a clamp; `state_in` undoes it.

Every layer: acc = sum of w x + b in integers, then (acc + 2^(s-1)) >> s, then a clamp. BUNDLE.md has the layers.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle
from .engine import TRANSFORMS, Array
from .engine_onnx import OnnxEngine
from .engine_onnx import start as start_onnx
from .errors import EngineError
from .groups import Plan, group_channels
from .layers import CLAMPS, LATENT_CLAMP, Layer, Layers, layers_from_arrays

Ints = NDArray[np.int64]


def run_hyper(layers: Layers, z_hat: Ints) -> Ints:
    """z_hat (B, C, h, w) -> the state as integers, (B, S, 2h, 2w)."""
    h = np.clip(z_hat, -LATENT_CLAMP, LATENT_CLAMP)
    h = _requantise(_pointwise(h, layers["h_s.spread"]), layers["h_s.spread"], CLAMPS["h_s.spread"])
    h = _requantise(_depthwise(h, layers["h_s.depthwise"]), layers["h_s.depthwise"], CLAMPS["h_s.depthwise"])
    h = _pointwise(h, layers["h_s.up"])
    b, channels, height, width = h.shape
    h = h.reshape(b, channels // 4, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)  # pixel-shuffle
    return h.reshape(b, channels // 4, 2 * height, 2 * width)


def run_update(layers: Layers, plan: Plan, group: int, state: Ints, y_hat_eighths: Ints) -> Ints:
    """The state after a decoded group: y_hat of it in eighths, (B, n, h, w)."""
    read, write = layers["context.read"], layers["context.write"]
    channels = group_channels(plan[group], len(read.weight) // 4)
    y = np.clip((y_hat_eighths + 4) >> 3, -LATENT_CLAMP, LATENT_CLAMP)
    chosen = read.rows(channels)
    h = _requantise(_depthwise(y, chosen), chosen, CLAMPS["context.read"])
    bias = write.bias[list(plan[group])].sum(0, dtype=np.int32)
    return state + _pointwise(h, Layer(write.weight[:, channels], bias, write.shift))


def run_head(layers: Layers, plan: Plan, group: int, state: Ints) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Means in eighths and scale indexes of a group, (B, n, h, w)."""
    shift = layers["context.write"].shift.astype(np.int64)[:, None, None]
    h = np.clip((state + (1 << (shift - 1))) >> shift, *CLAMPS["context.state"])
    for name in ("context.first", "context.depthwise", "context.second"):
        run = _depthwise if name == "context.depthwise" else _pointwise
        h = _requantise(run(h, layers[name]), layers[name], CLAMPS[name])
    channels = group_channels(plan[group], len(layers["context.mean"].weight) // 4)
    found = []
    for name in ("context.mean", "context.scale"):
        chosen = layers[name].rows(channels)
        found.append(_requantise(_pointwise(h, chosen), chosen, CLAMPS[name]))
    return found[0].astype(np.int16), found[1].astype(np.uint8)


def state_out(layers: Layers, state: Ints) -> NDArray[np.float32]:
    """The state as parts exchange it: (S + 2^(s-1) + 1/2) / 2^s, exact in float32."""
    shift = layers["context.write"].shift.astype(np.int64)[:, None, None]
    return np.ldexp(state + (1 << (shift - 1)) + 0.5, -shift).astype(np.float32)


def state_in(layers: Layers, state: Array) -> Ints:
    """The inverse of `state_out`."""
    shift = layers["context.write"].shift.astype(np.int64)[:, None, None]
    return np.floor(np.ldexp(state.astype(np.float64), shift)).astype(np.int64) - (1 << (shift - 1))


def run_parts(
    layers: Layers, plan: Plan, z_hat: Ints, code: Callable[[int, NDArray[np.int16]], Ints]
) -> Iterator[tuple[str, dict[str, Array], dict[str, Array]]]:
    """hyper and every context as they run: (part, inputs, outputs), the arrays that parts of a bundle exchange.

    z_hat (B, C, h, w). `code(group, means)`, both of one group, gives its y_hat in eighths (B, n, 2h, 2w); it is called
    for every group, after the group's outputs were taken.
    """
    state = run_hyper(layers, z_hat)
    inputs: dict[str, Array] = {"state": state_out(layers, state)}
    yield "hyper", {"z_hat": z_hat.astype(np.float32)}, inputs
    for group in range(len(plan)):
        means, indexes = run_head(layers, plan, group, state)
        outputs: dict[str, Array] = {"means": means, "indexes": indexes}
        if 0 < group < len(plan) - 1:
            outputs["state_out"] = state_out(layers, state)
        yield f"context_g{group}", inputs, outputs
        y_hat = code(group, means)
        inputs = {"state": state_out(layers, state), "y_hat": np.ascontiguousarray(y_hat, np.float32) / np.float32(8)}
        if group + 1 < len(plan):
            state = run_update(layers, plan, group, state, y_hat)


def _pointwise(x: Ints, layer: Layer) -> Ints:
    acc = np.einsum("oi,bihw->bohw", layer.weight.astype(np.int64), x, optimize=True)
    return np.asarray(acc + layer.bias.astype(np.int64)[:, None, None])


def _depthwise(x: Ints, layer: Layer) -> Ints:
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    acc = np.zeros_like(x) + layer.bias.astype(np.int64)[:, None, None]
    for dy in range(3):
        for dx in range(3):
            tap = layer.weight[:, dy, dx].astype(np.int64)[:, None, None]
            acc += tap * padded[:, :, dy : dy + height, dx : dx + width]
    return acc


def _requantise(acc: Ints, layer: Layer, clamp: tuple[int, int]) -> Ints:
    shift = layer.shift.astype(np.int64)[:, None, None]
    return np.asarray(np.clip((acc + (1 << (shift - 1))) >> shift, *clamp))


class OracleEngine:
    """hyper and contexts by the oracle; analysis and synthesis by onnxruntime."""

    name = "oracle"

    def __init__(self, num_threads: int | None) -> None:
        self._num_threads = num_threads
        self._float: OnnxEngine | None = None
        self._layers: dict[tuple[str, bytes], dict[str, Layer]] = {}

    @property
    def detail(self) -> str:
        return f"numpy {np.__version__}; transforms by onnxruntime, where it is installed"

    def open(self, bundle: Bundle, level: int, part: str) -> Any:
        if part in TRANSFORMS:
            if self._float is None:
                self._float = start_onnx(self._num_threads)
            return self._float.open(bundle, level, part)
        entry = bundle.level(level)
        key = (str(bundle.path), entry.entropy_id)
        if key not in self._layers:
            self._layers[key] = layers_from_arrays(bundle.entropy_arrays(level), str(bundle.path))
        return OracleSession(self._layers[key], entry.plan, part)

    def close(self) -> None:
        """Nothing is held here; sessions free themselves with their last reference."""


class OracleSession:
    """One part; holds nothing between calls."""

    def __init__(self, layers: Layers, plan: Plan, part: str) -> None:
        self._layers, self._plan, self._part = layers, plan, part

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        layers = self._layers
        if self._part == "hyper":
            return {"state": state_out(layers, run_hyper(layers, _integers(inputs["z_hat"], "z_hat")))}
        group = int(self._part.removeprefix("context_g"))
        state = state_in(layers, inputs["state"])
        if group:
            state = run_update(layers, self._plan, group - 1, state, _integers(inputs["y_hat"] * 8, "8 y_hat"))
        means, indexes = run_head(layers, self._plan, group, state)
        found: dict[str, Array] = {"means": np.ascontiguousarray(means), "indexes": np.ascontiguousarray(indexes)}
        if 0 < group < len(self._plan) - 1:
            found["state_out"] = state_out(layers, state)
        return found


def _integers(values: Array, name: str) -> Ints:
    whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        raise EngineError(f"{name}: expected integers held in float32, got others; the caller must round first")
    return whole


def start(num_threads: int | None) -> OracleEngine:
    """Start the oracle; onnxruntime is asked for when the first float part is opened."""
    return OracleEngine(num_threads)
