"""Puts the measured curve into checkpoints/README.md, between its two `curve` comments, from a report of basic-bench.

basic-bench --images kodak --peers -o report
python -m basic.benchmarks.curve_table report checkpoints/README.md
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..runtime.command import run_main
from .curves import KODAK_CURVES, load_curves
from .readme_table import fill_page, markdown_table, read_qualities
from .results import BenchError, Curve, QualityRow

START, END = "<!-- curve -->", "<!-- /curve -->"
REFERENCES = ("JPEG", "WebP", "BPG 4:4:4", "mbt2018-mean")
PLOT = "rate_distortion.png"


def psnr_at(curve: Curve, bpp: float) -> float | None:
    """PSNR in dB of a curve at a rate, linear between its points over log bpp; None outside."""
    if not curve.bpp[0] <= bpp <= curve.bpp[-1]:
        return None
    return float(np.interp(np.log(bpp), np.log(curve.bpp), curve.psnr_db))


def table(rows: Sequence[QualityRow], levels: Sequence[int], curves: Sequence[Curve]) -> str:
    """Markdown: each level's points, and beside them what the curves have at the same bpp."""
    lines = []
    for level in levels:
        mine = sorted((row for row in rows if row.level == level), key=lambda row: row.quality)
        if not mine:
            raise BenchError(f"level {level}: the report has no qualities of it")
        for row in mine:
            found = (psnr_at(curve, row.bpp) for curve in curves)
            others = ("–" if value is None else f"{value:.1f}" for value in found)
            lines.append((str(level), str(row.quality), f"{row.bpp:.3f}", f"{row.psnr_db:.2f}", *others))
    return markdown_table(("level", "quality", "bpp", "PSNR, dB", *(curve.name for curve in curves)), lines)


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 the report or the page is not as it should be, 2 the command line alone is wrong."""
    parser = argparse.ArgumentParser(prog="python -m basic.benchmarks.curve_table", description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, metavar="DIR", help="what basic-bench -o wrote")
    parser.add_argument("page", type=Path, help="page to fill; the plot goes into docs/ beside its folder")
    parser.add_argument("--levels", type=int, nargs="+", default=[7, 3, 0], metavar="L")
    args = parser.parse_args(argv)
    try:
        known = {curve.name: curve for curve in load_curves(KODAK_CURVES)}
        rows = read_qualities(args.report / "report.json")
        fill_page(args.page, table(rows, args.levels, [known[name] for name in REFERENCES]), START, END)
        docs = args.page.resolve().parent.parent / "docs"
        if (args.report / PLOT).exists() and docs.is_dir():
            shutil.copyfile(args.report / PLOT, docs / PLOT)
    except (BenchError, OSError) as error:
        print(f"curve_table: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_main("curve_table", main))
