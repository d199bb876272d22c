"""`basic-bench --save-profile`: what every level's steps take on this machine, for `budget_ms` of the runtime.

What a newcomer gets wrong: a budget is a promise about nearly every call, so a profile holds times near the slowest
that were seen, at a quality with much to code, and the promise is checked with calls of its own afterwards.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise

import numpy as np
from PIL import Image

from ..runtime.budget import STEPS, LatencyProfile
from ..runtime.codec import Codec
from ..runtime.errors import BudgetError
from ..runtime.profile import Profile
from .images import Photo
from .machine import machine

SIZES = ((256, 256), (512, 768), (1024, 1024))  # height, width: multiples of 64, up to a tile
QUALITY = 48
ROUNDS, WARMUP = 12, 2
SLOW_PERCENTILE = 95
MARGIN = 1.05
FEW_CHECKS = 20  # of calls with a budget, below which their share is an accident


@dataclass(frozen=True)
class Kept:
    """How often calls with a budget kept it."""

    num_encodes: int
    num_decodes: int
    encodes_in_budget: int
    decodes_in_budget: int
    num_refused: int = 0
    """Budgets that no level would have kept, by the profile and the calls before."""


def measure_profile(
    codec: Codec, engine: str, threads: int | None, levels: Sequence[int], photo: Photo, step: Callable[[str], None]
) -> LatencyProfile:
    """Levels take turns in every round. The photograph is tiled to each size."""
    clocks: dict[tuple[int, str, int], list[float]] = {}
    for height, width in SIZES:
        image = tiled(photo, height, width)
        for number in range(WARMUP + ROUNDS):
            step(f"latency profile, {width}x{height}, round {number + 1}")
            for level in levels:
                found = _once(codec, image, level)
                if number >= WARMUP:
                    for name, value in found.items():
                        clocks.setdefault((level, name, height * width), []).append(value)

    def slow_ms(level: int, name: str, num_pixels: int) -> float:
        return MARGIN * float(np.percentile(clocks[level, name, num_pixels], SLOW_PERCENTILE))

    sizes = [height * width for height, width in SIZES]
    curves = {
        level: {name: tuple((size, slow_ms(level, name, size)) for size in sizes) for name in STEPS} for level in levels
    }
    ids = {level: codec.bundle.level(level).entropy_id.hex() for level in levels}
    about = machine() | {"quality": QUALITY, "rounds": ROUNDS, "percentile": SLOW_PERCENTILE, "margin": MARGIN}
    return LatencyProfile(engine, threads, ids, curves, about)


def tiled(photo: Photo, height: int, width: int) -> Image.Image:
    """The photograph repeated to a size."""
    pixels = photo.pixels
    times = (-(-height // pixels.shape[0]), -(-width // pixels.shape[1]), 1)
    return Image.fromarray(np.ascontiguousarray(np.tile(pixels, times)[:height, :width]))


def _once(codec: Codec, image: Image.Image, level: int) -> dict[str, float]:
    """Milliseconds of the four steps in one encode and decode."""
    profile, start = Profile(), time.perf_counter()
    data = codec.encode(image, level=level, quality=QUALITY, profile=profile)
    encode = 1e3 * (time.perf_counter() - start)
    analysis = 1e3 * profile.wall_s["analysis"]
    profile, start = Profile(), time.perf_counter()
    codec.decode(data, profile=profile)
    decode = 1e3 * (time.perf_counter() - start)
    synthesis = 1e3 * profile.wall_s["synthesis"]
    return dict(zip(STEPS, (analysis, encode - analysis, decode - synthesis, synthesis), strict=True))


def check_profile(codec: Codec, photos: Sequence[Photo], rounds: int, step: Callable[[str], None]) -> Kept:
    """Calls of budgets between the lightest and the heaviest level on whole photographs; the codec has a profile."""
    rng = np.random.default_rng(0)
    counts = dict.fromkeys((field.name for field in fields(Kept)), 0)
    codec.encode(photos[0].pixels)  # opens the networks of the heaviest level
    for number in range(rounds):
        step(f"checking budgets, round {number + 1}")
        for photo in photos:
            budget_ms = float(np.exp(rng.uniform(np.log(10), np.log(80)))) * photo.num_pixels / (512 * 768)
            try:
                for _ in range(2):  # the first call may open networks, which no profile holds
                    start = time.perf_counter()
                    data = codec.encode(photo.pixels, budget_ms=budget_ms)
                    encode_ms = 1e3 * (time.perf_counter() - start)
                counts["num_encodes"] += 1
                counts["encodes_in_budget"] += encode_ms <= budget_ms
                for _ in range(2):
                    start = time.perf_counter()
                    codec.decode(data, budget_ms=budget_ms)
                    decode_ms = 1e3 * (time.perf_counter() - start)
                counts["num_decodes"] += 1
                counts["decodes_in_budget"] += decode_ms <= budget_ms
            except BudgetError:
                counts["num_refused"] += 1
    return Kept(**counts)


def describe(kept: Kept) -> dict[str, float | None]:
    """The counts with their shares, None where there was no call."""
    shares = {
        "encode_share": kept.encodes_in_budget / kept.num_encodes if kept.num_encodes else None,
        "decode_share": kept.decodes_in_budget / kept.num_decodes if kept.num_decodes else None,
    }
    return asdict(kept) | shares


def doubts(profile: LatencyProfile, kept: Kept) -> list[str]:
    """What speaks against a profile, one line each: what was not checked, and times that other work has spoiled."""
    found = []
    unchecked = [name for name, num in (("encode", kept.num_encodes), ("decode", kept.num_decodes)) if not num]
    if unchecked:
        found.append(
            f"no {' and no '.join(unchecked)} was checked: {kept.num_refused} of the drawn budgets were refused, since "
            "this machine is slower than they allow, or busy; measure again when it is quiet"
        )
    elif min(kept.num_encodes, kept.num_decodes) < FEW_CHECKS:
        found.append(
            f"only {kept.num_encodes} encodes and {kept.num_decodes} decodes were checked, {kept.num_refused} budgets "
            f"refused: less than {FEW_CHECKS} say little; give more --repeats or more photographs, on a quiet machine"
        )
    falls = [
        f"level {level} {step.replace('_', ' ')} ({low_ms:.1f} ms at {low} pixels, {high_ms:.1f} at {high})"
        for level, curves in profile.curves.items()
        for step, curve in curves.items()
        for (low, low_ms), (high, high_ms) in pairwise(curve)
        if high_ms < low_ms
    ]
    if falls:
        more = f" and {len(falls) - 3} more" if len(falls) > 3 else ""
        found.append(
            f"times fall where images grow, so the machine was busy: {', '.join(falls[:3])}{more}; "
            "measure again when it is quiet"
        )
    return found
