"""Layers of the integer networks, hyper and contexts, as a bundle holds them; BUNDLE.md has what each is.

What a newcomer gets wrong: a layer's limits are no detail of an engine. Weights and clamps together bound every sum;
that is why any engine's floats, or 32 bits, give the same integers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Array
from .errors import BundleError
from .groups import NUM_NODES

LATENT_CLAMP = 127
MEAN_CLAMP = 16383  # eighths
INDEX_CLAMP = 63
UNSIGNED, SIGNED = (0, 255), (-127, 127)
ACCUMULATOR_LIMIT = 1 << 22
"""No sum reaches it, so float32 adds them exactly in any order, with room for halves, and 32 bits do too."""
OPERAND_LIMIT = (1 << 11) - 1
"""Of weights: what TF32 holds."""
LAYERS = (
    "h_s.spread",
    "h_s.depthwise",
    "h_s.up",
    "context.read",
    "context.write",
    "context.first",
    "context.depthwise",
    "context.second",
    "context.mean",
    "context.scale",
)
DEPTHWISE = ("h_s.depthwise", "context.read", "context.depthwise")
CLAMPS: dict[str, tuple[int, int]] = {
    "h_s.spread": UNSIGNED,
    "h_s.depthwise": UNSIGNED,
    "context.state": SIGNED,
    "context.read": SIGNED,
    "context.first": UNSIGNED,
    "context.depthwise": UNSIGNED,
    "context.second": UNSIGNED,
    "context.mean": (-MEAN_CLAMP, MEAN_CLAMP),
    "context.scale": (0, INDEX_CLAMP),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """weight int16 (o, i) or depthwise (o, 3, 3); bias int32 (o,), of `write` (32, o) by node; shift uint8 (o,).

    `h_s.up` and `context.write` add to the state: their shift is the state's, applied where the state is read.
    """

    weight: NDArray[np.int16]
    bias: NDArray[np.int32]
    shift: NDArray[np.uint8]

    def rows(self, channels: NDArray[np.intp]) -> "Layer":
        """The layer with the given output channels only, in their order."""
        return Layer(self.weight[channels], self.bias[channels], self.shift[channels])


Layers = Mapping[str, Layer]


@dataclass(frozen=True)
class Bound:
    """The proof for one layer: the largest sum that any input within the clamps can reach, and where."""

    layer: str
    channel: int
    largest: int


def layers_from_arrays(arrays: Mapping[str, Array], where: str) -> dict[str, Layer]:
    """Layers of an entropy path (`Bundle.entropy_arrays`), checked: types, shapes, that they follow each other, bounds.

    Raises:
        BundleError: what is wrong of which layer, after `where`.
    """
    try:
        found = {name: _layer(arrays, name) for name in LAYERS}
        _check_chain(found)
        prove(found)
    except ValueError as error:
        raise BundleError(f"{where}: {error}; export the bundle again") from error
    return found


def prove_inputs() -> dict[str, int]:
    """Layer -> the largest absolute input that its clamps let in; the state's two layers are proved together."""
    return {
        "h_s.spread": LATENT_CLAMP,
        "h_s.depthwise": UNSIGNED[1],
        "context.read": LATENT_CLAMP,
        "context.first": SIGNED[1],
        "context.depthwise": UNSIGNED[1],
        "context.second": UNSIGNED[1],
        "context.mean": UNSIGNED[1],
        "context.scale": UNSIGNED[1],
    }


def prove(layers: Layers) -> list[Bound]:
    """The largest sum of each layer from the integers themselves. Raises ValueError where one reaches a limit."""
    tops = prove_inputs()
    bounds = [
        _bound(name, layers[name].shift, _size(layers[name].bias), [(layers[name].weight, tops[name])]) for name in tops
    ]
    up, write = layers["h_s.up"], layers["context.write"]
    if not np.array_equal(up.shift, write.shift.repeat(4)):
        raise ValueError("h_s.up and context.write: expected one shift per state channel, got others")
    bias = _size(up.bias) + _size(write.bias).sum(0).repeat(4)
    terms = [(up.weight, UNSIGNED[1]), (write.weight.repeat(4, axis=0), SIGNED[1])]
    return [*bounds, _bound("context.state", up.shift, bias, terms)]


def _size(numbers: NDArray[Any]) -> NDArray[np.int64]:
    return np.abs(numbers.astype(np.int64))


def _bound(
    name: str, shift: NDArray[np.uint8], bias: NDArray[np.int64], terms: list[tuple[NDArray[Any], int]]
) -> Bound:
    lowest, highest = int(shift.min()), int(shift.max())
    if lowest < 1 or highest >= ACCUMULATOR_LIMIT.bit_length():
        raise ValueError(
            f"{name}: expected shifts of 1 to {ACCUMULATOR_LIMIT.bit_length() - 1}, got {lowest} to {highest}"
        )
    total = bias + (1 << (shift.astype(np.int64) - 1))
    for weight, top in terms:
        rows = _size(weight).reshape(len(shift), -1)
        total = total + rows.sum(1) * top
        if rows.max() > OPERAND_LIMIT:
            raise ValueError(f"{name}: a weight of {int(rows.max())}, expected at most {OPERAND_LIMIT}")
    channel = int(total.argmax())
    if total[channel] >= ACCUMULATOR_LIMIT:
        raise ValueError(
            f"{name}: output channel {channel} can reach {int(total[channel])} with shift {int(shift[channel])}, "
            f"expected less than {ACCUMULATOR_LIMIT}"
        )
    return Bound(name, channel, int(total[channel]))


def _layer(arrays: Mapping[str, Array], name: str) -> Layer:
    shift = _array(arrays, f"{name}.shift", np.uint8, "(outputs,)", lambda shape: len(shape) == 1)
    size = len(shift)
    if name in DEPTHWISE:
        weight = _array(arrays, f"{name}.weight", np.int16, f"({size}, 3, 3)", lambda shape: shape == (size, 3, 3))
    else:
        weight = _array(
            arrays,
            f"{name}.weight",
            np.int16,
            f"({size}, inputs)",
            lambda shape: shape[:1] == (size,) and len(shape) == 2,
        )
    wanted = (NUM_NODES, size) if name == "context.write" else (size,)
    return Layer(weight, _array(arrays, f"{name}.bias", np.int32, str(wanted), lambda shape: shape == wanted), shift)


def _array(
    arrays: Mapping[str, Array], name: str, dtype: type[Any], shape: str, fits: Callable[[tuple[int, ...]], bool]
) -> Array:
    wanted = f"{name}: expected an array {shape} of {np.dtype(dtype)}"
    if (array := arrays.get(name)) is None:
        raise ValueError(f"{wanted}, got none")
    if array.dtype != dtype or not array.size or not fits(array.shape):
        raise ValueError(f"{wanted}, got {array.shape} of {array.dtype}")
    return array


def _check_chain(layers: Layers) -> None:
    """That every layer takes as many channels as come. Raises ValueError."""
    weights = {name: layer.weight for name, layer in layers.items()}
    outputs = {name: len(weight) for name, weight in weights.items()}
    state, packed = outputs["context.write"], outputs["context.read"]
    counts = {
        "h_s.depthwise": (outputs["h_s.spread"], outputs["h_s.depthwise"]),
        "h_s.up": (outputs["h_s.depthwise"], weights["h_s.up"].shape[1]),
        "outputs of h_s.up": (4 * state, outputs["h_s.up"]),
        "context.write": (packed, weights["context.write"].shape[1]),
        "context.first": (state, weights["context.first"].shape[1]),
        "context.depthwise": (outputs["context.first"], outputs["context.depthwise"]),
        "context.second": (outputs["context.depthwise"], weights["context.second"].shape[1]),
        "context.mean": (outputs["context.second"], weights["context.mean"].shape[1]),
        "context.scale": (outputs["context.second"], weights["context.scale"].shape[1]),
        "outputs of context.mean": (packed, outputs["context.mean"]),
        "outputs of context.scale": (packed, outputs["context.scale"]),
    }
    for name, (expected, got) in counts.items():
        if expected != got:
            raise ValueError(f"{name}: expected {expected} channels, got {got}")


def layers_to_arrays(layers: Layers) -> dict[str, Array]:
    """Arrays of an entropy path; the inverse of `layers_from_arrays`."""
    return {f"{name}.{field}": getattr(layers[name], field) for name in LAYERS for field in ("weight", "bias", "shift")}
