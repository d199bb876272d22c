"""How well a latency table foretells real networks: structures' parts timed beside what the table says.

    python -m basic.benchmarks.latency_check BUNDLE --latency-table latency.json

What a newcomer gets wrong: a table holds for the machine and load it was measured under. Measure it and check it in one
sitting. The bundle's levels are opened as they are; the learned and uniform levels and random structures, none of
which a table was made from, are built with random weights.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ..runtime.bundle import Bundle
from ..runtime.command import run_main
from ..runtime.errors import BasicError
from ..runtime.groups import NUM_NODES, make_plan
from ..training.nodes import Architecture
from ..training.structure.latency import LatencyTable
from ..training.structure.levels import LevelEntry, default_levels, learned_levels
from .arguments import positive
from .latency_table import HEIGHT, WIDTH, Builder, Network, time_networks
from .report import say
from .shapes import input_shapes

GROUP_COUNTS = (1, 2, 3, 4, 6, 8)
LIMIT_PERCENT = 10.0


@dataclass(frozen=True)
class Row:
    """One structure: measured and foretold ms of each part, of all together, and the error in percent."""

    name: str
    measured_ms: float
    foretold_ms: float
    error_percent: float
    parts_ms: dict[str, float]
    parts_foretold_ms: dict[str, float]


def random_levels(arch: Architecture, count: int, seed: int = 1) -> list[LevelEntry]:
    """Structures with every width drawn evenly from its choices, and a random plan."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        widths = {node.name: int(rng.choice(node.choices)) for node in arch.nodes}
        num_groups = int(rng.choice(GROUP_COUNTS))
        cuts = np.sort(rng.choice(np.arange(1, NUM_NODES), num_groups - 1, replace=False))
        groups = np.split(rng.permutation(NUM_NODES), cuts)
        found.append(LevelEntry(widths, make_plan(group.tolist() for group in groups)))
    return found


def check(
    bundle: Bundle | None,
    table: LatencyTable,
    built: Mapping[str, LevelEntry],
    threads: int,
    show: Callable[[str], None],
    arch: Architecture,
) -> list[Row]:
    """One row per level of the bundle and per structure of `built`; all networks take turns."""
    builder = Builder(arch)
    levels = {} if bundle is None else bundle.levels
    entries = {f"level {number}": LevelEntry(dict(level.widths), level.plan) for number, level in levels.items()}
    makers: dict[tuple[str, str], Callable[[], Network]] = {}
    for number, level in levels.items():
        assert bundle is not None
        for name, part in level.parts.items():
            network = Network(bundle.read(part.file), input_shapes(part, HEIGHT, WIDTH))
            makers[f"level {number}", name] = lambda network=network: network  # type: ignore[misc]
    for structure, entry in built.items():
        makers |= {(structure, part): make for part, make in builder.parts(entry, table.precision).items()}
    times = time_networks({" ".join(key): make for key, make in makers.items()}, threads, show)
    rows = []
    for structure, entry in (entries | dict(built)).items():
        told = table.parts_ms(arch, entry.widths, entry.plan)
        found = {part: times[f"{structure} {part}"] for part in told}
        total, told_total = sum(found.values()), sum(told.values())
        rows.append(Row(structure, total, told_total, 100 * (told_total / total - 1), found, told))
    return rows


def show_rows(rows: Sequence[Row], console: Console) -> None:
    """Totals and transforms; contexts together."""
    table = Table("structure", "measured ms", "foretold ms", "error", "analysis", "entropy networks", "synthesis")
    for row in rows:
        cells = [f"{row.measured_ms:.2f}", f"{row.foretold_ms:.2f}", f"{row.error_percent:+.1f} %"]
        for names in (("analysis",), [name for name in row.parts_ms if name not in TRANSFORM_PARTS], ("synthesis",)):
            found, told = (sum(each[name] for name in names) for each in (row.parts_ms, row.parts_foretold_ms))
            cells.append(f"{found:.2f} {100 * (told / found - 1):+.1f} %")
        table.add_row(row.name, *cells)
    console.print(table)


TRANSFORM_PARTS = ("analysis", "synthesis")


def summary(rows: Sequence[Row]) -> dict[str, float | int]:
    """Errors over all rows, without their sign."""
    errors = [abs(row.error_percent) for row in rows]
    within = sum(error <= LIMIT_PERCENT for error in errors)
    return {
        "mean_error_percent": float(np.mean(errors)),
        "largest_error_percent": max(errors),
        "rows": len(rows),
        "within_limit": within,
        "limit_percent": LIMIT_PERCENT,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """0 measured, 1 bad input, 2 wrong options."""
    p = argparse.ArgumentParser(
        prog="python -m basic.benchmarks.latency_check", description=(__doc__ or "").splitlines()[0]
    )
    p.add_argument("bundle", type=Path, nargs="?", help="default: the packaged one")
    p.add_argument("--latency-table", type=Path, required=True, help="of python -m basic.benchmarks.latency_table")
    p.add_argument("--random", type=int, default=8, help="random structures beside the bundle's levels (default 8)")
    p.add_argument("--threads", type=positive, default=1)
    args = p.parse_args(argv)
    log = Console(stderr=True, width=None if sys.stderr.isatty() else 140)
    try:
        arch = Architecture()
        built = {f"learned {i}": entry for i, entry in enumerate(learned_levels(arch, 8))}
        built |= {f"uniform {i}": entry for i, entry in enumerate(default_levels(arch, 8))}
        built |= {f"random {i}": entry for i, entry in enumerate(random_levels(arch, args.random))}
        table = LatencyTable.load(args.latency_table)
        rows = check(Bundle.open(args.bundle), table, built, args.threads, lambda text: None, arch)
    except (BasicError, ValueError, OSError) as error:
        say(log, f"latency_check: {error}", "red")
        return 1
    show_rows(rows, log)
    print(json.dumps(summary(rows) | {"structures": [asdict(row) for row in rows]}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main("latency_check", main))
