"""Reference rate-distortion curves and BD-rate against them.

What a newcomer gets wrong: a curve averaged over all of Kodak says nothing about three of its images. `applies_to`
tells; a comparison with other images needs curves of those images.
"""

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .results import BenchError, Curve

KODAK_CURVES = Path(__file__).parent / "kodak_curves" / "kodak.json"
KODAK_STEMS = frozenset(f"kodim{i:02}" for i in range(1, 25))

_MIN_POINTS = 2
_MIN_OVERLAP = 0.25


def applies_to(stems: Iterable[str]) -> bool:
    """Whether images with these file stems are what the Kodak curves average over: all 24, nothing else."""
    return frozenset(stems) == KODAK_STEMS


def load_curves(path: Path) -> list[Curve]:
    """Curves of a file in this project's format, or one curve of a CompressAI result file.

    Ours: {"curves": [{"name", "source", "bpp", "psnr_db", "ms_ssim"?}]}. CompressAI: {"name", "results": {"bpp",
    "psnr-rgb", "ms-ssim-rgb"?}}. Raises BenchError.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if "results" in content:
            return [_from_compressai(content, path)]
        return [_curve(item["name"], item["source"], item, "psnr_db", "ms_ssim") for item in content["curves"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"curves {path.name}: expected JSON with 'curves' (name, source, bpp, psnr_db) or CompressAI's 'results', "
            f"got {type(error).__name__}: {error}; see {KODAK_CURVES.name} for an example"
        ) from error


def _from_compressai(content: dict[str, Any], path: Path) -> Curve:
    return _curve(content.get("name", path.stem), path.name, content["results"], "psnr-rgb", "ms-ssim-rgb")


def _curve(name: str, source: str, points: dict[str, Any], psnr_key: str, ssim_key: str) -> Curve:
    order = np.argsort(points["bpp"], kind="stable")
    sorted_by_rate = {
        key: tuple(float(points[key][i]) for i in order) for key in ("bpp", psnr_key, ssim_key) if key in points
    }
    return Curve(name, source, sorted_by_rate["bpp"], sorted_by_rate[psnr_key], sorted_by_rate.get(ssim_key))


def bd_rate_percent(reference: Curve, bpp: Sequence[float], psnr_db: Sequence[float]) -> tuple[float | None, str]:
    """BD-rate of points against a curve over RGB PSNR (Bjontegaard 2001, piecewise cubic as in the JVET practice).

    -10 means 10 % smaller files at equal PSNR. Returns (None, reason) where it has no meaning: too few points, a
    curve that does not rise, too small a common range of PSNR, or no `bjontegaard` package.
    """
    order = np.argsort(bpp, kind="stable")
    rate, quality = np.asarray(bpp, float)[order], np.asarray(psnr_db, float)[order]
    if len(rate) < _MIN_POINTS:
        return None, f"needs {_MIN_POINTS} qualities, got {len(rate)}"
    if np.any(np.diff(rate) <= 0) or np.any(np.diff(quality) <= 0):
        return None, "PSNR does not rise with bpp"
    if np.any(np.diff(reference.bpp) <= 0) or np.any(np.diff(reference.psnr_db) <= 0):
        return None, f"PSNR of {reference.name} does not rise with bpp"
    overlap = _overlap(quality, reference.psnr_db)
    if overlap < _MIN_OVERLAP:
        return None, f"only {overlap:.0%} of the PSNR range is common"
    try:
        from bjontegaard import bd_rate
    except ImportError:
        return None, "pip install 'basic-nic[bench]' for the bjontegaard package"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns below 75 % overlap; the note carries the figure instead
        value = bd_rate(
            np.asarray(reference.bpp), np.asarray(reference.psnr_db), rate, quality,
            method="pchip", require_matching_points=False,
        )  # fmt: skip
    return float(value), f"{overlap:.0%} of our PSNR range is common"


def _overlap(ours: Sequence[float] | np.ndarray[Any, Any], theirs: Sequence[float]) -> float:
    """The share of our PSNR range that theirs covers."""
    common = min(max(ours), max(theirs)) - max(min(ours), min(theirs))
    return float(max(common, 0.0) / (max(ours) - min(ours)))
