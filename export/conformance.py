"""Makes a level's conformance vectors: inputs of three kinds, and the sha256 of what the oracle gives for them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.conformance import digest
from ..runtime.engine_oracle import Layers, run_head, run_hyper, run_update, state_out
from ..runtime.groups import Plan, group_channels

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
    state = run_hyper(layers, inputs["z_hat"].astype(np.int64))
    found = {"hyper": digest({"state": state_out(layers, state)})}
    for g in range(len(plan)):
        if g:
            channels = group_channels(plan[g - 1], latents.shape[1] // 4)
            state = run_update(layers, plan, g - 1, state, latents[:, channels])
        means, indexes = run_head(layers, plan, g, state)
        outputs: Arrays = {"means": means, "indexes": indexes}
        if 0 < g < len(plan) - 1:
            outputs["state_out"] = state_out(layers, state)
        found[f"context_g{g}"] = digest(outputs)
    return found
