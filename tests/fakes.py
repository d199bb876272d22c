"""A bundle and an engine in a few lines of numpy: real shapes, windows and groups, networks that take no time.

y is a mixture of block means of the image, blurred over its neighbours (so that windows need their margin); contexts
predict from the state, which sums what was decoded before (so that a wrong order or state is noticed).
"""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from basic.runtime.codec import Codec
from basic.runtime.errors import BundleError
from basic.runtime.groups import channel_wise, checkerboard, group_channels, one_group
from basic.runtime.tables import gaussian_tables, join

M, C = 16, 4
PLANS = (one_group(), checkerboard(), channel_wise(4))
MIX = np.random.default_rng(5).normal(size=(M, 3)).astype(np.float32)
Arrays = Mapping[str, np.ndarray]


class FakeBundle:
    """Three levels that differ in plan and entropy id."""

    def __init__(self, ids: tuple[bytes, ...] = (b"level--0", b"level--1", b"level--2")) -> None:
        scales = np.exp(np.linspace(np.log(0.11), np.log(64), 64))
        tables = join(gaussian_tables(scales), gaussian_tables(np.full(C, 4.0)))
        self.receptive_field = {"analysis": 32, "synthesis": 17}
        self.latent_channels = M
        self.num_levels = len(ids)
        self.levels = {i: SimpleNamespace(level=i, plan=PLANS[i], entropy_id=ids[i]) for i in range(len(ids))}
        self.tables = lambda level: tables

    def level(self, number: int) -> SimpleNamespace:
        if number not in self.levels:
            raise BundleError(f"level {number}")
        return self.levels[number]

    def gain(self, quality: float) -> np.ndarray:
        return np.full((1, M, 1, 1), 2 ** (quality / 16), np.float32)

    def inverse_gain(self, quality: float) -> np.ndarray:
        return 1 / self.gain(quality)


class FakeEngine:
    """`batches` records the batch size of every run by part."""

    name = "fake"

    def __init__(self) -> None:
        self.batches: list[tuple[str, int]] = []
        self.closed = False

    def open(self, bundle: FakeBundle, level: int, part: str) -> "FakeSession":
        return FakeSession(self, PLANS[level], level, part)

    def close(self) -> None:
        self.closed = True


class FakeSession:
    def __init__(self, engine: FakeEngine, plan: tuple, level: int, part: str) -> None:
        self.engine, self.plan, self.level, self.part = engine, plan, level, part

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        assert all(value.flags.c_contiguous for value in inputs.values())
        self.engine.batches.append((self.part, len(next(iter(inputs.values())))))
        if self.part.startswith("context_g"):
            return self.context(int(self.part[9:]), **inputs)
        return getattr(self, self.part)(**inputs)

    def analysis(self, x: np.ndarray, gain: np.ndarray) -> dict[str, np.ndarray]:
        b, _, h, w = x.shape
        means = x.reshape(b, 3, h // 16, 16, w // 16, 16).mean((3, 5)) - np.float32(0.5)
        y = np.einsum("mc,bchw->bmhw", MIX, blur(means)) * gain * 8
        z = y[:, :C].reshape(b, C, h // 64, 4, w // 64, 4).mean((3, 5))
        return {"y": y.astype(np.float32), "z": z.astype(np.float32)}

    def hyper(self, z_hat: np.ndarray) -> dict[str, np.ndarray]:
        return {"state": z_hat.repeat(2, 2).repeat(2, 3) + np.float32(self.level)}

    def context(self, group: int, state: np.ndarray, y_hat: np.ndarray | None = None) -> dict[str, np.ndarray]:
        if y_hat is not None:
            state = state + y_hat.mean(1, keepdims=True)
        num = len(group_channels(self.plan[group], M))
        means = np.rint(state.repeat(-(-num // C), 1)[:, :num] * 4).astype(np.int16)
        indexes = (np.abs(means) % 24 + 24).astype(np.uint8)
        out = {"means": means, "indexes": indexes}
        return out if group + 1 == len(self.plan) else out | {"state_out": state.astype(np.float32)}

    def synthesis(self, y_hat: np.ndarray, inverse_gain: np.ndarray) -> dict[str, np.ndarray]:
        means = np.einsum("cm,bmhw->bchw", np.linalg.pinv(MIX), y_hat * inverse_gain / 8)
        x_hat = (blur(means) + 0.5).clip(0, 1).repeat(16, 2).repeat(16, 3)
        return {"x_hat": x_hat.astype(np.float32)}


def blur(values: np.ndarray) -> np.ndarray:
    """One fifth of each neighbour above, below, left, right and itself; zero outside."""
    wide = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    near = wide[:, :, :-2, 1:-1] + wide[:, :, 2:, 1:-1] + wide[:, :, 1:-1, :-2] + wide[:, :, 1:-1, 2:]
    return (values + near) / np.float32(5)


def fake_codec(**options: int) -> Codec:
    return Codec(FakeBundle(), FakeEngine(), **options)  # type: ignore[arg-type]
