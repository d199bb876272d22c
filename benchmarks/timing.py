"""Latency per level, part and task, coder and network apart.

What a newcomer gets wrong: measuring one level after the other lets a machine that slows down or gets busy favour the
levels that came first. Here levels take turns: every round runs each of them, after a warm-up that brings its weights
back into the caches.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..runtime.bundle import Bundle, Level
from ..runtime.codec import Codec
from ..runtime.integer import best_kernels
from ..runtime.profile import GLUE, Profile
from .fit import NETWORK_TASKS, runs_in
from .images import Photo
from .results import Latency, LevelRow, PartRow

NOT_NETWORK = ("coder", *GLUE)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often to measure: each of `repeats` rounds runs every image once after `warmup` unmeasured runs."""

    quality: int
    warmup: int
    repeats: int


@dataclass(slots=True)
class Clock:
    """Seconds of calls, wall and CPU side by side."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def add(self, wall_s: float, cpu_s: float) -> None:
        self.wall_s.append(wall_s)
        self.cpu_s.append(cpu_s)

    def latency(self) -> Latency:
        """Percentiles in milliseconds; at least one call is needed."""
        p50, p90, p99 = (float(p) for p in 1e3 * np.percentile(self.wall_s, (50, 90, 99)))
        return Latency(
            num_samples=len(self.wall_s),
            latency_p50_ms=p50,
            latency_p90_ms=p90,
            latency_p99_ms=p99,
            latency_mean_ms=1e3 * float(np.mean(self.wall_s)),
            cpu_p50_ms=1e3 * float(np.median(self.cpu_s)),
        )


@dataclass(slots=True)
class LevelClocks:
    """Everything timed of one level: whole tasks, parts, and each task's sums of network, coder and glue."""

    tasks: dict[str, Clock] = field(default_factory=dict)
    parts: dict[str, Clock] = field(default_factory=dict)
    sums_s: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    bpp: list[float] = field(default_factory=list)

    def add(self, task: str, profile: Profile, wall_s: float, cpu_s: float) -> None:
        """One call of a task; glue is what neither a part nor the coder accounts for."""
        self.tasks.setdefault(task, Clock()).add(wall_s, cpu_s)
        coder = profile.wall_s.get("coder", 0.0)
        network = 0.0
        for part, seconds in profile.wall_s.items():
            if part not in NOT_NETWORK:
                self.parts.setdefault(part, Clock()).add(seconds, profile.cpu_s[part])
                network += seconds
        for name, seconds in (("network", network), ("coder", coder), ("glue", wall_s - network - coder)):
            self.sums_s.setdefault((task, name), []).append(seconds)

    def median_ms(self, task: str, name: str) -> float:
        return 1e3 * float(np.median(self.sums_s[task, name]))


def time_levels(
    codec: Codec,
    levels: Sequence[int],
    photos: Sequence[Photo],
    plan: Plan,
    step: Callable[[str], None],
    rival: Callable[[], None] | None = None,
) -> dict[int, LevelClocks]:
    """Encode and decode each photo `plan.repeats` times at every level; `step` is told before each level's turn.

    `rival` runs once after every round, so that what it measures saw the same machine.
    """
    images = [Image.fromarray(photo.pixels) for photo in photos]
    clocks = {level: LevelClocks() for level in levels}
    for _ in range(plan.repeats):
        for level in levels:
            step(f"timing level {level}")
            for _ in range(plan.warmup):
                codec.decode(codec.encode(images[0], level=level, quality=plan.quality))
            for image in images:
                _time_once(codec, image, level, plan.quality, clocks[level])
        if rival is not None:
            rival()
    return clocks


def _time_once(codec: Codec, image: Image.Image, level: int, quality: int, clocks: LevelClocks) -> None:
    profile, start = Profile(), (time.perf_counter(), time.process_time())
    data = codec.encode(image, level=level, quality=quality, profile=profile)
    clocks.add("encode", profile, time.perf_counter() - start[0], time.process_time() - start[1])
    clocks.bpp.append(8 * len(data) / (image.width * image.height))
    profile, start = Profile(), (time.perf_counter(), time.process_time())
    codec.decode(data, profile=profile)
    clocks.add("decode", profile, time.perf_counter() - start[0], time.process_time() - start[1])


@dataclass(frozen=True, slots=True)
class Costs:
    """What is known of the parts beside their time; keys are (level, part or task)."""

    num_pixels: int
    traffic_bytes: Mapping[tuple[int, str], int | None]
    peak_memory_mib: Mapping[tuple[int, str], float | None]


def part_rows(engine: str, bundle: Bundle, clocks: Mapping[int, LevelClocks], costs: Costs) -> list[PartRow]:
    """One row per level and part; `costs.num_pixels` counts the padded image."""
    rows = []
    loops = engine == "ort" and best_kernels() is not None
    for level, measured in clocks.items():
        for name, part in bundle.levels[level].parts.items():
            latency = measured.parts[name].latency()
            rows.append(
                PartRow(
                    engine=engine,
                    level=level,
                    part=name,
                    kmacs_per_pixel=part.kmacs_per_pixel,
                    num_macs=round(1e3 * part.kmacs_per_pixel * costs.num_pixels),
                    num_parameters=part.num_parameters,
                    traffic_bytes=costs.traffic_bytes.get((level, name)),
                    num_samples=latency.num_samples,
                    latency_p50_ms=latency.latency_p50_ms,
                    latency_p90_ms=latency.latency_p90_ms,
                    latency_p99_ms=latency.latency_p99_ms,
                    cpu_p50_ms=latency.cpu_p50_ms,
                    peak_memory_mib=costs.peak_memory_mib.get((level, name)),
                    precision="int16" if loops and part.precision == "exact" else part.precision,
                )
            )
    return rows


def level_rows(engine: str, bundle: Bundle, clocks: Mapping[int, LevelClocks], costs: Costs) -> list[LevelRow]:
    """One row per level and task."""
    return [
        _level_row(engine, level, bundle.levels[level], task, measured, costs.peak_memory_mib.get((level, task)))
        for level, measured in clocks.items()
        for task in NETWORK_TASKS
    ]


def _level_row(
    engine: str, number: int, level: Level, task: str, clocks: LevelClocks, memory: float | None
) -> LevelRow:
    parts = [part for name, part in level.parts.items() if runs_in(name, task)]
    latency = clocks.tasks[task].latency()
    return LevelRow(
        engine=engine,
        level=number,
        task=task,
        kmacs_per_pixel=sum(part.kmacs_per_pixel for part in parts),
        num_parameters=sum(part.num_parameters for part in parts),
        num_groups=len(level.plan),
        bpp=float(np.mean(clocks.bpp)),
        num_samples=latency.num_samples,
        latency_p50_ms=latency.latency_p50_ms,
        latency_p90_ms=latency.latency_p90_ms,
        latency_p99_ms=latency.latency_p99_ms,
        cpu_p50_ms=latency.cpu_p50_ms,
        network_ms=clocks.median_ms(task, "network"),
        coder_ms=clocks.median_ms(task, "coder"),
        glue_ms=clocks.median_ms(task, "glue"),
        images_per_s=1e3 / latency.latency_mean_ms,
        peak_memory_mib=memory,
    )
