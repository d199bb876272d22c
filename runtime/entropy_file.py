"""A level's entropy path from where it stands: `entropy.npz`, and the weights that its ONNX parts hold already.

What a newcomer gets wrong: the entropy id covers every array, wherever it is kept. Weights are half of a level's
entropy path and stand in `hyper` and the contexts as they are, int16; so they are not written twice. What no part
reads (of the last group, the layers that would tell a next one) stays in `entropy.npz`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, reason
from .groups import NUM_PHASES, Plan, group_channels
from .onnx_file import read

Array = NDArray[Any]
Arrays = Mapping[str, Array]

HYPER = ("h_s.spread", "h_s.depthwise", "h_s.up")
HEAD = ("context.first", "context.depthwise", "context.second")
"""In every context, the same ones."""
BY_GROUP = ("context.mean", "context.scale")
"""Output channels of a group in the context of that group."""
READ, WRITE = "context.read.weight", "context.write.weight"
"""Output channels of one, input channels of the other: of a group in the context of the next."""


def lean(arrays: Arrays, plan: Plan) -> dict[str, Array]:
    """What `entropy.npz` holds of all the arrays: everything but the weights that parts of this plan hold."""
    held = {f"{name}.weight" for name in (*HYPER, *HEAD, *BY_GROUP)}
    kept = {name: array for name, array in arrays.items() if name not in held}
    last = _channels(arrays, plan, len(plan) - 1)
    return kept | {READ: arrays[READ][last], WRITE: arrays[WRITE][:, last]}


def complete(kept: Arrays, plan: Plan, part: Callable[[str], bytes], where: str) -> dict[str, Array]:
    """All arrays of an entropy path: the inverse of `lean`.

    kept: of an `entropy.npz`; one that holds every weight (bundle format 1) is returned as it is. part: the ONNX file
    of a part of the level by name. where: for errors.

    Raises:
        BundleError: a weight is missing, has another type or shape than its place, or differs between contexts.
    """
    if f"{HYPER[0]}.weight" in kept:
        return dict(kept)
    try:
        return dict(kept) | dict(_weights(kept, plan, part))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BundleError(
            f"{where}: entropy.npz and the ONNX parts do not make an entropy path: {reason(error)}; "
            "export the bundle again"
        ) from error


def _weights(kept: Arrays, plan: Plan, part: Callable[[str], bytes]) -> Iterator[tuple[str, Array]]:
    hyper = read(part("hyper")).initializers
    contexts = [read(part(f"context_g{g}")).initializers for g in range(len(plan))]
    channels = [_channels(kept, plan, g) for g in range(len(plan))]
    num_packed = sum(map(len, channels))
    for name in HYPER:
        yield f"{name}.weight", _matrix(hyper, name)
    for name in HEAD:
        found = _matrix(contexts[0], name)
        if not all(np.array_equal(_matrix(context, name), found) for context in contexts[1:]):
            raise ValueError(f"{name} differs between contexts")
        yield f"{name}.weight", found
    for name in BY_GROUP:
        rows = [_matrix(context, name) for context in contexts]
        yield f"{name}.weight", _placed(rows, channels, (num_packed, *rows[0].shape[1:]))
    rows = [*(_matrix(context, "context.read") for context in contexts[1:]), kept[READ]]
    yield READ, _placed(rows, channels, (num_packed, *rows[0].shape[1:]))
    rows = [*(_matrix(context, "context.write").T for context in contexts[1:]), kept[WRITE].T]
    yield WRITE, np.ascontiguousarray(_placed(rows, channels, (num_packed, *rows[0].shape[1:])).T)


def _channels(arrays: Arrays, plan: Plan, group: int) -> NDArray[np.intp]:
    return group_channels(plan[group], len(arrays["context.read.shift"]) // NUM_PHASES)


def _matrix(initializers: Arrays, name: str) -> Array:
    """A convolution's weight (o, i, 1, 1) as (o, i), a depthwise one (o, 1, 3, 3) as (o, 3, 3)."""
    weight = initializers[f"{name}.weight"]
    if weight.dtype != np.int16 or weight.ndim != 4:
        raise ValueError(f"{name}.weight: expected int16 of 4 dimensions, got {weight.dtype} of {weight.shape}")
    return weight[:, :, 0, 0] if weight.shape[2:] == (1, 1) else weight[:, 0]


def _placed(rows: list[Array], channels: list[NDArray[np.intp]], shape: tuple[int, ...]) -> Array:
    """Rows of every group at the places of its channels."""
    found = np.zeros(shape, np.int16)
    for chosen, row in zip(channels, rows, strict=True):
        if row.shape != (len(chosen), *shape[1:]) or row.dtype != np.int16:
            raise ValueError(f"expected int16 rows of {(len(chosen), *shape[1:])}, got {row.dtype} of {row.shape}")
        found[chosen] = row
    return found
