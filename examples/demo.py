"""`make demo`: the shipped weights become a bundle of 8 levels, photographs become files and come back, on the CPU.

    python examples/demo.py [--checkpoint FILE] [--images FOLDER] [--output demo]

Afterwards the output folder holds the bundle, the .bsc files and what they decode to, and report/report.html with every
table and plot. All numbers are measured while it runs; nothing is downloaded.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from basic.benchmarks.cli import run_with_progress
from basic.benchmarks.images import load_photos
from basic.benchmarks.machine import command_line
from basic.benchmarks.quality import psnr_db
from basic.benchmarks.report import say, write_files
from basic.benchmarks.results import Report, make_folder
from basic.benchmarks.run import Settings
from basic.export.cli import main as export_main
from basic.runtime.codec import Codec
from basic.runtime.errors import BasicError

ROOT = Path(__file__).resolve().parents[1]
NUM_LEVELS = 8
QUALITIES = (8, 20, 32, 44, 56)
SHOWN_QUALITY = 32
SHOWN_LEVELS = (0, 3, 7)


def main(argv: Sequence[str] | None = None) -> int:
    """Export, encode and decode, measure; 0 when all of it worked."""
    args = arguments(argv)
    console, log = Console(), Console(stderr=True)
    started = time.monotonic()
    try:
        bundle = make_folder(args.output) / "basic.bundle"
        log.rule(f"1. a checkpoint becomes a bundle of {NUM_LEVELS} levels")
        checkpoint = [str(args.checkpoint)] if args.checkpoint else []
        if export_main([*checkpoint, "--levels", str(NUM_LEVELS), "-o", str(bundle)]):
            return 1
        log.rule("2. photographs become .bsc files and come back")
        console.print(code_photos(bundle, args.images, args.output / "photos"))
        log.rule("3. latency against MACs, and quality, per level")
        report = run_with_progress(settings(args.images, bundle), log)
        console.print(summary(report))
        page = write_files(report, make_folder(args.output / "report"))
    except (BasicError, OSError) as error:
        say(log, f"demo: {error}", "red")
        return 1
    pages = [path for path in (page.with_name("overview.png"), page) if path.exists()]
    say(log, f"done in {time.monotonic() - started:.0f} s: see {' and '.join(map(str, pages))}")
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped weights")
    parser.add_argument("--images", type=Path, default=ROOT / "tests" / "data", help="photographs")
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="folder to fill")
    return parser.parse_args(argv)


def settings(images: Path, bundle: Path) -> Settings:
    """What the report measures."""
    return Settings(images, bundle, qualities=QUALITIES, repeats=3, peers=True, command=command_line())


def code_photos(bundle: Path, images: Path, folder: Path) -> Table:
    """Write a .bsc file and its decoded PNG for every photograph at a few levels; a table of what came out."""
    table = Table("photograph", "level", "file, bytes", "bpp", "PSNR, dB", title=f"quality {SHOWN_QUALITY}")
    make_folder(folder)
    with Codec.open(bundle) as codec:
        for photo in load_photos(images):
            for level in SHOWN_LEVELS:
                file = folder / f"{photo.stem}_level{level}.bsc"
                data = codec.encode(Image.fromarray(photo.pixels), level=level, quality=SHOWN_QUALITY)
                file.write_bytes(data)
                decoded = codec.decode(file.read_bytes())
                decoded.save(file.with_suffix(".png"))
                psnr = psnr_db(photo.pixels, np.asarray(decoded))
                bpp = 8 * len(data) / photo.num_pixels
                table.add_row(photo.name, str(level), f"{len(data):,}", f"{bpp:.3f}", f"{psnr:.2f}")
    return table


def summary(report: Report) -> Table:
    """One line per level: what it costs in multiplications and processor time, and what it gives at one quality."""
    tasks = ("encode", "decode")
    columns = (*(f"{task}\nkMAC/px" for task in tasks), *(f"{task}\nCPU ms" for task in tasks))
    facts = report.circumstances
    title = (
        f"CPU time on one thread of {facts['cpu_model']}, {facts['images']['timed_sizes'][0]}, quality {SHOWN_QUALITY}"
    )
    table = Table("level", "groups", *columns, "bpp", "PSNR\ndB", "MS-SSIM", title=title, show_edge=False)
    times = {(row.level, row.task): row for row in report.levels}
    for row in report.qualities:
        if row.quality == SHOWN_QUALITY:
            rows = [times[row.level, task] for task in tasks]
            ssim = "" if row.ms_ssim is None else f"{row.ms_ssim:.4f}"
            costs = (*(f"{task.kmacs_per_pixel:.2f}" for task in rows), *(f"{task.cpu_p50_ms:.1f}" for task in rows))
            groups = str(rows[0].num_groups)
            table.add_row(str(row.level), groups, *costs, f"{row.bpp:.3f}", f"{row.psnr_db:.2f}", ssim)
    return table


if __name__ == "__main__":
    sys.exit(main())
