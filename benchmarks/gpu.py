"""Latency on a device: parts between events against their floor, whole images from host to host, sizes and batches.

What a newcomer gets wrong: a network's time on the GPU is not what a user waits for. Both are here, apart: the first
says how good the engine is, the second has copies, entropy coding and everything else in it. All of it runs on the CPU
too, with its wall clock.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..runtime.bundle import Bundle, Part
from ..runtime.codec import Codec
from ..runtime.engine import TRANSFORMS, Engine, traits_of
from ..runtime.tiles import padded
from .device import EnergyMeter, memory_of, time_session
from .fit import fit_parts
from .floor import Peaks, Work, part_work
from .results import BenchError, DevicePartRow, FitRow, PartRow, ThroughputRow
from .shapes import input_shapes

Pixels = NDArray[np.uint8]
SIZES = ("768x512", "1920x1080", "3840x2160")
BATCHES = (1, 8)


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What to measure on a device and how often; `quality` is that of whole images."""

    sizes: tuple[str, ...] = SIZES
    batches: tuple[int, ...] = BATCHES
    repeats: int = 20
    warmup: int = 3
    quality: int = 32


def parse_size(text: str) -> tuple[int, int]:
    """ "1920x1080" -> (1080, 1920). Raises BenchError."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise BenchError(f"size {text!r}: expected WIDTHxHEIGHT as in 1920x1080")
    return int(height), int(width)


def scaled(photo: Pixels, size: str) -> Pixels:
    """A photograph (H, W, 3) made to a size: its middle in the right proportion, resampled."""
    height, width = parse_size(size)
    times = min(photo.shape[0] / height, photo.shape[1] / width)
    tall, wide = round(height * times), round(width * times)
    top, left = (photo.shape[0] - tall) // 2, (photo.shape[1] - wide) // 2
    cut = Image.fromarray(photo[top : top + tall, left : left + wide])
    return np.asarray(cut if cut.size == (width, height) else cut.resize((width, height), Image.Resampling.LANCZOS))


def part_inputs(part: Part, height: int, width: int, batch: int, as_bytes: bool) -> dict[str, NDArray[np.generic]]:
    """Inputs of the right kind: pixels, whole numbers, gains; their values do not change the time."""
    rng = np.random.default_rng(0)
    found: dict[str, NDArray[np.generic]] = {}
    for name, shape in input_shapes(part, height, width).items():
        if "gain" in name:
            found[name] = np.ones(shape, np.float32)
            continue
        values = rng.integers(0, 256 if name == "x" else 8, (batch, *shape[1:]))
        if name == "x":
            found[name] = values.astype(np.uint8) if as_bytes else values.astype(np.float32) / np.float32(255)
        else:
            found[name] = values.astype(np.float32)
    return found


def measure_parts(
    engine: Engine, bundle: Bundle, level: int, size: str, batch: int, repeats: int, peaks: Peaks | None
) -> list[DevicePartRow]:
    """Every part of a level for a batch of images of a size; without peaks no floor is told."""
    height, width = (padded(side) for side in parse_size(size))
    is_half = engine.name == "trt" or bool(getattr(engine, "is_half", False))
    rows = []
    for name, part in bundle.level(level).parts.items():
        inputs = part_inputs(part, height, width, batch, traits_of(engine).byte_images)
        times, clock = time_session(engine.open(bundle, level, name), inputs, repeats)
        in_half = is_half and name in TRANSFORMS
        if part.precision == "int8":  # its graph is another, and so is the rate that it could reach
            work, floor_ms = Work(0, round(1e3 * part.kmacs_per_pixel * height * width * batch)), None
        else:
            shapes = {key: value.shape for key, value in inputs.items()}
            work = part_work(bundle.read(part.file), shapes, 2 if in_half else 4)
            floor_ms = None if peaks is None else work.floor_ms(peaks, in_half)
        p50, p90 = (float(p) for p in np.percentile(times, (50, 90)))
        times_floor = None if floor_ms is None else p50 / floor_ms
        rows.append(
            DevicePartRow(
                engine.name, level, name, size, batch, clock, len(times), p50, p90,
                work.num_macs, work.num_bytes, floor_ms, times_floor,
            )
        )  # fmt: skip
    return rows


def measure_throughput(
    codec: Codec, engine: Engine, level: int, photos: Sequence[Pixels], size: str, batch: int, plan: DevicePlan
) -> list[ThroughputRow]:
    """Encode and decode `batch` images in a call, from host memory to host memory."""
    images = [Image.fromarray(scaled(photos[i % len(photos)], size)) for i in range(batch)]
    files = codec.encode_batch(images, level=level, quality=plan.quality)
    height, width = parse_size(size)
    bpp = 8 * sum(map(len, files)) / (batch * height * width)
    rows = []
    tasks: dict[str, Callable[[], object]] = {
        "encode": lambda: codec.encode_batch(images, level=level, quality=plan.quality),
        "decode": lambda: codec.decode_batch(files),
    }
    for task, work in tasks.items():
        times, joules = _time(work, plan, EnergyMeter(engine))
        p50, p90 = (float(p) for p in np.percentile(times, (50, 90)))
        memory = memory_of(engine)
        rows.append(
            ThroughputRow(
                engine.name, level, task, size, batch, len(times), 1e3 * p50, 1e3 * p90, batch / p50, bpp,
                None if memory is None else memory["in_use_mib"],
                None if joules is None else joules / (batch * len(times)),
            )
        )  # fmt: skip
    return rows


def _time(work: Callable[[], object], plan: DevicePlan, meter: EnergyMeter) -> tuple[list[float], float | None]:
    """Seconds of each call after the warm-up, and the GPU's joules in all of them."""
    for _ in range(plan.warmup):
        work()
    times, before = [], meter.joules()
    for _ in range(plan.repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    after = meter.joules()
    return times, None if before is None or after is None else after - before


def fit_device(rows: Sequence[DevicePartRow]) -> list[FitRow]:
    """Latency from MACs alone and from MACs and bytes, for every engine, size and batch that has parts enough."""
    found = []
    for key in dict.fromkeys((row.engine, row.size, row.batch, row.clock) for row in rows):
        alike = [row for row in rows if (row.engine, row.size, row.batch, row.clock) == key]
        parts = [_as_part(row) for row in alike if row.num_bytes]
        fits = [fit_parts(parts, with_bytes=with_bytes) for with_bytes in (False, True)]
        found += [replace(fit, clock=f"{key[3]}, {key[1]} x {key[2]}") for fit in fits if fit is not None]
    return found


def _as_part(row: DevicePartRow) -> PartRow:
    return PartRow(
        row.engine, row.level, row.part, 0.0, row.num_macs, 0, row.num_bytes, row.num_samples, row.latency_p50_ms,
        row.latency_p90_ms, row.latency_p90_ms, row.latency_p50_ms, None,
    )  # fmt: skip
