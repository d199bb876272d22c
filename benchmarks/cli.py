"""`basic-bench`: what a bundle costs and what it gives, on this machine, on these images.

What a newcomer gets wrong: levels compare within one run on one machine. Two reports are two experiments.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from .. import __version__
from ..runtime.bundle import Bundle
from ..runtime.codec import Codec
from ..runtime.errors import BasicError
from ..runtime.files import replacing
from .arguments import batches, engines, numbers, positive, qualities, quality, sizes, threads
from .gpu import DevicePlan
from .images import load_photos
from .latency_profile import Kept, check_profile, describe, doubts, measure_profile
from .machine import command_line
from .plots import has_matplotlib
from .report import print_report, say, write_files
from .results import Report, make_folder
from .run import STAGES, Settings, run

T = TypeVar("T")

WIDE = 200
"""Columns of a table that goes to a file or a pipe: nothing is cut off."""

NO_PLOTS = "basic-bench: matplotlib is missing, so no plots are drawn: pip install 'basic-nic[bench]'"

NO_BYTES = (
    "basic-bench: onnx is missing, so memory traffic is not counted and latency fitted by multiplications alone: "
    "pip install 'basic-nic[bench]'"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 1 something could not be measured or written, 2 the command line alone is wrong."""
    args = parser().parse_args(argv)
    if args.save_profile is not None and args.levels:
        parser().error("--levels: a latency profile is of all levels of its bundle; leave it out")
    settings = settings_from(args)
    if args.save_profile is None and settings.measures_nothing():
        parser().error(
            f"--skip {' '.join(args.skip)}: nothing is left to measure; the device stage wants --sizes or --batches, "
            "or an engine on a GPU"
        )
    log = Console(stderr=True)
    try:
        if args.output is not None:
            make_folder(args.output)
            if not has_matplotlib():
                say(log, NO_PLOTS, "yellow")
        if args.save_profile is not None:
            kept, spoken = with_progress(lambda step: save_profile(settings, args.save_profile, step), log)
            for doubt in spoken:
                say(log, f"basic-bench: {args.save_profile}: {doubt}", "yellow")
            print(json.dumps(describe(kept)))
            return 0
        report = run_with_progress(settings, log)
        if any(row.traffic_bytes is None for row in report.parts):
            say(log, NO_BYTES, "yellow")
        show(report, as_json=args.json)
        if args.output is not None:
            page = write_files(report, args.output)
            say(log, f"wrote {page}")
    except BrokenPipeError:
        raise
    except (BasicError, OSError) as error:
        say(log, f"basic-bench: {error}", "red")
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """All options of the command."""
    made = argparse.ArgumentParser(
        prog="basic-bench",
        description="Measure a bundle: latency, MACs, memory, rate and quality per level; tables, JSON, CSV, plots.",
    )
    add = made.add_argument
    add("--version", action="version", version=f"%(prog)s (basic-nic) {__version__}")
    add("bundle", nargs="?", type=Path, metavar="BUNDLE", help="a folder or zip; default: the packaged one")
    add("--images", type=Path, required=True, metavar="DIR", help="folder of photographs, or one file")
    add(
        "--engine",
        type=engines,
        default=("ort",),
        metavar="NAMES",
        help="side by side: ort,ort-cuda,trt,torch,torch-compiled",
    )
    add("--levels", type=numbers, default=(), metavar="0,3,7", help="default: all")
    add(
        "--qualities", type=qualities, default=Settings.qualities, metavar="8,20,..", help="0..63, for rate and quality"
    )
    add("--timing-quality", type=quality, default=Settings.timing_quality, metavar="Q", help="for times and memory")
    add("--threads", type=threads, default=Settings.threads, metavar="N", help="of the engine (default: 1)")
    add("--repeats", type=positive, default=Settings.repeats, metavar="N", help="rounds over the timed images")
    add("--warmup", type=positive, default=Settings.warmup, metavar="N", help="unmeasured runs of a level per round")
    add("--limit", type=positive, metavar="N", help="use the first N images only")
    add("--timed-images", type=positive, default=Settings.num_timed_images, metavar="N", help="of one size, for times")
    add("--skip", nargs="+", choices=STAGES, default=[], help="leave out a stage")
    add(
        "--sizes",
        type=sizes,
        metavar="768x512,..",
        help="sizes for the device stage, resampled (default on a GPU: to 4K)",
    )
    add("--batches", type=batches, metavar="1,8", help="batches for the device stage (default on a GPU: 1,8)")
    add("--peers", action="store_true", help="measure JPEG, WebP, AVIF, and CompressAI where it is installed")
    add("--compressai-python", type=Path, metavar="PATH", help="the interpreter that has CompressAI, if not this one")
    add("--curves", type=Path, nargs="+", default=[], metavar="JSON", help="reference curves (default: Kodak's)")
    add("--exactness", action="store_true", help="what integer entropy networks cost against float ones")
    add("--checkpoint", type=Path, metavar="FILE", help="of the bundle, for --exactness (default: the shipped one)")
    add("--json", action="store_true", help="print the report as JSON instead of tables")
    add("--save-profile", type=Path, metavar="JSON", help="measure what budget_ms goes by, check it, and stop")
    add("-o", "--output", type=Path, metavar="DIR", help="write report.json, CSV, report.html and PNG plots")
    return made


def settings_from(args: argparse.Namespace) -> Settings:
    """Parsed arguments as settings; CompressAI is measured with --peers where this interpreter has it."""
    here = Path(sys.executable) if args.peers and importlib.util.find_spec("compressai") else None
    return Settings(
        images=args.images,
        bundle=args.bundle,
        engines=args.engine,
        levels=args.levels,
        qualities=args.qualities,
        timing_quality=args.timing_quality,
        threads=args.threads,
        warmup=args.warmup,
        repeats=args.repeats,
        limit=args.limit,
        num_timed_images=args.timed_images,
        stages=tuple(stage for stage in STAGES if stage not in args.skip),
        peers=args.peers,
        compressai_python=args.compressai_python or here,
        curves=tuple(args.curves),
        device=device_plan(args),
        exactness=args.exactness,
        checkpoint=args.checkpoint,
        command=command_line(),
    )


def device_plan(args: argparse.Namespace) -> DevicePlan | None:
    """Sizes and batches where either was given: then they are measured on every engine."""
    if args.sizes is None and args.batches is None:
        return None
    plan = DevicePlan()
    return DevicePlan(
        args.sizes or plan.sizes, args.batches or plan.batches, args.repeats, args.warmup, args.timing_quality
    )


def run_with_progress(settings: Settings, log: Console) -> Report:
    """`run`, with the current step and the elapsed time on stderr."""
    return with_progress(lambda step: run(settings, step), log)


def with_progress(work: Callable[[Callable[[str], None]], T], log: Console) -> T:
    """`work` with a function that shows the current step and the elapsed time on stderr."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=log, transient=True) as progress:
        task = progress.add_task("opening", total=None)
        return work(lambda text: progress.update(task, description=text))


def save_profile(settings: Settings, path: Path, step: Callable[[str], None]) -> tuple[Kept, list[str]]:
    """Measure a latency profile of the first engine, write it; how often calls kept their budget, and doubts."""
    bundle, engine = Bundle.open(settings.bundle), settings.engines[0]
    photos = load_photos(settings.images, settings.limit)
    with Codec.open(bundle, engine=engine, num_threads=settings.threads) as codec:
        found = measure_profile(codec, engine, settings.threads, sorted(bundle.levels), photos[0], step)
    with replacing(path) as file:
        file.write(found.to_json().encode())
    with Codec.open(bundle, engine=engine, num_threads=settings.threads, latency_profile=path) as codec:
        kept = check_profile(codec, photos, settings.repeats, step)
    return kept, doubts(found, kept)


def show(report: Report, *, as_json: bool) -> None:
    """The result on stdout."""
    if as_json:
        sys.stdout.write(report.to_json())
    else:
        console = Console()
        print_report(report, console if console.is_terminal else Console(width=WIDE))


if __name__ == "__main__":
    sys.exit(main())
