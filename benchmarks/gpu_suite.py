"""One command for a GPU: builds the engines, proves them exact, measures them, and keeps all of it in one JSON file.

    python -m basic.benchmarks.gpu_suite BUNDLE --images DIR --output DIR --minutes 30

Most important first, within the minutes given; run again, it goes on where it stopped. It needs what the runtime needs
and the engine, nothing else: plots are drawn later from the JSON (gpu_plots.py). With `--engine ort` it runs on a CPU.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..runtime.bundle import Bundle
from ..runtime.codec import Codec
from ..runtime.command import run_main
from ..runtime.conformance import differing_parts
from ..runtime.engine import TRANSFORMS, Engine
from ..runtime.engine_trt import TrtEngine
from ..runtime.engine_trt import start as start_tensorrt
from ..runtime.errors import BasicError, EngineError
from ..runtime.trt_build import SIZE_CLASSES, SizeClass, cache_folder
from . import gpu_checks as checks
from .arguments import KNOWN, batches, engines, numbers, positive, qualities, sizes, threads
from .device import device_of, memory_of, peaks_of
from .engines import start
from .floor import Peaks
from .gpu import DevicePlan, fit_device, measure_parts, measure_throughput
from .gpu_steps import Record, Step, failures, is_complete, run_steps
from .gpu_targets import as_json, targets
from .images import load_photos
from .machine import command_line, machine
from .results import BenchError, DevicePartRow

RESULT = "gpu_suite.json"
SIZES = ("1920x1080", "3840x2160", "768x512")
BATCHES = (1, 8)


class Suite:
    """The steps on one engine, with what they share."""

    def __init__(self, args: argparse.Namespace, engine: Engine, record: Record, bundle: Bundle) -> None:
        self.args, self.engine, self.record, self.bundle = args, engine, record, bundle
        self.codec = Codec(bundle, engine)
        self.photos = {photo.name: photo.pixels for photo in load_photos(args.images, args.limit)}
        self.plan = DevicePlan(args.sizes, args.batches, args.repeats, args.warmup)
        self.references_folder: Path = args.references or args.output / "references"
        levels = args.levels or sorted(bundle.levels)
        for level in levels:
            bundle.level(level)
        ends = list(dict.fromkeys((max(levels), min(levels))))
        self.levels = ends + [level for level in levels if level not in ends]
        self.ends = ends

    def steps(self) -> list[Step]:
        """Most important first: are the ends of the level table right and fast, how near the floor, then the rest."""
        first, *other_sizes = self.args.sizes
        steps = [] if self.args.references else [self._step("references", "all", self._make_references)]
        for level in self.ends:
            steps += self._checks(level) + self._images(level, first, self.args.batches)
        steps.append(self._step("peaks", "device", self._peaks))
        steps += [self._parts(level, size) for size in self.args.sizes[:2][::-1] for level in self.ends]
        for name in self.args.beside:
            steps += [self._beside(name, level, first) for level in self.ends]
        rest = self.levels[len(self.ends) :]
        for level in rest:
            steps += [*self._checks(level), self._parts(level, first), *self._images(level, first, self.args.batches)]
        steps += [self._parts(level, size) for size in other_sizes for level in self.levels]
        steps += [step for size in other_sizes for level in self.levels for step in self._images(level, size, (1,))]
        return list({step.name: step for step in steps}.values())

    def _step(self, kind: str, what: str, run: Callable[[], Any]) -> Step:
        return Step(f"{kind}:{what}", run)

    def _checks(self, level: int) -> list[Step]:
        def chosen() -> list[checks.Reference]:
            found = checks.read_references(self.references_folder, self.bundle)
            return [reference for reference in found if reference.level == level and reference.image in self.photos]

        def cross() -> Any:
            return checks.check_cross(self.codec, chosen(), self.photos, self.references_folder)

        def quality() -> Any:
            return checks.check_quality(self.codec, chosen(), self.photos)

        build = [self._step("build", f"level {level}", lambda: self._build(level))]
        return [
            *(build if isinstance(self.engine, TrtEngine) else []),
            self._step("exact", f"level {level}", lambda: self._exact(level)),
            self._step("cross", f"level {level}", cross),
            self._step("quality", f"level {level}", quality),
        ]

    def _make_references(self) -> Any:
        with Codec.open(self.bundle, "ort") as cpu:
            made = checks.make_references(cpu, self.photos, self.levels, self.args.qualities, self.references_folder)
        return {"num_references": len(made)}

    def _build(self, level: int) -> Any:
        if not isinstance(self.engine, TrtEngine):
            raise BenchError(f"engine {self.engine.name} builds no files")
        files, seconds = self.engine.files, {}
        for part in self.bundle.level(level).parts:
            path = files.path(self.bundle, level, part)
            files.load(self.bundle, level, part)
            seconds[part] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["build_s"]
        return {"build_s": seconds}

    def _peaks(self) -> Any:
        found = peaks_of(self.engine, cache_folder(self.bundle.path))
        return {} if found is None else asdict(found)

    def _exact(self, level: int) -> Any:
        wrong = differing_parts(self.engine, self.bundle, level)
        if wrong:
            raise BenchError(f"not exact: {', '.join(wrong)}")
        return {"exact": [part for part in self.bundle.level(level).parts if part not in TRANSFORMS]}

    def _images(self, level: int, size: str, batches: Sequence[int]) -> list[Step]:
        def measure(batch: int) -> Any:
            photos = list(self.photos.values())
            rows = measure_throughput(self.codec, self.engine, level, photos, size, batch, self.plan)
            return [asdict(row) for row in rows]

        return [
            self._step("images", f"level {level}, {batch} of {size}", lambda batch=batch: measure(batch))  # type: ignore[misc]
            for batch in batches
        ]

    def _parts(self, level: int, size: str) -> Step:
        def measure() -> Any:
            peaks = self.record.result("peaks:device")
            known = Peaks(**peaks) if peaks else None
            rows = measure_parts(self.engine, self.bundle, level, size, 1, self.args.repeats, known)
            return [asdict(row) for row in rows]

        return self._step("parts", f"level {level}, {size}", measure)

    def _beside(self, name: str, level: int, size: str) -> Step:
        """Another engine on the same images, where it is here."""

        def measure() -> Any:
            try:
                other = start(name)
            except EngineError as error:
                return {"not_here": str(error)}
            with Codec(self.bundle, other) as codec:
                photos = list(self.photos.values())
                rows = measure_throughput(codec, other, level, photos, size, 1, self.plan)
            return [asdict(row) for row in rows]

        return self._step("beside", f"{name}, level {level}, 1 of {size}", measure)

    def fits(self) -> list[Any]:
        """Latency from MACs, and from MACs and bytes, over all parts measured so far."""
        rows = [DevicePartRow(**row) for result in self.record.results("parts") for row in result]
        return [asdict(fit) for fit in fit_device(rows)]


def main(argv: Sequence[str] | None = None) -> int:
    """0: all that was tried is right; 1: a step failed, or none could be tried; 2: the command line alone is wrong."""
    args = parser().parse_args(argv)
    if args.profiles is not None and args.engine != "trt":
        parser().error(f"--profiles: engine {args.engine} has none; they are those of trt")
    try:
        bundle = Bundle.open(args.bundle)
        engine = (
            start(args.engine, args.threads) if args.profiles is None else start_tensorrt(None, classes=args.profiles)
        )
        identity = {"bundle": checks.bundle_id(bundle), "engine": getattr(engine, "detail", engine.name)}
        identity |= {key: getattr(args, key) for key in ("repeats", "warmup", "qualities")}
        record = Record(args.output / RESULT, identity)
        suite = Suite(args, engine, record, bundle)
        record.data["circumstances"] = {"command": command_line()} | machine() | device_of(engine)
        record.data["circumstances"]["images"] = {name: list(photo.shape) for name, photo in suite.photos.items()}
    except (BasicError, OSError) as error:
        say(str(error))
        return 1
    steps = suite.steps()
    say(f"{len(steps)} steps, {sum(record.result(step.name) is not None for step in steps)} done before")
    run_steps(steps, record, 60 * args.minutes, say)
    record.data["fits"] = suite.fits()
    record.data["targets"] = [as_json(target) for target in targets(record, engine.name, suite.levels)]
    record.data["complete"] = is_complete(record, steps)
    record.save()
    failed = failures(record)
    summary = {"result": str(record.path), "complete": record.data["complete"], "failed": failed}
    print(json.dumps(summary | {"targets": record.data["targets"]}), flush=True)
    try:
        record.data["memory"] = memory_of(engine)
        record.save()
        suite.codec.close()
    except BasicError as error:  # a GPU that has failed once fails here too; what was found is kept
        say(str(error))
    return 1 if failed else 0


def say(text: str) -> None:
    print(f"gpu_suite: {text}", file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """All options of the command."""
    made = argparse.ArgumentParser(prog="gpu_suite", description=(__doc__ or "").splitlines()[0])
    add = made.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="for a GPU one exported with --int8 none")
    add("--images", type=Path, required=True, metavar="DIR", help="photographs, or one")
    add("--output", type=Path, required=True, metavar="DIR", help=f"for {RESULT}; what it holds already is kept")
    add("--minutes", type=_minutes, default=30.0, help="no step begins that would end later (default 30)")
    add("--engine", choices=KNOWN, default="trt", help="default: trt; ort runs on the CPU")
    add(
        "--beside",
        type=_beside,
        default=("torch", "ort-cuda", "torch-compiled"),  # what takes longest last
        metavar="NAMES",
        help="engines to compare with, or none",
    )
    add(
        "--profiles",
        type=_profiles,
        metavar="NAMES",
        help="of engine files, to build less: small, medium, large (up to 832, 1984, 4736 pixels); default: all",
    )
    add("--references", type=Path, metavar="DIR", help="made elsewhere by gpu_pack; default: made here with ort")
    add("--levels", type=numbers, metavar="0,7", help="default: all of the bundle")
    add("--sizes", type=sizes, default=SIZES, metavar="WxH,..", help=f"default: {','.join(SIZES)}")
    add("--batches", type=batches, default=BATCHES, metavar="1,8", help="for whole images of the first size")
    add("--qualities", type=qualities, default=checks.QUALITIES, metavar="8,..", help="of references made here")
    add("--repeats", type=positive, default=20, help="measured calls (default 20)")
    add("--warmup", type=positive, default=3, help="calls before them (default 3)")
    add("--threads", type=threads, help="of a CPU engine")
    add("--limit", type=positive, help="use the first images only")
    return made


def _beside(text: str) -> tuple[str, ...]:
    return () if text == "none" else engines(text)


def _profiles(text: str) -> tuple[SizeClass, ...]:
    names = text.split(",")
    found = tuple(size for size in SIZE_CLASSES if size.name in names)
    if len(found) != len(names):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(c.name for c in SIZE_CLASSES)}, got {text!r}")
    return found


def _minutes(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise argparse.ArgumentTypeError(f"expected minutes above 0, got {text!r}")
    return found


if __name__ == "__main__":
    sys.exit(run_main("gpu_suite", main))
