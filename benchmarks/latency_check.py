"""How well a latency table foretells real networks: every level's parts timed beside what the table says.

    python -m basic.benchmarks.latency_check BUNDLE --latency-table latency.json

What a newcomer gets wrong: a table holds for the machine and load it was measured under. Measure it and check it in one
sitting; levels and parts take turns here, and the table can be measured in the same run where the file is missing.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..runtime.bundle import Bundle
from ..runtime.engine import open_engine
from ..runtime.errors import BasicError
from ..training.nodes import Architecture
from ..training.structure.latency import HEIGHT, WIDTH, LatencyTable, measure_table
from .shapes import input_shapes

ROUNDS, WARMUP = 15, 2


def check(bundle: Bundle, table: LatencyTable, threads: int, step: Callable[[str], None]) -> list[dict[str, Any]]:
    """One row per level: measured and foretold ms of its parts and of all together, and the error in percent."""
    rng = np.random.default_rng(0)
    clocks: dict[tuple[int, str], list[float]] = {}
    engine = open_engine("ort", threads)
    calls = {}
    for number, level in bundle.levels.items():
        for name, part in level.parts.items():
            shapes = input_shapes(part, HEIGHT, WIDTH)
            inputs = {port: rng.normal(size=shape).astype(np.float32) for port, shape in shapes.items()}
            calls[number, name] = (engine.open(bundle, number, name), inputs)
    for turn in range(WARMUP + ROUNDS):
        step(f"round {turn + 1} of {WARMUP + ROUNDS}")
        for key, (session, inputs) in calls.items():
            session.run(inputs)
            start = time.perf_counter()
            session.run(inputs)
            if turn >= WARMUP:
                clocks.setdefault(key, []).append(1e3 * (time.perf_counter() - start))
    engine.close()
    arch = Architecture()
    rows = []
    for number, level in bundle.levels.items():
        found = {name: float(np.median(clocks[number, name])) for name in level.parts}
        told = table.parts_ms(arch, level.widths, level.plan)
        total, told_total = sum(found.values()), sum(told.values())
        row = {"level": number, "measured_ms": total, "foretold_ms": told_total}
        rows.append(
            row | {"error_percent": 100 * (told_total / total - 1), "parts_ms": found, "parts_foretold_ms": told}
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """0 measured, 1 bad input, 2 wrong options."""
    p = argparse.ArgumentParser(prog="python -m basic.benchmarks.latency_check", description=(__doc__ or "")[:83])
    p.add_argument("bundle", type=Path)
    p.add_argument("--latency-table", type=Path, required=True, help="measured and written where it is missing")
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args(argv)
    log = Console(stderr=True)
    try:
        bundle = Bundle.open(args.bundle)
        if not args.latency_table.exists():
            measure_table(Architecture(), args.threads, lambda text: None).save(args.latency_table)
        rows = check(bundle, LatencyTable.load(args.latency_table), args.threads, lambda text: None)
    except (BasicError, ValueError, OSError) as error:
        log.print(f"latency_check: {error}", style="red", markup=False, highlight=False)
        return 1
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
