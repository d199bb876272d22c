"""`basic`: encode, decode, info, doctor. Results go to stdout, everything else to stderr; where stdout takes the coded
file or the image itself, what is told of it goes to stderr too.

Exit status: 0 done; 1 something could not be done (others of a folder were), or is damaged; 2 the command line alone is
wrong. The same for the other commands.
"""

import argparse
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .. import __version__
from . import bitstream
from .bitstream import DEFAULT_MAX_PIXELS, MAX_QUALITY
from .budget import LatencyProfile
from .bundle import DEFAULT_BUNDLE, Bundle
from .codec import DEFAULT_QUALITY, DEFAULT_TILE_SIZE, Codec
from .describe import decodes, describe, doctor
from .engine import DEFAULT_ENGINE, MAX_THREADS, engine_names
from .errors import ArgumentError, BasicError, ImageError, ImageWarning
from .files import (
    BITSTREAM_SUFFIX,
    STANDARD,
    image_suffixes,
    pairs,
    read_bytes,
    replacing,
    save_image,
    standard_or_path,
    writable_suffix,
)
from .rate import encode_at

Row = dict[str, Any]
DEFAULT_SUFFIX = ".png"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status."""
    args = _parser().parse_args(argv)
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with _no_pillow_limit():
            status: int = args.run(args, log)
            return status
    except ArgumentError as error:  # an option out of its range, seen before anything is written
        _error(log, _in_options(error))
        return 2
    except BrokenPipeError:
        raise
    except (BasicError, OSError) as error:
        _error(log, _in_options(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="basic", description="Neural image codec: one file format, any complexity.")
    parser.add_argument("--version", action="version", version=f"%(prog)s (basic-nic) {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _encode_parser(commands.add_parser("encode", help="images to .bsc files"))
    _decode_parser(commands.add_parser("decode", help=".bsc files to images"))
    info = commands.add_parser("info", help="what a .bsc file or a bundle holds")
    what = "- is a file on standard input; default: the packaged bundle"
    info.add_argument("path", type=_source, metavar="FILE|BUNDLE", nargs="?", help=what)
    info.add_argument("--bundle", type=_path, metavar="BUNDLE", help="say whether this bundle decodes the file")
    info.set_defaults(run=_info)
    check = commands.add_parser("doctor", help="what works on this machine, and why something does not")
    check.add_argument("bundle", type=_path, metavar="BUNDLE", nargs="?", help="default: the packaged bundle")
    check.add_argument("--bundle", type=_path, metavar="BUNDLE", dest="option", help="the same as BUNDLE")
    check.set_defaults(run=_doctor)
    for command in (info, check):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _encode_parser(parser: argparse.ArgumentParser) -> None:
    _common(parser, "image, or folder of images", f"{BITSTREAM_SUFFIX} file, or folder")
    add = parser.add_argument
    level = parser.add_mutually_exclusive_group()
    _level_or_budget(level, "analysis and entropy level, 0 the lightest (default: the heaviest)")
    add("--entropy-level", type=_level, metavar="L", help="entropy level alone: what the decoder must run")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--quality", type=int, metavar="Q", help=f"0..{MAX_QUALITY} (default: {DEFAULT_QUALITY})")
    rate.add_argument("--target-bpp", type=float, metavar="BPP", help="best quality within so many bits per pixel")
    rate.add_argument("--target-psnr", type=float, metavar="DB", help="lowest quality with this PSNR")
    add("--tile-size", type=int, default=DEFAULT_TILE_SIZE, metavar="PX", help="largest tile (default: %(default)s)")
    parser.set_defaults(run=_encode)


def _decode_parser(parser: argparse.ArgumentParser) -> None:
    _common(parser, f"{BITSTREAM_SUFFIX} file, or folder of them", "image, or folder")
    _level_or_budget(parser.add_mutually_exclusive_group(), "synthesis level (default: the file's entropy level)")
    where = f"of images in a folder or on standard output (default: {DEFAULT_SUFFIX})"
    parser.add_argument("--suffix", type=_suffix, help=where)
    parser.set_defaults(run=_decode)


def _level_or_budget(group: argparse._MutuallyExclusiveGroup, level_help: str) -> None:
    group.add_argument("--level", type=_level, metavar="L", help=level_help)
    group.add_argument(
        "--budget-ms",
        type=float,
        metavar="MS",
        help="heaviest level that codes an image in this time (with --latency-profile); opening networks apart",
    )


def _suffix(text: str) -> str:
    try:
        return writable_suffix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _level(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 up, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text!r}")
    return int(text)


def _threads(text: str) -> int:
    number = _positive(text)
    if number > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_THREADS}, got {text}")
    return number


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got nothing: an empty variable?")
    return Path(text)


def _source(text: str) -> Path:
    return standard_or_path(text, output=False) if text else _path(text)


def _target(text: str) -> Path:
    return standard_or_path(text, output=True) if text else _path(text)


class _Target(argparse.Action):
    """OUT as `target`; as `to_folder` whether it ends like a folder's name, which a Path forgets."""

    def __call__(self, parser: object, args: argparse.Namespace, value: Any, option: object = None) -> None:
        try:
            args.target, args.to_folder = _target(value), value.endswith(("/", os.sep))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def _common(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    add = parser.add_argument
    add("source", type=_source, metavar="IN", help=f"{source}; - is standard input")
    add("target", action=_Target, metavar="OUT", help=f"{target}; - is standard output")
    add("--bundle", type=_path, metavar="BUNDLE", help="folder or zip (default: the packaged one)")
    add("--engine", default=DEFAULT_ENGINE, choices=engine_names(), help="default: %(default)s")
    add("--threads", type=_threads, metavar="N", help="of the engine (default: the profile's, or the engine's choice)")
    add("--latency-profile", type=_path, metavar="FILE", help="of basic-bench --save-profile here, for --budget-ms")
    add(
        "--max-pixels",
        type=_positive,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help="refuse more (default: %(default)s)",
    )
    add("--json", action="store_true", help="print JSON")


def _encode(args: argparse.Namespace, log: Console) -> int:
    default = DEFAULT_QUALITY if args.target_bpp is None and args.target_psnr is None else None
    if args.budget_ms is not None and default is None:
        raise ArgumentError("--budget-ms: not with a target, which takes several encodings; give --quality")

    def one(codec: Codec, source: Path, target: Path) -> Row:
        found = encode_at(
            codec,
            io.BytesIO(read_bytes(source)) if source is STANDARD else source,
            level=args.level,
            entropy_level=args.entropy_level,
            tile_size=args.tile_size,
            quality=default if args.quality is None else args.quality,
            target_bpp=args.target_bpp,
            target_psnr_db=args.target_psnr,
            budget_ms=args.budget_ms,
        )
        with replacing(target) as file:
            file.write(found.data)
        if not found.reached:
            message = f"warning: {_name(source)}: the target is out of reach, took quality {found.quality}"
            log.print(message, style="yellow", markup=False)
        row = {"input": str(source), "output": str(target), "num_bytes": len(found.data), "bpp": found.bpp}
        row |= {} if args.budget_ms is None else {"level": bitstream.read(found.data, args.max_pixels).header.level}
        return row | {"quality": found.quality} | ({} if found.psnr_db is None else {"psnr_db": found.psnr_db})

    suffixes = image_suffixes()
    files = pairs(args.source, args.target, suffixes, BITSTREAM_SUFFIX)
    for _, target in files:
        if target is not STANDARD and target.suffix.lower() in suffixes:
            raise ImageError(f"{target}: expected a name for a bitstream ({BITSTREAM_SUFFIX}), this is an image's")
    return _each(args, log, files, one)


def _decode(args: argparse.Namespace, log: Console) -> int:
    suffix = args.suffix or DEFAULT_SUFFIX
    files = pairs(args.source, args.target, [BITSTREAM_SUFFIX], suffix)
    for _, target in files:
        if args.suffix is not None and target is not STANDARD and target.suffix.lower() != suffix:
            raise ArgumentError(f"--suffix {suffix}: not with OUT {target}, which names its format itself")
        if target is not STANDARD:
            _writable(target)

    def one(codec: Codec, source: Path, target: Path) -> Row:
        image = codec.decode(read_bytes(source), level=args.level, budget_ms=args.budget_ms)
        save_image(image, target, suffix)
        return {"input": str(source), "output": str(target), "size": list(image.size), "mode": image.mode}

    return _each(args, log, files, one)


def _writable(target: Path) -> None:
    """ArgumentError where no format of images has the suffix of a file's name."""
    if not target.suffix:
        raise ArgumentError(f"OUT {target}: expected a suffix that names a format, got none; use .png")
    try:
        writable_suffix(target.suffix)
    except ValueError as error:
        raise ArgumentError(f"OUT {target}: {error}") from None


def _each(
    args: argparse.Namespace, log: Console, files: list[tuple[Path, Path]], one: Callable[[Codec, Path, Path], Row]
) -> int:
    """Do every file; one that fails is reported and the others go on."""
    if args.to_folder and not args.target.is_dir() and (args.source is STANDARD or not args.source.is_dir()):
        raise ImageError(f"{args.target}{os.sep}: no such folder; make it first, or give the name of a file")
    rows, failed = [], 0
    latency = _latency_profile(args)
    output = sys.stderr if args.target is STANDARD else sys.stdout
    with (
        Codec.open(args.bundle, args.engine, args.threads, args.max_pixels, latency_profile=latency) as codec,
        _progress(log) as progress,
    ):
        for level in (args.level, getattr(args, "entropy_level", None)):
            if level is not None:
                codec.bundle.level(level)  # or fail once, not for every file
        if args.source is not STANDARD and args.source.is_dir():
            args.target.mkdir(parents=True, exist_ok=True)
        for source, target in progress.track(files, description=Path(_name(args.source)).name):
            try:
                with _image_warnings(log, _name(source)):
                    rows.append(one(codec, source, target))
            except ArgumentError:
                raise
            except (BasicError, OSError) as error:
                failed += 1
                told = _in_options(error)
                _error(log, told if _name(source) in told else f"{_name(source)}: {told}")
                continue
            if not args.json:  # at once: who interrupts sees what is done
                print("  ".join(_value(key, value) for key, value in rows[-1].items()), file=output, flush=True)
    if args.json:
        print(json.dumps(rows, indent=2), file=output)
    return 1 if failed else 0


def _latency_profile(args: argparse.Namespace) -> LatencyProfile | None:
    """The profile where a budget is given. ArgumentError where one of them comes without the other."""
    if (args.budget_ms is None) != (args.latency_profile is None):
        raise ArgumentError(
            "expected --budget-ms and --latency-profile together; basic-bench --save-profile FILE measures a profile"
        )
    if args.budget_ms is not None and not 0 < args.budget_ms < float("inf"):
        raise ArgumentError(f"--budget-ms: expected a positive number of milliseconds, got {args.budget_ms}")
    return None if args.latency_profile is None else LatencyProfile.load(args.latency_profile)


def _info(args: argparse.Namespace, log: Console) -> int:
    path = args.bundle if args.path is None else args.path
    row = describe(DEFAULT_BUNDLE if path is None else path)
    if args.path is STANDARD:
        row["file"] = _name(STANDARD)
    if args.bundle is not None and args.path is not None:
        if row["kind"] != "bitstream":
            raise ArgumentError(f"--bundle: expected {BITSTREAM_SUFFIX} FILE to ask about, {args.path} is a bundle")
        row = decodes(Bundle.open(args.bundle), row)
    if args.json:
        print(json.dumps(row, indent=2))
        return _report_damage(row, log)
    for key, value in row.items():
        if value is not None and key not in ("levels", "damage"):
            print(f"{key:16} {_value(key, value)}")
    if "levels" in row:
        _print_table([_level_row(level) for level in row["levels"]])
    return _report_damage(row, log)


def _report_damage(row: Row, log: Console) -> int:
    for message in row.get("damage", ()):
        _error(log, message)
    return 1 if row.get("damage") else 0


def _level_row(level: Row) -> Row:
    """Context groups together; kMAC per pixel of each transform."""
    macs: dict[str, float] = {}
    for name, part in level["parts"].items():
        short = name.split("_")[0]
        macs[short] = macs.get(short, 0.0) + part["kmacs_per_pixel"]
    counts = {"level": level["level"], "groups": level["num_groups"], "kparam": level["num_parameters"] // 1000}
    all_macs = {f"{name} kMAC/px": f"{value:.3f}" for name, value in macs.items()}
    return counts | all_macs | {"all": f"{level['kmacs_per_pixel']:.3f}", "entropy id": level["entropy_id"]}


def _doctor(args: argparse.Namespace, log: Console) -> int:
    if args.bundle is not None and args.option is not None:
        raise ArgumentError(f"--bundle: expected one bundle, got {args.bundle} and {args.option}")
    rows = doctor(args.bundle or args.option)
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{ {True: 'ok', False: 'FAULT', None: ''}[row['ok']]:6} {row['check']:18} {row['detail']}")
    return 1 if any(row["ok"] is False for row in rows) else 0


def _print_table(rows: list[Row]) -> None:
    table = Table(box=None)
    for key in rows[0]:
        table.add_column(key, justify="right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def _value(key: str, value: Any) -> str:
    units = {
        "num_bytes": "{} bytes",
        "bpp": "{:.4f} bpp",
        "quality": "quality {}",
        "level": "level {}",
        "psnr_db": "{:.2f} dB",
    }
    return units.get(key, "{}").format("x".join(map(str, value)) if isinstance(value, list) else value)


def _progress(log: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=log, transient=True, disable=not log.is_terminal)


def _name(source: Path) -> str:
    return "standard input" if source is STANDARD else str(source)


def _in_options(error: object) -> str:
    """A message of the library with the names of options in place of those of its arguments."""
    return re.sub(_ARGUMENTS, lambda found: _OPTIONS[found[0]], str(error))


_OPTIONS = {
    "max_pixels": "--max-pixels",
    "tile_size": "--tile-size",
    "quality": "--quality",
    "target_bpp": "--target-bpp",
    "target_psnr_db": "--target-psnr",
    "budget_ms": "--budget-ms",
    "entropy_level": "--entropy-level",
}
_ARGUMENTS = rf"^({'|'.join(_OPTIONS)})(?=: expected)|(?<=; raise )max_pixels|(?<=with a lighter )entropy_level$"


def _error(log: Console, error: object) -> None:
    log.print(f"basic: {error}", style="red", markup=False)


@contextmanager
def _image_warnings(log: Console, source: str) -> Iterator[None]:
    """Warnings about an image as lines of the log that name its file."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        log.print(f"warning: {source}: {message}", style="yellow", markup=False)

    with warnings.catch_warnings():
        warnings.simplefilter("always", ImageWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _no_pillow_limit() -> Iterator[None]:
    """Pillow has a limit of its own; --max-pixels, checked before an image is loaded, takes its place."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


if __name__ == "__main__":
    sys.exit(main())
