"""`basic-train` on the command line: options, and what is wrong with them before anything is read.

What a newcomer gets wrong: most options have no default here. What is not given is what the run was begun with, and
only a new run takes a default (`train`).
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__
from ..runtime.engine import MAX_THREADS
from .draw import Mix
from .train import GRAPHICS_SHARE, MS_SSIM_CROP, NO_SHARES, PATHS, SHARES, STATE, longer_decay, train

DESCRIPTION = "Photographs -> one slimmable checkpoint. Exact resume, warm restart, a clean stop on SIGTERM."
POSITIVE = (
    "steps",
    "batch_size",
    "lr",
    "adam_lr",
    "devices",
    "log_every",
    "save_every",
    "valid_every",
    "num_valid",
    "threads",
)
NOT_NEGATIVE = ("decay_steps", "warmup_steps", "full_steps")
PROBABILITIES = ("full_share", "matched_share", "graphics_share")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="basic-train", description=DESCRIPTION)
    p.add_argument("--version", action="version", version=f"%(prog)s (basic-nic) {__version__}")
    p.add_argument("--data", help="folder of photographs, or a tar of crops")
    p.add_argument("--skip", metavar="NAMES", help="leave out files so named, as in a shell: 'bsds_*'")
    p.add_argument("--valid", help="folder of held-out photographs to report on")
    p.add_argument("--output", default="runs/basic-s", help="folder of the run; one with a state is resumed")
    p.add_argument("--init", help="checkpoint to start the weights from (warm restart)")
    p.add_argument("--steps", type=int, help="last step of the run")
    p.add_argument("--decay-steps", type=int, help="length of the final decay of the learning rate (default: a fifth)")
    p.add_argument("--warmup-steps", type=int, help="default 200")
    p.add_argument("--full-steps", type=int, help="so many steps of the full model before slimming starts (default 0)")
    p.add_argument("--full-share", type=float, help=f"how often full widths are drawn (default {Mix.full})")
    p.add_argument("--matched-share", type=float, help=f"how often all parts are of one level (default {Mix.matched})")
    p.add_argument(
        "--graphics-share", type=float, help=f"how often a crop is a drawing: text, patterns (default {GRAPHICS_SHARE})"
    )
    p.add_argument("--batch-size", type=int, help="crops a step and device (default 8)")
    p.add_argument("--crop-size", type=int, help="multiple of 64 (default 256)")
    p.add_argument("--lr", type=float, help="learning rate of the matrices, Muon (default 4e-4; entropy part: x 4)")
    p.add_argument("--adam-lr", type=float, help="learning rate of everything else, Adam (default 4e-4)")
    p.add_argument("--metric", choices=["mse", "ms-ssim"], help="distortion (default mse)")
    _add_kinds(p)
    _add_of_machine(p)
    return p


def _add_kinds(p: argparse.ArgumentParser) -> None:
    """What is trained, and for what."""
    p.add_argument(
        "--exact",
        action="store_const",
        const=True,
        help="fine-tune the entropy part alone, rounded as the integer networks of a bundle are (use with --init)",
    )
    p.add_argument("--table", help="level table (JSON): draw its levels alone, for fine-tuning (use with --init)")
    p.add_argument(
        "--lambda-range",
        type=float,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="lambda of quality 0 and of quality 63 (default: that of --init, else 0.0004 0.18)",
    )


def _add_of_machine(p: argparse.ArgumentParser) -> None:
    """Where and how it runs, what it tells."""
    p.add_argument("--seed", type=int, help="default 0")
    p.add_argument("--devices", type=int, default=1, help="GPUs, or processes on the CPU (default 1)")
    p.add_argument("--precision", choices=["32-true", "bf16-mixed"], help="default bf16-mixed")
    p.add_argument("--compile", choices=["auto", "on", "off"], help="torch.compile (default auto: on CUDA)")
    p.add_argument("--threads", type=int, help="CPU threads")
    p.add_argument("--log-every", type=int, help="steps a line (default 50); the last step has one too")
    p.add_argument("--save-every", type=int, help="steps between two states (default 500); the end has one too")
    p.add_argument("--valid-every", type=int, help="steps between reports (default 1000); the last step has one too")
    p.add_argument("--num-valid", type=int, help="held-out crops (default 16)")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `basic-train`: 0 done or stopped cleanly, 1 failed or bad input, 2 wrong options."""
    args = parser().parse_args(argv)
    if wrong := _wrong_number(args) or _wrong_together(args):
        parser().error(wrong)
    for name in ("valid", *PATHS):  # a run may be resumed from another folder
        if getattr(args, name) is not None:
            setattr(args, name, str(Path(getattr(args, name)).resolve()))
    try:
        return train(args)
    except (ValueError, OSError) as error:
        print(f"basic-train: {error}", file=sys.stderr)
        return 1


def _wrong_number(args: argparse.Namespace) -> str:
    """The first option whose number is out of its range, in words; nothing where all are right."""
    if args.crop_size is not None and (args.crop_size < 64 or args.crop_size % 64):
        return f"--crop-size: expected a multiple of 64, got {args.crop_size}"
    ranges: tuple[tuple[tuple[str, ...], str, Callable[[float], bool]], ...] = (
        (POSITIVE, "a positive number", lambda value: value > 0 and math.isfinite(value)),
        (NOT_NEGATIVE, "0 or more", lambda value: value >= 0),
        (PROBABILITIES, "0 to 1", lambda value: 0.0 <= value <= 1.0),
    )
    for names, expected, is_right in ranges:
        for name in names:
            value = getattr(args, name)
            if value is not None and not is_right(value):
                return f"--{name.replace('_', '-')}: expected {expected}, got {value}"
    if args.lambda_range and not 0.0 < args.lambda_range[0] < args.lambda_range[1] < math.inf:
        return f"--lambda-range: expected 0 < MIN < MAX, got {args.lambda_range[0]:g} {args.lambda_range[1]:g}"
    if (args.threads or 1) > MAX_THREADS:
        return f"--threads: expected at most {MAX_THREADS}, got {args.threads}"
    return ""


def _wrong_together(args: argparse.Namespace) -> str:
    """What does not go together, in words, or is missing for a new run."""
    if args.table and any(getattr(args, name) is not None for name in SHARES):
        return f"--table: draws its levels alone, each part apart; {NO_SHARES}"
    if args.metric == "ms-ssim" and args.crop_size is not None and args.crop_size < MS_SSIM_CROP:
        return f"--metric ms-ssim: expected --crop-size of at least {MS_SSIM_CROP}, got {args.crop_size}"
    if args.steps and args.decay_steps and args.decay_steps > args.steps:
        return longer_decay(args.decay_steps, args.steps)
    if not (Path(args.output) / STATE).exists():
        if not (args.data and args.steps):
            return f"a new run needs --data and --steps; there is none to resume in {args.output}"
        if args.exact and not args.init:
            return "--exact: expected --init CHECKPOINT too: it fine-tunes an entropy part that is trained"
    return ""


if __name__ == "__main__":
    sys.exit(main())
