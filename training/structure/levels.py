"""Level tables: widths and group plan of every level; the default one until a search has learned a better.

The default puts levels evenly on a logarithmic scale of total MACs between the lightest model with one group and the
full model with eight, along the straight line between the two width tables.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.groups import Plan, default_plan, make_plan
from ..complexity import total_macs
from ..nodes import Architecture

TABLE_FORMAT = "basic-level-table"
TABLE_VERSION = 1
MAX_LEVELS = 64
NUM_GROUPS = (1, 1, 2, 2, 3, 4, 6, 8)  # of eight levels; other counts take the nearest


@dataclass(frozen=True)
class LevelEntry:
    """One level's structure."""

    widths: dict[str, int]
    plan: Plan


def default_levels(arch: Architecture, num_levels: int) -> list[LevelEntry]:
    """`num_levels` levels from lightest to full; one alone is the full model."""
    if not 1 <= num_levels <= MAX_LEVELS:
        raise ValueError(f"number of levels: expected 1 to {MAX_LEVELS}, got {num_levels}")
    low = total_macs(arch, arch.lightest(), default_plan(1))
    high = total_macs(arch, arch.full(), default_plan(8))
    entries = []
    for i in range(num_levels):
        position = i / (num_levels - 1) if num_levels > 1 else 1.0
        plan = default_plan(NUM_GROUPS[round(position * (len(NUM_GROUPS) - 1))])
        entries.append(LevelEntry(_widths_for(arch, plan, low * (high / low) ** position), plan))
    return entries


def uniform_level(arch: Architecture, target: float) -> LevelEntry:
    """One level of the default kind for any number of multiplications per pixel; groups as its place on the scale."""
    low = total_macs(arch, arch.lightest(), default_plan(1))
    high = total_macs(arch, arch.full(), default_plan(8))
    position = min(1.0, max(0.0, math.log(target / low) / math.log(high / low)))
    plan = default_plan(NUM_GROUPS[round(position * (len(NUM_GROUPS) - 1))])
    return LevelEntry(_widths_for(arch, plan, target), plan)


def _widths_for(arch: Architecture, plan: Plan, target: float) -> dict[str, int]:
    """The point of the line between lightest and full nearest below the target, then single nodes one step up."""
    line = [arch.between(i / 512) for i in range(513)]
    totals = [total_macs(arch, widths, plan) for widths in line]
    below = max((i for i, total in enumerate(totals) if total <= target), default=0)
    above = next((widths for widths, total in zip(line, totals, strict=True) if total > target), line[below])
    widths = line[below]
    for name in widths:
        raised = widths | {name: above[name]}
        if abs(total_macs(arch, raised, plan) - target) < abs(total_macs(arch, widths, plan) - target):
            widths = raised
    return widths


def save_table(path: str | Path, arch: Architecture, levels: list[LevelEntry], notes: dict[str, Any]) -> None:
    """Write a level table as JSON."""
    table = {
        "format": TABLE_FORMAT,
        "format_version": TABLE_VERSION,
        "architecture": arch.name,
        "levels": [{"widths": e.widths, "plan": [list(group) for group in e.plan]} for e in levels],
        "notes": notes,
    }
    temporary = Path(path).with_name(f".{Path(path).name}.tmp")
    temporary.write_text(json.dumps(table, indent=1) + "\n")
    temporary.replace(path)


def load_table(path: str | Path, arch: Architecture) -> list[LevelEntry]:
    """Read a level table and check it against the architecture. Raises ValueError naming what is wrong."""
    try:
        table = json.loads(Path(path).read_text())
        if (table["format"], table["format_version"], table["architecture"]) != (
            TABLE_FORMAT,
            TABLE_VERSION,
            arch.name,
        ):
            raise ValueError(
                f"expected {TABLE_FORMAT} version {TABLE_VERSION} of {arch.name}, found "
                f"{table['format']} version {table['format_version']} of {table['architecture']}"
            )
        entries = [LevelEntry(dict(e["widths"]), make_plan(e["plan"])) for e in table["levels"]]
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"level table {path}: {error!r}; see docs/levels.md, or leave --table out") from error
    if not 1 <= len(entries) <= MAX_LEVELS:
        raise ValueError(f"level table {path}: expected 1 to {MAX_LEVELS} levels, found {len(entries)}")
    for entry in entries:
        arch.check(entry.widths)
    return entries
