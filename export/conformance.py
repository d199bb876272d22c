"""Makes a level's conformance vectors: inputs of three kinds, and the sha256 of what the oracle gives for them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.conformance import digest
from ..runtime.engine_oracle import run_parts
from ..runtime.groups import NUM_PHASES, Plan, group_channels
from ..runtime.layers import Layers

SEED = 20240924
SIZE = 2  # of z_hat; the packed latent has twice that

Arrays = dict[str, NDArray[Any]]


def make_inputs(num_hyper: int, num_packed: int) -> Arrays:
    """Cases: values as in photographs, edges of rounding, and values far beyond every clamp."""
    rng = np.random.default_rng(SEED)
    z_shape, y_shape = (1, num_hyper, SIZE, SIZE), (1, num_packed, 2 * SIZE, 2 * SIZE)
    z_hat = [
        np.rint(rng.laplace(0, 3, z_shape)),
        rng.integers(-9, 10, z_shape),
        rng.choice([-400, -127, 127, 400], z_shape),
    ]
    latents = [
        np.rint(rng.laplace(0, 40, y_shape)),
        rng.integers(-20, 21, y_shape) * 8 + rng.choice([-4, 3, 4], y_shape),
        rng.choice([-9000, -1016, 1016, 9000], y_shape),
    ]
    return {"z_hat": np.concatenate(z_hat).astype(np.int16), "y_hat_eighths": np.concatenate(latents).astype(np.int16)}


def expected_digests(layers: Layers, plan: Plan, inputs: Arrays) -> dict[str, str]:
    """Part -> sha256 of its outputs by the oracle."""
    latents = inputs["y_hat_eighths"].astype(np.int64)
    channels = [group_channels(group, latents.shape[1] // NUM_PHASES) for group in plan]
    parts = run_parts(layers, plan, inputs["z_hat"].astype(np.int64), lambda group, _: latents[:, channels[group]])
    return {part: digest(outputs) for part, _, outputs in parts}
