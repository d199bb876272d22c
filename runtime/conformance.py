"""Conformance vectors: whether an engine computes the integer networks exactly, told before it decodes a file.

The bundle holds inputs (z_hat, and y_hat in eighths) and, per level, the sha256 of each part's outputs as the oracle
gives them. An engine runs the parts in order on these inputs; a part whose outputs hash otherwise is not exact.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from .bundle import Bundle, load_arrays
from .engine import Array, Engine
from .errors import BundleError, EngineError
from .groups import group_channels

OUTPUTS = ("state", "means", "indexes", "state_out")  # in this order where a part has them


def digest(outputs: Mapping[str, Array]) -> str:
    """sha256 over the little-endian bytes of a part's outputs, in the order of OUTPUTS."""
    found = hashlib.sha256()
    for name in OUTPUTS:
        if name in outputs:
            array = np.ascontiguousarray(outputs[name])
            found.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()


def run_level(engine: Engine, bundle: Bundle, level: int) -> dict[str, str]:
    """Part -> sha256 of its outputs on the level's inputs, by an engine.

    Raises:
        EngineError: the engine failed on a part.
        BundleError: the bundle has no conformance vectors for the level.
    """
    entry = bundle.level(level)
    if entry.conformance_file is None:
        raise BundleError(f"{bundle.path}: level {level} has no conformance vectors; export the bundle again")
    arrays = load_arrays(bundle.read(entry.conformance_file), str(bundle.path))
    latents = arrays["y_hat_eighths"].astype(np.float32) / np.float32(8)  # (n, 4M, h, w)
    outputs = engine.open(bundle, level, "hyper").run({"z_hat": arrays["z_hat"].astype(np.float32)})
    state, found = outputs["state"], {"hyper": digest(outputs)}
    for g in range(len(entry.plan)):
        inputs = {"state": state}
        if g:
            channels = group_channels(entry.plan[g - 1], bundle.latent_channels)
            inputs["y_hat"] = np.ascontiguousarray(latents[:, channels])
        outputs = engine.open(bundle, level, f"context_g{g}").run(inputs)
        state = outputs.get("state_out", state)
        found[f"context_g{g}"] = digest(outputs)
    return found


def differing_parts(engine: Engine, bundle: Bundle, level: int) -> list[str]:
    """Names of the level's entropy parts that an engine does not compute exactly; empty where all are exact."""
    expected = bundle.level(level).conformance
    found = run_level(engine, bundle, level)
    return [part for part, value in found.items() if expected.get(part) != value]


def require_exact(engine: Engine, bundle: Bundle, level: int) -> None:
    """Raise EngineError naming the engine, level and parts where an engine is not exact."""
    wrong = differing_parts(engine, bundle, level)
    if wrong:
        raise EngineError(
            f"engine {engine.name}: {', '.join(wrong)} of level {level} differ from the bundle's conformance vectors, "
            "so it would decode files wrongly; use engine 'oracle' or another one, and report the engine's version"
        )
