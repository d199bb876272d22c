"""Learned against default structures on photographs that the search has not seen, with the noise over images."""

from dataclasses import dataclass

import numpy as np

from .judge import Floats, Judge
from .levels import LevelEntry

RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """Loss of one structure over that of another, in percent: the mean, and the middle 95 % over resampled images."""

    percent: float
    low: float
    high: float


def losses_of(judge: Judge, entry: LevelEntry) -> Floats:
    """(C,) loss of every crop, mean over its qualities."""
    losses = judge.losses(judge.score(entry.widths, entry.plan))
    crops = judge.of_crop.numpy()
    return np.array([losses[crops == crop].mean() for crop in range(len(judge.crops))])


def difference(ours: Floats, theirs: Floats, seed: int = 0) -> Difference:
    """Bootstrap over images (C,): both sums are over the same images."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(ours), size=(RESAMPLES, len(ours)))
    ratios = 100 * (ours[drawn].sum(1) / theirs[drawn].sum(1) - 1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Difference(float(100 * (ours.sum() / theirs.sum() - 1)), float(low), float(high))
