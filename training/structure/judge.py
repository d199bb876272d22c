"""What a structure is worth: rate and distortion on fixed crops, with the tensors that a change leaves alone kept.

What a newcomer gets wrong: candidates are compared, so all of them must see the same crops, qualities and (hard)
rounding; what a loss means beyond these crops is for held-out ones to say. A change of the synthesis needs y_hat alone,
one of the entropy part the latent, only one of the analysis everything: three caches keep a search cheap.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.groups import Plan
from ..context import pack, unpack
from ..data import Photographs, to_tensor
from ..entropy import gaussian_bits
from ..loss import balance
from ..model import Model, quality_to_lambda
from ..nodes import Widths

QUALITIES = (6.0, 24.0, 42.0, 60.0)
PARTS = ("analysis", "entropy", "synthesis")
CACHED = 16  # latents of so many structures are kept
CHUNK = 8  # crops that run through g_s at once: its activations then stay in the cache of a core

Floats = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """Of each pair of a crop and a quality, (P,) float64: bits per pixel and mean squared error on 0..1."""

    bpp: Floats
    mse: Floats


class Judge:
    """A model with its crops. `crops` (C, 3, S, S) in 0..1; pair p judges crop `of_crop[p]` at `quality[p]`."""

    def __init__(self, model: Model, crops: Tensor, pairs: Sequence[tuple[int, float]], fast: bool = False) -> None:
        """`fast` computes in bfloat16, as training does."""
        self.model = model.eval()
        self.crops = crops.contiguous(memory_format=torch.channels_last)
        self.of_crop = torch.tensor([crop for crop, _ in pairs])
        self.quality = np.array([quality for _, quality in pairs])
        lambdas = quality_to_lambda(model.arch, torch.from_numpy(self.quality))
        self.lambdas = 255.0**2 * lambdas.numpy()
        self.weights = balance(model.arch, lambdas).numpy()
        self.num_runs = 0
        self._fast = fast
        self._x = self.crops[self.of_crop]
        with torch.no_grad():
            self._gain, self._inverse_gain = model.modulator(torch.from_numpy(self.quality).float())
        self._latents: OrderedDict[Any, tuple[Tensor, Tensor]] = OrderedDict()
        self._decoded: OrderedDict[Any, tuple[Tensor, Floats]] = OrderedDict()

    def losses(self, score: Score) -> Floats:
        """The training's loss of every pair: (bpp + lambda 255^2 MSE) (lambda / geometric mean)^-BALANCE, (P,)."""
        found: Floats = (score.bpp + self.lambdas * score.mse) * self.weights
        return found

    def score(self, widths: Widths, plan: Plan) -> Score:
        """Rate and distortion of a structure with hard rounding."""
        self.num_runs += 1
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16) if self._fast else nullcontext():
            y_hat, bits = self._decode(widths, plan)
            values = unpack(y_hat) * self._inverse_gain
            mse = [
                (self.model.g_s(part, widths).clamp(0.0, 1.0) - x).square().mean(dim=(1, 2, 3))
                for part, x in zip(torch.split(values, CHUNK), torch.split(self._x, CHUNK), strict=True)
            ]
        size = self.crops.shape[-1] * self.crops.shape[-2]
        return Score(bits / size, torch.cat(mse).double().numpy())

    def latents(self, widths: Widths) -> tuple[Tensor, Tensor]:
        """Packed y with gain (P, 4M, h, w), not rounded, and z (P, C, h/2, w/2), rounded."""

        def make() -> tuple[Tensor, Tensor]:
            y = self.model.g_a(self.crops, widths)[self.of_crop] * self._gain
            return pack(y), self.model.h_a(y, widths).round()

        return _kept(self._latents, self._key(widths, "analysis"), make)

    def _decode(self, widths: Widths, plan: Plan) -> tuple[Tensor, Floats]:
        """y_hat, packed, and the bits of y and z of every pair, (P,)."""

        def make() -> tuple[Tensor, Floats]:
            packed, z = self.latents(widths)
            means, indexes, y_hat = self.model.context(self.model.h_s(z, widths), packed, plan, widths)
            with torch.autocast("cpu", enabled=False):
                bits = gaussian_bits(y_hat - means, indexes.round()).flatten(1).sum(1)
                bits = bits + self.model.z_density.bits(z).flatten(1).sum(1)
            return y_hat, bits.double().numpy()

        key = (self._key(widths, "analysis"), self._key(widths, "entropy"), plan)
        return _kept(self._decoded, key, make)

    def _key(self, widths: Widths, part: str) -> tuple[int, ...]:
        return tuple(widths[node.name] for node in self.model.arch.nodes if node.part == part)


def _kept(cache: OrderedDict[Any, T], key: Any, make: Callable[[], T]) -> T:
    if key in cache:
        cache.move_to_end(key)
        return cache[key]
    cache[key] = made = make()
    while len(cache) > CACHED:
        cache.popitem(last=False)
    return made


def crossed(num_crops: int, qualities: Sequence[float], per_crop: int) -> list[tuple[int, float]]:
    """Pairs: every crop at `per_crop` of the qualities, evenly spaced, in turns so that all are seen equally often."""
    step = max(1, len(qualities) // per_crop)
    return [(crop, quality) for crop in range(num_crops) for quality in qualities[crop % step :: step]]


def spread_crops(photographs: Photographs, count: int, size: int, held_out: bool = False) -> Tensor:
    """Centres of `count` photographs spread over the whole set, (C, 3, size, size).

    Even-numbered ones are for searching; `held_out` takes from the odd-numbered, which no search has seen.
    """
    images = photographs.images[int(held_out) :: 2] or photographs.images
    chosen = sorted({round(i * (len(images) - 1) / max(1, count - 1)) for i in range(count)})
    found = []
    for number in chosen:
        image = images[number]
        top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        found.append(image[top : top + size, left : left + size])
    return to_tensor(np.stack(found))


def by_quality(judge: Judge, values: Floats) -> Mapping[float, float]:
    """Means of a value of every pair at each quality."""
    return {float(q): float(values[judge.quality == q].mean()) for q in np.unique(judge.quality)}
