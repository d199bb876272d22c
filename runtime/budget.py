"""Which level fits a time: a latency profile of this machine, engine and bundle, and the choice of levels by it.

What a newcomer gets wrong: decoding can choose its synthesis only. The entropy level is in the file, so the smallest
budget that a file allows is its entropy level plus the lightest synthesis.

`basic-bench --save-profile` measures each level's four steps at several image sizes. Times are near the slowest that
were seen, linear in pixels between the sizes and proportional to pixels beyond the largest.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from .arguments import positive, whole
from .bundle import Bundle
from .errors import BudgetError, BundleError, reason

FORMAT, FORMAT_VERSION = "basic-latency-profile", 1
STEPS = ("analysis", "entropy_encode", "entropy_decode", "synthesis")
"""entropy_encode and entropy_decode hold all that is neither transform: networks, coder, conversion, file."""

Curve = tuple[tuple[int, float], ...]  # (pixels, ms), pixels rising


@dataclass(frozen=True)
class LatencyProfile:
    """Milliseconds of every level's STEPS over pixels, for the bundle of `entropy_ids` on an engine."""

    engine: str
    threads: int | None
    entropy_ids: Mapping[int, str]
    curves: Mapping[int, Mapping[str, Curve]]
    circumstances: Mapping[str, Any]

    def encode_ms(self, level: int, entropy_level: int, num_pixels: int) -> float:
        """A whole encode at an analysis level and an entropy level."""
        analysis, entropy = self.curves[level]["analysis"], self.curves[entropy_level]["entropy_encode"]
        return _at(analysis, num_pixels) + _at(entropy, num_pixels)

    def decode_ms(self, entropy_level: int, synthesis_level: int, num_pixels: int) -> float:
        """A whole decode of a file of an entropy level by a synthesis level."""
        entropy, synthesis = self.curves[entropy_level]["entropy_decode"], self.curves[synthesis_level]["synthesis"]
        return _at(entropy, num_pixels) + _at(synthesis, num_pixels)

    def encode_level(
        self, budget_ms: float, num_pixels: int, entropy_level: int | None = None, slowness: float = 1.0
    ) -> int:
        """The heaviest level that encodes in the budget. Raises BudgetError where even the lightest takes longer."""
        budget_ms = positive("budget_ms", budget_ms, "milliseconds")
        times = {
            level: slowness * self.encode_ms(level, level if entropy_level is None else entropy_level, num_pixels)
            for level in self.curves
        }
        fitting = [level for level, needed_ms in times.items() if needed_ms <= budget_ms]
        if not fitting:
            raise BudgetError(
                f"budget_ms: expected at least {min(times.values()):.1f} for {num_pixels} pixels on this machine "
                f"(level {min(times, key=lambda level: times[level])}), got {budget_ms:g}; "
                "give more time or a smaller image"
            )
        return max(fitting)

    def decode_level(self, budget_ms: float, num_pixels: int, entropy_level: int, slowness: float = 1.0) -> int:
        """The heaviest synthesis that decodes in the budget. Raises BudgetError with the least that the file allows."""
        budget_ms = positive("budget_ms", budget_ms, "milliseconds")
        times = {level: slowness * self.decode_ms(entropy_level, level, num_pixels) for level in self.curves}
        fitting = [level for level, needed_ms in times.items() if needed_ms <= budget_ms]
        if not fitting:
            lightest = min(times, key=lambda level: times[level])
            raise BudgetError(
                f"budget_ms: expected at least {times[lightest]:.1f}, the file's entropy level {entropy_level} plus "
                f"synthesis {lightest} on this machine, got {budget_ms:g}; give more time, or encode with a lighter "
                "entropy_level"
            )
        return max(fitting)

    def check_for(self, bundle: Bundle, engine: str, num_threads: int | None = None) -> None:
        """Raise BudgetError unless the profile was measured with this bundle's levels on this engine, and with
        `num_threads` where they are given."""
        here = {level: entry.entropy_id.hex() for level, entry in bundle.levels.items()}
        if (self.engine, dict(self.entropy_ids)) != (engine, here):
            raise BudgetError(
                f"latency profile: measured with engine {self.engine} and levels {dict(self.entropy_ids)}, "
                f"this codec has engine {engine} and levels {here}; measure with basic-bench --save-profile"
            )
        if num_threads is not None and whole("num_threads", num_threads, 1) != self.threads:
            raise BudgetError(
                f"latency profile: measured with num_threads {self.threads}, this codec was asked for {num_threads}; "
                f"leave the number to the profile, or measure with basic-bench --save-profile --threads {num_threads}"
            )

    def to_json(self) -> str:
        levels = {
            str(level): {"entropy_id": self.entropy_ids[level], "steps": {step: list(c) for step, c in curves.items()}}
            for level, curves in self.curves.items()
        }
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "engine": self.engine, "threads": self.threads}
        return json.dumps(head | {"levels": levels, "circumstances": dict(self.circumstances)}, indent=1) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> "LatencyProfile":
        """Read a profile. Raises BundleError where it is missing or damaged."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if (content["format"], content["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"found {content['format']} version {content['format_version']!r}")
            levels = {int(level): entry for level, entry in content["levels"].items()}
            curves = {
                level: {step: tuple((int(n), float(ms)) for n, ms in entry["steps"][step]) for step in STEPS}
                for level, entry in levels.items()
            }
            if not curves or not all(_sound(curve) for steps in curves.values() for curve in steps.values()):
                raise ValueError("expected levels with times over rising numbers of pixels")
            ids = {level: str(entry["entropy_id"]) for level, entry in levels.items()}
            threads = None if content["threads"] is None else int(content["threads"])
            return cls(str(content["engine"]), threads, ids, curves, content.get("circumstances", {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"latency profile {path}: expected {FORMAT} version {FORMAT_VERSION} ({reason(error)}); "
                "make it with basic-bench --save-profile"
            ) from error


class Slowness:
    """How this machine now compares with its profile: the slowest of the last calls over what was foretold.

    A machine that slows down, by heat or by other work, is noticed with the next call, and once it is quick again after
    REMEMBERED calls. Never below LEAST, for a profile holds slow times already. Safe to share between threads.
    """

    REMEMBERED = 12
    LEAST = 0.9

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=self.REMEMBERED)

    def add(self, measured_ms: float, foretold_ms: float) -> None:
        """One call."""
        self._ratios.append(measured_ms / max(foretold_ms, 1e-3))

    @property
    def factor(self) -> float:
        """What foretold times are to be multiplied with; 1 before the first call."""
        return max(self.LEAST, *tuple(self._ratios), self.LEAST) if self._ratios else 1.0


def _sound(curve: Curve) -> bool:
    rising = all(a[0] < b[0] for a, b in pairwise(curve))
    return bool(curve) and rising and curve[0][0] > 0 and all(0 <= ms < float("inf") for _, ms in curve)


def _at(curve: Sequence[tuple[int, float]], num_pixels: int) -> float:
    """Below the smallest size that of the smallest; beyond the largest in proportion."""
    if num_pixels >= curve[-1][0]:
        return curve[-1][1] * num_pixels / curve[-1][0]
    for (low, low_ms), (high, high_ms) in pairwise(curve):
        if low <= num_pixels < high:
            return low_ms + (high_ms - low_ms) * (num_pixels - low) / (high - low)
    return curve[0][1]
