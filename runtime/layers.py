"""Layers of the integer networks, hyper and contexts, as a bundle holds them; BUNDLE.md has what each is.

What a newcomer gets wrong: a layer's limits are no detail of an engine. Weights and clamps together bound every sum;
that is why any engine's floats, or 32 bits, give the same integers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .engine import Array
from .errors import BundleError

LATENT_CLAMP = 127
MEAN_CLAMP = 16383  # eighths
INDEX_CLAMP = 63
UNSIGNED, SIGNED = (0, 255), (-127, 127)
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


def layers_from_arrays(arrays: Mapping[str, Array], where: str) -> dict[str, Layer]:
    """Layers of an entropy path (`Bundle.entropy_arrays`), checked. Raises BundleError."""
    found = {}
    for name in LAYERS:
        kept = []
        for field, dtype in (("weight", np.int16), ("bias", np.int32), ("shift", np.uint8)):
            array = arrays.get(f"{name}.{field}")
            if array is None or array.dtype != dtype:
                raise BundleError(
                    f"{where}: {name}.{field}: expected an array of {np.dtype(dtype)}; export the bundle again"
                )
            kept.append(array)
        found[name] = Layer(*kept)
        if len(found[name].weight) != len(found[name].shift) or found[name].bias.shape[-1] != len(found[name].shift):
            raise BundleError(f"{where}: {name}: weight, bias and shift have different numbers of outputs")
    return found


def layers_to_arrays(layers: Layers) -> dict[str, Array]:
    """Arrays of an entropy path; the inverse of `layers_from_arrays`."""
    return {f"{name}.{field}": getattr(layers[name], field) for name in LAYERS for field in ("weight", "bias", "shift")}
