"""hyper and contexts by the extension's integer loops, in less than half the time that a library's float32 takes.

What a newcomer gets wrong: these are the integers that the ONNX parts hold as floats, so results are the same to the
bit, whoever computes them (docs/architecture.md, "Exact entropy networks"). Where the processor lacks instructions for
16 bits in wide vectors the loops are slow, and engines run the ONNX parts.
"""

from collections.abc import Mapping

import numpy as np

from . import _ans
from .bundle import Bundle
from .engine import Array
from .errors import BundleError, EngineError, reason
from .groups import NUM_PHASES, Plan, group_channels
from .layers import CLAMPS, LATENT_CLAMP, Layer, Layers, layers_from_arrays


def best_kernels() -> str | None:
    """The best loops for this processor ("avx2", "avx512", "avx512_vnni"), None where a library is quicker.

    BASIC_SIMD limits them as it does the coder's.
    """
    best = _ans.integer_kernels()[-1]
    return None if best == "scalar" else best


class Hyper:
    """z_hat to the state. Holds no threads and nothing of a call."""

    def __init__(self, layers: Layers, kernels: str = "") -> None:
        """Raises ValueError or TypeError naming the layer that cannot be run."""
        self._layers = (
            _pointwise(layers, "h_s.spread", LATENT_CLAMP, kernels),
            _depthwise(layers, "h_s.depthwise", CLAMPS["h_s.spread"][1], kernels),
            _pointwise(layers, "h_s.up", CLAMPS["h_s.depthwise"][1], kernels),
        )

    def run(self, inputs: Mapping[str, Array], num_threads: int) -> dict[str, Array]:
        return {"state": _ans.run_hyper(*self._layers, inputs["z_hat"], num_threads)}


class Head:
    """What the contexts of all groups share."""

    def __init__(self, layers: Layers, kernels: str = "") -> None:
        """Raises ValueError or TypeError naming the layer that cannot be run."""
        self.first = _pointwise(layers, "context.first", CLAMPS["context.state"][1], kernels)
        self.spatial = _depthwise(layers, "context.depthwise", CLAMPS["context.first"][1], kernels)
        self.second = _pointwise(layers, "context.second", CLAMPS["context.depthwise"][1], kernels)


class Context:
    """State and the group before to means, indexes and the next state. Holds no threads and nothing of a call."""

    def __init__(self, layers: Layers, plan: Plan, group: int, head: Head, kernels: str = "") -> None:
        """Raises ValueError or TypeError naming the layer that cannot be run."""
        num_latents = len(layers["context.read"].weight) // NUM_PHASES
        channels, limit = group_channels(plan[group], num_latents), CLAMPS["context.second"][1]
        ends = {name: layers[name].rows(channels) for name in ("context.mean", "context.scale")}
        self._head = head
        self._mean, self._scale = (_pointwise(ends, name, limit, kernels) for name in ends)
        self._read: _ans.Depthwise | None = None
        self._write: _ans.Pointwise | None = None
        if group:
            before = plan[group - 1]
            channels, write = group_channels(before, num_latents), layers["context.write"]
            bias = write.bias[list(before)].sum(0, dtype=np.int32)
            update = {
                "context.read": layers["context.read"].rows(channels),
                "context.write": Layer(write.weight[:, channels], bias, write.shift),
            }
            self._read = _depthwise(update, "context.read", LATENT_CLAMP, kernels)
            self._write = _pointwise(update, "context.write", CLAMPS["context.read"][1], kernels, rounds=False)
        self._keeps_state = 0 < group < len(plan) - 1

    def run(self, inputs: Mapping[str, Array], num_threads: int) -> dict[str, Array]:
        head, y_hat = self._head, inputs.get("y_hat")
        means, indexes, state = _ans.run_context(
            self._read,
            self._write,
            head.first,
            head.spatial,
            head.second,
            self._mean,
            self._scale,
            inputs["state"],
            y_hat,
            self._keeps_state,
            num_threads,
        )
        outputs: dict[str, Array] = {"means": means, "indexes": indexes}
        return outputs if state is None else outputs | {"state_out": state}


def open_parts(bundle: Bundle, level: int) -> dict[str, Hyper | Context]:
    """hyper and the contexts of a level, by name, for the best loops.

    Raises:
        BundleError: the entropy path is damaged, or a sum could be beyond its limit.
    """
    where, plan = f"{bundle.path}: level {level}", bundle.level(level).plan
    layers = layers_from_arrays(bundle.entropy_arrays(level), where)
    latents, hyper = len(layers["context.read"].shift) // NUM_PHASES, layers["h_s.spread"].weight.shape[1]
    if (latents, hyper) != (bundle.latent_channels, bundle.hyper_channels):
        raise BundleError(
            f"{where}: expected an entropy path for {bundle.latent_channels} latent and {bundle.hyper_channels} hyper "
            f"channels, as the manifest says, got {latents} and {hyper}; export the bundle again"
        )
    return parts_of(layers, plan)


def parts_of(layers: Layers, plan: Plan, kernels: str = "") -> dict[str, Hyper | Context]:
    """The same of layers, for any of `_ans.integer_kernels()`. Raises ValueError or TypeError naming the layer."""
    head = Head(layers, kernels)
    contexts = {f"context_g{g}": Context(layers, plan, g, head, kernels) for g in range(len(plan))}
    return {"hyper": Hyper(layers, kernels), **contexts}


class IntegerSession:
    """One part with threads of its own; `run` may be called from several threads at once."""

    def __init__(self, part: Hyper | Context, what: str, num_threads: int) -> None:
        self._part, self._what, self._num_threads = part, what, num_threads

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return self._part.run(inputs, self._num_threads)
        except (KeyError, MemoryError, TypeError, ValueError) as error:
            raise EngineError(f"{self._what}: {reason(error)}") from error


def _pointwise(layers: Layers, name: str, limit: int, kernels: str, rounds: bool = True) -> _ans.Pointwise:
    try:
        return _ans.Pointwise(*_contiguous(layers[name]), limit, rounds, kernels)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _depthwise(layers: Layers, name: str, limit: int, kernels: str) -> _ans.Depthwise:
    try:
        return _ans.Depthwise(*_contiguous(layers[name]), limit, kernels)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _contiguous(layer: Layer) -> tuple[Array, Array, Array]:
    weight, bias, shift = map(np.ascontiguousarray, (layer.weight, layer.bias, layer.shift))
    return weight, bias, shift
