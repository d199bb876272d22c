"""One benchmark run from settings to report; `cli.py` and other suites call it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..runtime.bundle import Bundle
from ..runtime.codec import DEFAULT_QUALITY, Codec
from ..runtime.engine import TRANSFORMS, Engine
from ..runtime.tiles import padded
from ..runtime.trt_build import cache_folder
from .curves import KODAK_CURVES, applies_to, load_curves
from .device import device_of, peaks_of
from .engines import GPU_ENGINES, HOST_ENGINES, start
from .fit import NETWORK_TASKS, fit_parts, shares
from .floor import Peaks
from .gpu import DevicePlan, fit_device, measure_parts, measure_throughput
from .images import Photo, load_photos, same_size
from .machine import images_used, load_average, machine, package_versions
from .memory import Target, peak_memory_mib
from .peers import MBT2018_MEAN, CompressAI, measure_pillow
from .rate import bd_rows, measure_rates, peer_curves
from .results import BenchError, Curve, LevelRow, PeerRow, Report, SpeedupRow
from .shapes import input_shapes
from .timing import Costs, Plan, level_rows, part_rows, time_levels
from .traffic import traffic_bytes

STAGES = ("timing", "memory", "quality", "device")
Step = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What to measure. Empty `levels`: all; `compressai_python` None: skip it; `device` None: sizes and batches are
    measured on GPU engines alone, at their defaults.

    `bundle` and `checkpoint` None: those that come with the package; `exactness` compares with the latter's networks.
    """

    images: Path
    bundle: Path | None = None
    engines: tuple[str, ...] = ("ort",)
    levels: tuple[int, ...] = ()
    qualities: tuple[int, ...] = (8, 20, 32, 44, 56)
    timing_quality: int = DEFAULT_QUALITY
    threads: int = 1
    warmup: int = 2
    repeats: int = 5
    limit: int | None = None
    num_timed_images: int = 4
    stages: tuple[str, ...] = STAGES
    peers: bool = False
    compressai_python: Path | None = None
    curves: tuple[Path, ...] = ()
    device: DevicePlan | None = None
    exactness: bool = False
    checkpoint: Path | None = None
    command: str = ""

    def measures_device(self, engine: str) -> bool:
        """Whether the device stage has something to do on this engine."""
        return "device" in self.stages and (self.device is not None or engine in GPU_ENGINES)

    def measures_nothing(self) -> bool:
        """Whether stages and options leave nothing to do."""
        others = self.peers or self.exactness or not {"device"}.issuperset(self.stages)
        return not (others or any(map(self.measures_device, self.engines)))


def run(settings: Settings, step: Step) -> Report:
    """Measure everything asked for; `step` is told what comes next.

    Raises BundleError, EngineError, ImageError or BenchError for what cannot be measured, before measuring anything
    where that can be known.
    """
    photos = load_photos(settings.images, settings.limit)
    timed = same_size(photos, settings.num_timed_images)
    bundle = Bundle.open(settings.bundle)
    levels = settings.levels or tuple(sorted(bundle.levels))
    for level in levels:
        bundle.level(level)
    references = reference_curves(settings, photos)
    report = Report(circumstances(settings, bundle, levels, photos, timed), references)
    if settings.exactness:
        step("exactness")
        measure_exactness(report, settings, bundle, levels, photos, timed[0], step)
    with ExitStack() as stack:
        rival = None
        if settings.compressai_python is not None and "timing" in settings.stages:
            step(MBT2018_MEAN)
            rival = CompressAI(settings.compressai_python, timed[0], settings.threads, settings.warmup)
            stack.enter_context(rival)
        for engine in settings.engines:
            measure_engine(report, settings, bundle, engine, levels, photos, timed, step, rival)
        if rival is not None:
            report.peers.append(rival.row())
            report.circumstances["peer_versions"] = rival.about["versions"]
            report.speedups.extend(speedup(level, report.peers[-1]) for level in report.levels)
    if settings.peers:
        report.peers.extend(measure_pillow(photos, step))
    report.references.extend(peer_curves(report.peers))
    report.bd_rates.extend(bd_rows(report.qualities, report.references))
    report.circumstances["load_average_after"] = load_average()
    return report


def reference_curves(settings: Settings, photos: Sequence[Photo]) -> list[Curve]:
    """The curve files that were given; without any, the Kodak curves where the images are those they average over."""
    if settings.curves:
        return [curve for path in settings.curves for curve in load_curves(path)]
    return load_curves(KODAK_CURVES) if applies_to(photo.stem for photo in photos) else []


def measure_engine(
    report: Report,
    settings: Settings,
    bundle: Bundle,
    engine: str,
    levels: Sequence[int],
    photos: Sequence[Photo],
    timed: Sequence[Photo],
    step: Step,
    rival: CompressAI | None = None,
) -> None:
    """Add one engine's rows to the report."""
    started = start(engine, settings.threads)
    with Codec(bundle, started) as codec:
        memory: Mapping[tuple[int, str], float | None] = {}
        if "memory" in settings.stages and engine in HOST_ENGINES:
            step("memory of parts and tasks")
            target = Target(str(bundle.path), engine, settings.threads, settings.timing_quality, tuple(levels))
            memory = peak_memory_mib(target, timed[0])
        if "timing" in settings.stages:
            plan = Plan(settings.timing_quality, settings.warmup, settings.repeats)
            clocks = time_levels(codec, levels, timed, plan, step, None if rival is None else rival.turn)
            costs = part_costs(bundle, levels, timed[0], memory)
            report.parts.extend(part_rows(engine, bundle, clocks, costs))
            report.levels.extend(level_rows(engine, bundle, clocks, costs))
            add_fits(report, engine)
        if "quality" in settings.stages:
            report.qualities.extend(measure_rates(codec, engine, levels, settings.qualities, photos, step))
        if settings.measures_device(engine):
            measure_device(report, settings, started, codec, levels, timed, step)


def measure_device(
    report: Report,
    settings: Settings,
    engine: Engine,
    codec: Codec,
    levels: Sequence[int],
    photos: Sequence[Photo],
    step: Step,
) -> None:
    """Add what an engine's device does at every size and batch: its peaks, parts against their floor, whole images."""
    plan = settings.device or DevicePlan()
    step(f"peaks of the device of {engine.name}")
    peaks = peaks_of(engine, cache_folder(codec.bundle.path))
    report.circumstances[f"device of {engine.name}"] = device_of(engine) | ({} if peaks is None else asdict(peaks))
    if peaks is None:  # another engine's GPU is the one that TensorRT measured, if it did
        peaks = peaks_from(report.circumstances.get("device of trt"))
    pixels = [photo.pixels for photo in photos]
    rows = []
    for size in plan.sizes:
        for batch in plan.batches:
            for level in levels:
                step(f"{engine.name}: level {level}, {batch} of {size}")
                report.throughputs.extend(measure_throughput(codec, engine, level, pixels, size, batch, plan))
                rows += measure_parts(engine, codec.bundle, level, size, batch, plan.repeats, peaks)
    report.device_parts.extend(rows)
    report.fits.extend(fit_device(rows))


def peaks_from(known: object) -> Peaks | None:
    """The rates among what a report says of a device."""
    names = [field.name for field in fields(Peaks)]
    if not isinstance(known, dict) or not all(name in known for name in names):
        return None
    return Peaks(**{name: known[name] for name in names})


def measure_exactness(
    report: Report,
    settings: Settings,
    bundle: Bundle,
    levels: Sequence[int],
    photos: Sequence[Photo],
    timed: Photo,
    step: Step,
) -> None:
    """Add what the integer entropy path costs, and by how much pixels of two engines differ."""
    try:
        from . import exact_cost
    except ModuleNotFoundError as error:
        raise BenchError(f"exactness: needs {error.name}; pip install 'basic-nic[train]'") from error
    pair = exact_cost.open_pair(bundle, settings.checkpoint, levels, settings.threads)
    with closing(pair.exact), closing(pair.floating):
        quality, repeats = settings.timing_quality, settings.repeats * settings.num_timed_images
        report.exact_rates.extend(exact_cost.rate_rows(pair, levels, settings.qualities, photos, step))
        report.exact_times.extend(exact_cost.time_rows(pair, levels, timed, quality, repeats, step))
        report.pixel_differences.extend(exact_cost.pixel_rows(pair, levels, photos, quality, step))
    report.circumstances["exactness"] = {"float_networks_of": pair.checkpoint} | package_versions(("torch",))


def part_costs(
    bundle: Bundle, levels: Sequence[int], photo: Photo, memory: Mapping[tuple[int, str], float | None]
) -> Costs:
    """Pixels, traffic and memory of one image of the timed size."""
    height, width = (padded(side) for side in photo.pixels.shape[:2])
    traffic = {
        (level, name): traffic_bytes(bundle.read(part.file), input_shapes(part, height, width))
        for level in levels
        for name, part in bundle.levels[level].parts.items()
    }
    return Costs(height * width, traffic, memory)


def add_fits(report: Report, engine: str) -> None:
    """Fit MACs alone and MACs with bytes, in both clocks; the larger model of wall time says where the time goes."""
    parts = [row for row in report.parts if row.engine == engine]
    wanted = [(clock, with_bytes) for clock in ("cpu", "wall") for with_bytes in (False, True)]
    found = [fit_parts(parts, clock=clock, with_bytes=with_bytes) for clock, with_bytes in wanted]
    fits = [fit for fit in found if fit is not None]
    report.fits.extend(fits)
    if fits:
        report.shares.extend(shares(fits[-1], parts, [row for row in report.levels if row.engine == engine]))


def speedup(level: LevelRow, peer: PeerRow) -> SpeedupRow:
    """How many times faster a level's task is than a peer's."""
    if level.task not in NETWORK_TASKS:
        raise BenchError(f"task {level.task!r}: expected one of {', '.join(NETWORK_TASKS)}")
    encode = level.task == "encode"
    cpu_ms = peer.encode_cpu_p50_ms if encode else peer.decode_cpu_p50_ms
    wall_ms = peer.encode_p50_ms if encode else peer.decode_p50_ms
    return SpeedupRow(
        engine=level.engine,
        level=level.level,
        task=level.task,
        peer=peer.peer,
        cpu_times_faster=cpu_ms / level.cpu_p50_ms,
        wall_times_faster=wall_ms / level.latency_p50_ms,
    )


def circumstances(
    settings: Settings, bundle: Bundle, levels: Sequence[int], photos: Sequence[Photo], timed: Sequence[Photo]
) -> dict[str, Any]:
    """Everything that the numbers depend on."""
    known = {key: bundle.manifest.get(key) for key in ("architecture", "made_by", "training")}
    return {
        "command": settings.command,
        **machine(),
        "threads": settings.threads,
        "batch": 1,
        "precision": precision_of(bundle, levels),
        "warmup": f"{settings.warmup} runs of each level in each round",
        "repeats": f"{settings.repeats} rounds over {len(timed)} images",
        "timing_quality": settings.timing_quality,
        "bundle": {"name": bundle.path.name, **{key: value for key, value in known.items() if value}},
        "images": images_used(photos, timed),
    }


def precision_of(bundle: Bundle, levels: Sequence[int]) -> str:
    """What the graphs of the measured levels compute in, by the manifest; a GPU engine's own is told beside it."""
    found: dict[tuple[str, str], list[int]] = {}
    for level in levels:
        for part in bundle.level(level).parts.values():
            kind = part.precision or "not told by the manifest"
            name = part.name if part.name in TRANSFORMS else "entropy networks"
            known = found.setdefault((kind, name), [])
            if level not in known:
                known.append(level)
    words = {"float": "float32", "exact": "exact integers", "int8": "int8"}
    texts = []
    for (kind, name), at in found.items():
        where = "" if len(at) == len(levels) else f" at level{'s' * (len(at) > 1)} {', '.join(map(str, at))}"
        texts.append(f"{name} {words.get(kind, kind)}{where}")
    return "; ".join(texts)
