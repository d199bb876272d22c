"""`basic-search`: checkpoint + held-out photographs -> group plans, a path of structures, a level table.

What a newcomer gets wrong: photographs that a structure was chosen on flatter it. Search on a set that neither training
nor reporting uses; half of it is kept from the search here, and the result is checked on that half.
"""

import argparse
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ... import __version__
from ...runtime.engine import MAX_THREADS
from ..checkpoint import SHIPPED, Checkpoint, load_checkpoint
from ..data import Photographs
from ..model import NUM_QUALITIES
from ..train import StopRequest
from . import run
from .judge import QUALITIES, Judge, crossed, spread_crops
from .memo import Memo, StoppedError
from .space import CONTROLS, GROUP_COUNTS

LOG_EVERY_S = 20.0


class Bench:
    """What every search works with: model, crops to search on and others to check on, measurements, progress."""

    def __init__(self, args: argparse.Namespace, console: Console, show: Callable[[str], None]) -> None:
        self.console, self.show = console, show
        self.checkpoint: Checkpoint = load_checkpoint(args.checkpoint)
        self.arch = self.checkpoint.model.arch
        photographs = Photographs(args.data, args.crop_size)
        fast = args.precision == "bf16-mixed"

        def judge(held_out: bool, per_crop: int) -> Judge:
            crops = spread_crops(photographs, args.crops, args.crop_size, held_out)
            return Judge(self.checkpoint.model, crops, crossed(len(crops), args.qualities, per_crop), fast)

        self.judge, self.check = judge(False, max(1, len(args.qualities) // 2)), judge(True, len(args.qualities))
        self.settings = {
            "command": args.command,
            "checkpoint_sha256": hashlib.sha256(Path(args.checkpoint).read_bytes()).hexdigest(),
            "crops": hashlib.sha256(self.judge.crops.contiguous().numpy().tobytes()).hexdigest(),
            "num_crops": len(self.judge.crops),
            "qualities": list(args.qualities),
            "precision": args.precision,
        }
        self.memo: Memo | None = None

    def notes(self) -> dict[str, Any]:
        """What a result says of its making."""
        steps = self.checkpoint.training.get("steps")
        return {"training_steps": steps} | self.fingerprint()

    def fingerprint(self) -> dict[str, Any]:
        """What every measured loss depends on, beside the structure."""
        return {key: value for key, value in self.settings.items() if key != "command"}

    def measurements(self, output: Path, stop: StopRequest, **more: Any) -> Memo:
        """The state beside an output; `more` is what else the measurements depend on."""
        self.memo = Memo(output.with_name(f"{output.name}.state"), self.settings | more, stop)
        if self.memo.num_found:
            self.console.print(f"going on from {self.memo.num_found} measurements in {self.memo.path.name}")
        return self.memo


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="basic-search", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--version", action="version", version=f"%(prog)s (basic-nic) {__version__}")
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plans = commands.add_parser("plans", help="the best group plan of each number of groups")
    plans.add_argument("--groups", type=_counts, default=(1, 2, 3, 4, 6, 8), help="default 1,2,3,4,6,8")
    plans.add_argument("--picture", type=Path, metavar="PNG", help="draw the plans (needs the extra bench)")
    levels = commands.add_parser("levels", help="node by node from full to lightest and back: a path, a level table")
    budget = commands.add_parser("budget", help="the best table within budgets, from a path, by exchanges")
    levels.add_argument("--control", choices=CONTROLS, default="all", help="what may be chosen (default all)")
    levels.add_argument("--beam", type=int, default=1, help="walks kept side by side (default 1)")
    levels.add_argument("--path", type=Path, help="write the whole path here, for budget (default: none)")
    budget.add_argument(
        "--path", type=Path, required=True, help="path of basic-search levels, or an earlier learned table"
    )
    budget.add_argument("--smallest", type=float, help="budget of level 0: kMAC/pixel, or ms (default: the lightest)")
    budget.add_argument("--largest", type=float, help="budget of the last level (default: the full model)")
    budget.add_argument(
        "--most-groups", type=int, choices=GROUP_COUNTS, default=max(GROUP_COUNTS), help="a level may have (default 8)"
    )
    budget.add_argument("--trade-off", action="store_true", help="divide budgets for the lowest and highest rate too")
    for command, other in ((levels, "hand-made ones"), (budget, "those of the path")):
        command.add_argument("--plans", type=Path, help=f"group plans (JSON of basic-search plans; default: {other})")
        command.add_argument("--levels", type=int, default=8, help="number of levels (default 8)")
        command.add_argument("--cost", choices=["macs", "latency"], default="macs", help="default macs")
        command.add_argument("--engine", default="ort", choices=["ort"], help="whose latency (default ort)")
        command.add_argument(
            "--latency-table", type=Path, help="of python -m basic.benchmarks.latency_table, for --cost latency"
        )
    for command in (plans, levels, budget):
        _common(command)
    return p


def _common(p: argparse.ArgumentParser) -> None:
    p.add_argument("checkpoint", nargs="?", default=SHIPPED, help="checkpoint file (default: the shipped one)")
    p.add_argument("--data", required=True, help="folder of photographs that training has not seen")
    p.add_argument("-o", "--output", type=Path, required=True, help="JSON to write; its .state beside it resumes")
    p.add_argument("--crops", type=int, default=12, help="photographs to search on, and to check on (default 12)")
    p.add_argument("--crop-size", type=int, default=256, help="multiple of 64 (default 256)")
    p.add_argument("--qualities", type=_qualities, default=QUALITIES, help="default 6,24,42,60")
    p.add_argument("--precision", default="bf16-mixed", choices=["32-true", "bf16-mixed"])
    p.add_argument("--threads", type=int, help="CPU threads")


def _counts(text: str) -> tuple[int, ...]:
    try:
        found = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers separated by commas, got {text!r}") from None
    if not found or found[0] < 1 or found[-1] > 32:
        raise argparse.ArgumentTypeError(f"expected numbers from 1 to 32, got {text!r}")
    return found


def _qualities(text: str) -> tuple[float, ...]:
    try:
        found = tuple(sorted({float(word) for word in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers separated by commas, got {text!r}") from None
    if not all(0 <= quality <= NUM_QUALITIES - 1 for quality in found):
        raise argparse.ArgumentTypeError(f"expected qualities from 0 to {NUM_QUALITIES - 1}, got {text!r}")
    return found


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if getattr(args, "cost", "macs") == "latency" and args.latency_table is None:
        p.error(
            "--cost latency: expected --latency-table FILE; python -m basic.benchmarks.latency_table -o FILE makes it"
        )
    if args.crop_size < 64 or args.crop_size % 64:
        p.error(f"--crop-size: expected a multiple of 64, got {args.crop_size}")
    for name in ("crops", "levels", "beam", "smallest", "largest", "threads"):
        value = getattr(args, name, None)
        if value is not None and not (value > 0 and math.isfinite(value)):
            p.error(f"--{name}: expected a positive number, got {value}")
    if (args.threads or 1) > MAX_THREADS:
        p.error(f"--threads: expected at most {MAX_THREADS}, got {args.threads}")


def _shower(console: Console, update: Callable[[str], None]) -> Callable[[str], None]:
    """Shows what is being done: live on a terminal, else a line now and then."""
    if console.is_terminal:
        return update
    last = [time.monotonic()]

    def show(text: str) -> None:
        if time.monotonic() - last[0] > LOG_EVERY_S:
            last[0] = time.monotonic()
            console.print(text, markup=False)

    return show


def main(argv: list[str] | None = None) -> int:
    """Entry point of `basic-search`: 0 done, 1 bad input, or stopped with its state saved, 2 wrong options."""
    p = parser()
    args = p.parse_args(argv)
    _check(p, args)
    if args.threads:
        torch.set_num_threads(args.threads)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 140, highlight=False)
    stop = StopRequest()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("reading", total=None)
            if not args.output.parent.is_dir():
                raise ValueError(f"-o: {args.output.parent} is no folder")
            bench = Bench(args, console, _shower(console, lambda text: progress.update(task, description=text)))
            summary = {"plans": run.plans, "levels": run.levels, "budget": run.budget}[args.command](bench, args, stop)
    except StoppedError:
        console.print("stopped; the same command goes on from the .state file", markup=False)
        return 1
    except (ValueError, OSError) as error:
        print(f"basic-search: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
