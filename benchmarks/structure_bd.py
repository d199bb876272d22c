"""BD-rate and BD-PSNR of two structures with the noise over images: means of resampled images, compared again.

What a newcomer gets wrong: the curve of a light structure ends at a PSNR that its transforms cannot pass. BD-rate sees
only where curves overlap in PSNR, and flatters it; BD-PSNR compares where rates overlap, which is nearly everywhere.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]  # bpp and PSNR in dB of every image at every quality, (I, Q) each

RESAMPLES = 400
MIN_OVERLAP = 0.1


@dataclass(frozen=True)
class Gain:
    """Of one structure over another, with the middle 95 % over resampled images; None where curves have no common
    range. `overlap`: the share of our PSNR range that theirs covers."""

    bd_rate_percent: float | None
    bd_rate_low_percent: float | None
    bd_rate_high_percent: float | None
    bd_psnr_db: float | None
    bd_psnr_low_db: float | None
    bd_psnr_high_db: float | None
    overlap: float


def compare(ours: Points, theirs: Points, num_resamples: int = RESAMPLES, seed: int = 0) -> Gain:
    """Both structures on the same images; every resampling draws images, not points."""
    rng = np.random.default_rng(seed)
    num_images = len(ours[0])
    everything = np.arange(num_images)
    draws = [everything] + [rng.integers(num_images, size=num_images) for _ in range(num_resamples)]
    found = [_bd(*(values[draw].mean(0) for values in (*ours, *theirs))) for draw in draws]
    rate = _interval([each[0] for each in found])
    psnr = _interval([each[1] for each in found])
    return Gain(*rate, *psnr, _overlap(ours[1].mean(0), theirs[1].mean(0)))


def _bd(bpp: Floats, psnr: Floats, their_bpp: Floats, their_psnr: Floats) -> tuple[float | None, float | None]:
    """(BD-rate in percent, BD-PSNR in dB) of mean curves (Q,)."""
    from bjontegaard import bd_psnr, bd_rate

    bpp, psnr, their_bpp, their_psnr = (*_rising(bpp, psnr), *_rising(their_bpp, their_psnr))
    if min(len(bpp), len(their_bpp)) < 2:
        return None, None
    points = (their_bpp, their_psnr, bpp, psnr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of small overlaps; the report carries the figure
        options = {"method": "pchip", "require_matching_points": False}
        rate = bd_rate(*points, **options) if _overlap(psnr, their_psnr) >= MIN_OVERLAP else None
        gain = bd_psnr(*points, **options) if _overlap(bpp, their_bpp) >= MIN_OVERLAP else None
    return rate, gain


def _rising(bpp: Floats, psnr: Floats) -> Points:
    """The points that pass all cheaper ones in PSNR: where a transform saturates, more bits can give less."""
    order = np.argsort(bpp, kind="stable")
    bpp, psnr = bpp[order], psnr[order]
    best = np.maximum.accumulate(psnr)
    keep = np.concatenate([[True], (psnr[1:] > best[:-1]) & (np.diff(bpp) > 0)])
    return bpp[keep], psnr[keep]


def _overlap(ours: Floats, theirs: Floats) -> float:
    """The share of our range that theirs covers."""
    common = min(ours.max(), theirs.max()) - max(ours.min(), theirs.min())
    return float(max(common, 0.0) / max(ours.max() - ours.min(), 1e-9))


def _interval(values: list[float | None]) -> tuple[float | None, float | None, float | None]:
    """The first value and the middle 95 % of the others; None where any has none."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    if len(known) < len(values):
        return None, None, None
    low, high = np.percentile(known[1:], (2.5, 97.5)) if len(known) > 1 else (known[0], known[0])
    return float(known[0]), float(low), float(high)
