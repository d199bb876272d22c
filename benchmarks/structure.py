"""The comparisons of BaSIC (ECCV 2024) on real files: learned structures against uniform and hand-made ones.

    python -m basic.benchmarks.structure CHECKPOINT --images kodak -o report

What a newcomer gets wrong: two structures compare at equal multiplications or not at all. Each row says what both cost.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..runtime.command import run_main
from ..runtime.errors import BasicError
from ..runtime.files import write_whole
from ..runtime.groups import Plan
from ..training.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from ..training.complexity import total_macs
from ..training.nodes import Architecture
from ..training.structure.levels import (
    LEARNED,
    Learned,
    LevelEntry,
    cut_levels,
    default_levels,
    load_learned,
    load_table,
)
from ..training.structure.plans import hand_made
from .arguments import positive, qualities
from .images import Photo, load_photos
from .machine import command_line, images_used, machine
from .plots import check_matplotlib
from .report import say
from .results import make_folder
from .structure_bd import Gain, compare
from .structure_rates import Curves, measure_structures, open_measurements

SUITES = ("levels", "plans", "control", "curve")
QUALITIES = (4, 18, 32, 46, 60)
GROUP_COUNTS = (1, 2, 3, 4, 6, 8)
CURVE_LEVELS = 16
NUM_BUDGETS = 64
STATE = "structure.state"
Suite = tuple[dict[str, LevelEntry], list[tuple[str, str, str]]]
"""Structures by name, and which are compared: (comparison, ours, theirs)."""


@dataclass(frozen=True)
class Row:
    """`ours` against `theirs`; won: the whole interval of BD-PSNR is above zero: more than noise over images."""

    comparison: str
    ours: str
    theirs: str
    ours_kmacs_per_pixel: float
    theirs_kmacs_per_pixel: float
    ours_groups: int
    theirs_groups: int
    gain: Gain
    won: bool


@dataclass
class StructureReport:
    """Rows, the control of the levels' complexity, and every structure's mean curve, with the circumstances."""

    circumstances: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    control: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)


def levels_suite(learned: Learned, checkpoint: Checkpoint) -> Suite:
    """Every learned level against the uniform one of the same budget."""
    uniform = default_levels(checkpoint.model.arch, len(learned.levels))
    structures = {f"learned level {i}": entry for i, entry in enumerate(learned.levels)}
    structures |= {f"uniform level {i}": entry for i, entry in enumerate(uniform)}
    pairs = [("learned against uniform", f"learned level {i}", f"uniform level {i}") for i in range(len(uniform))]
    return structures, pairs


def plans_suite(learned: Learned, checkpoint: Checkpoint) -> Suite:
    """At full widths: every learned plan against each hand-made one of as many groups, and against one group."""
    full = checkpoint.model.arch.full()
    plans: dict[str, Plan] = {f"learned {count}": plan for count, plan in learned.plans.items() if count > 1}
    others = {name: plan for name, plan in hand_made().items() if len(plan) in GROUP_COUNTS}
    pairs = [
        ("learned plan against hand-made", name, other)
        for name, plan in plans.items()
        for other, theirs in others.items()
        if len(theirs) in (1, len(plan))
    ]
    return {name: LevelEntry(full, plan) for name, plan in (plans | others).items()}, pairs


def curve_suite(learned: Learned, checkpoint: Checkpoint) -> Suite:
    """More levels between the lightest and the full one, as basic-export --levels gives them."""
    levels = cut_levels(learned, checkpoint.model.arch, CURVE_LEVELS)
    return {f"curve {i}": entry for i, entry in enumerate(levels)}, []


def control_suite(learned: Learned, checkpoint: Checkpoint, tables: Mapping[str, Path]) -> Suite:
    """The full scheme against tables where only the transforms, or only the entropy part, may change."""
    arch = checkpoint.model.arch
    structures, pairs = {}, []
    for name, path in tables.items():
        entries = [entry for entry in load_table(path, arch) if entry.widths != arch.full()]
        entries = [entry for i, entry in enumerate(entries) if entry not in entries[:i]]
        for number, entry in enumerate(entries):
            macs = total_macs(arch, entry.widths, entry.plan)
            structures[f"{name} {number}"] = entry
            structures[f"full scheme for {name} {number}"] = learned.within(arch, macs)
            pairs.append((f"full scheme against {name}", f"full scheme for {name} {number}", f"{name} {number}"))
    return structures, pairs


def complexity_control(arch: Architecture, levels: Sequence[LevelEntry]) -> dict[str, Any]:
    """How far each level is from its target on the logarithmic scale, and how far the scale reaches."""
    macs = [total_macs(arch, entry.widths, entry.plan) for entry in levels]
    targets = np.geomspace(macs[0], macs[-1], len(macs))
    errors = [100 * abs(actual - target) / target for actual, target in zip(macs, targets, strict=True)]
    return {
        "kmacs_per_pixel": [value / 1000 for value in macs],
        "target_kmacs_per_pixel": [float(target) / 1000 for target in targets],
        "error_percent": errors,
        "largest_error_percent": max(errors),
        "reach": macs[-1] / macs[0],
    }


def measure(args: argparse.Namespace, photos: Sequence[Photo], step: Callable[[str], None]) -> StructureReport:
    """All suites asked for."""
    checkpoint = load_checkpoint(args.checkpoint)
    learned = load_learned(checkpoint.model.arch, args.table)
    if learned is None:
        raise ValueError(f"{args.table}: learned for another architecture than {checkpoint.model.arch.name}")
    about = {"command": command_line(), **machine(), "images": images_used(photos, photos[:0])}
    about |= {"training": checkpoint.training.get("steps"), "qualities": list(args.qualities)}
    about["checkpoint_sha256"] = hashlib.sha256(Path(args.checkpoint).read_bytes()).hexdigest()
    tables = {"backbone only": args.backbone_table, "AR only": args.ar_table}
    tables = {name: path for name, path in tables.items() if path is not None}
    report = StructureReport(about, control=_controls(learned, checkpoint.model.arch, tables))
    suites: dict[str, Suite] = {}
    for name in args.suites:
        make = {"levels": levels_suite, "plans": plans_suite, "curve": curve_suite}.get(name)
        suites[name] = make(learned, checkpoint) if make else control_suite(learned, checkpoint, tables)
    structures = {name: entry for found, _ in suites.values() for name, entry in found.items()}
    memo = open_measurements(args.output / STATE, Path(args.checkpoint), photos, args.qualities)
    curves = measure_structures(checkpoint, structures, photos, args.qualities, step, memo)
    for _, pairs in suites.values():
        for comparison, ours, theirs in pairs:
            step(f"{ours} against {theirs}")
            report.rows.append(_row(comparison, ours, theirs, curves))
    report.curves = {name: _mean(curve) for name, curve in curves.items()}
    return report


def _controls(learned: Learned, arch: Architecture, tables: Mapping[str, Path]) -> dict[str, Any]:
    """Complexity control by the learned and the uniform levels, at their own budgets and at many; reach of others."""
    uniform = default_levels(arch, len(learned.levels))
    found = {
        "learned": complexity_control(arch, learned.levels),
        "uniform": complexity_control(arch, uniform),
        f"learned, {NUM_BUDGETS} budgets": complexity_control(arch, cut_levels(learned, arch, NUM_BUDGETS)),
        f"uniform, {NUM_BUDGETS} budgets": complexity_control(arch, default_levels(arch, NUM_BUDGETS)),
    }
    return found | {name: complexity_control(arch, load_table(path, arch)) for name, path in tables.items()}


def _row(comparison: str, ours: str, theirs: str, curves: Mapping[str, Curves]) -> Row:
    a, b = curves[ours], curves[theirs]
    gain = compare((a.bpp, a.psnr_db), (b.bpp, b.psnr_db))
    won = gain.bd_psnr_low_db is not None and gain.bd_psnr_low_db > 0
    macs = a.kmacs_per_pixel, b.kmacs_per_pixel
    return Row(comparison, ours, theirs, *macs, a.num_groups, b.num_groups, gain, won)


def _mean(curve: Curves) -> dict[str, Any]:
    means = {"bpp": curve.bpp.mean(0).tolist(), "psnr_db": curve.psnr_db.mean(0).tolist()}
    return {"kmacs_per_pixel": curve.kmacs_per_pixel, "groups": curve.num_groups} | means


def show(report: StructureReport, console: Console) -> None:
    """Tables of the rows and of the complexity control."""
    table = Table("comparison", "ours", "theirs", "kMAC/pixel", "BD-rate %", "BD-PSNR dB", "won")
    for row in report.rows:
        g = row.gain
        macs = f"{row.ours_kmacs_per_pixel:.2f} / {row.theirs_kmacs_per_pixel:.2f}"
        rate = _interval(g.bd_rate_percent, g.bd_rate_low_percent, g.bd_rate_high_percent, ".1f")
        psnr = _interval(g.bd_psnr_db, g.bd_psnr_low_db, g.bd_psnr_high_db, ".3f")
        table.add_row(row.comparison, row.ours, row.theirs, macs, rate, psnr, "yes" if row.won else "no")
    console.print(table)
    for name, control in report.control.items():
        error, reach = control["largest_error_percent"], control["reach"]
        console.print(f"complexity control, {name}: largest error {error:.2f} % over {reach:.1f} x MACs")


def _interval(value: float | None, low: float | None, high: float | None, digits: str) -> str:
    if value is None or low is None or high is None:
        return "no common range"
    return f"{value:+{digits}} [{low:+{digits}}, {high:+{digits}}]"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m basic.benchmarks.structure", description=(__doc__ or "")[:96])
    add = made.add_argument
    add("checkpoint", nargs="?", default=SHIPPED, help="checkpoint (default: the shipped one)")
    add("--images", type=Path, required=True, metavar="DIR", help="folder of photographs")
    add("--table", type=Path, default=LEARNED, help="learned table of basic-search budget (default: the shipped one)")
    add("--backbone-table", type=Path, help="table of basic-search levels --control backbone")
    add("--ar-table", type=Path, help="table of basic-search levels --control ar")
    add("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    add("--qualities", type=qualities, default=QUALITIES, metavar="4,18,..")
    add("--limit", type=positive, metavar="N", help="use the first N images only")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="write structure.json and the plots here")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """0 measured, 2 wrong input."""
    args = parser().parse_args(argv)
    log = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    try:
        check_matplotlib()
        make_folder(args.output)
        photos = load_photos(args.images, args.limit)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=log, transient=True) as progress:
            task = progress.add_task("reading", total=None)
            report = measure(args, photos, lambda text: progress.update(task, description=text))
        show(report, log)
        from .structure_plots import draw_structures

        draw_structures(report, args.output)
        path = args.output / "structure.json"
        write_whole(path, json.dumps(asdict(report), indent=1) + "\n")
    except (BasicError, ValueError, OSError) as error:
        say(log, f"structure: {error}", "red")
        return 1
    print(json.dumps({"report": str(path), "rows": len(report.rows), "won": sum(row.won for row in report.rows)}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main("structure", main))
