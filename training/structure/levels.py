"""Level tables: widths and group plan of every level; the learned one that comes along, and the uniform one.

Both put levels evenly on a logarithmic scale of total MACs between the lightest model with one group and the full one.
The uniform one lies along the straight line between the two width tables, with hand-made plans; the learned one was
found on the shipped weights by basic-search.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...runtime.groups import Plan, default_plan, make_plan
from ..complexity import total_macs
from ..nodes import NOTCH, Architecture, Widths

TABLE_FORMAT = "basic-level-table"
TABLE_VERSION = 1
MAX_LEVELS = 64
LEARNED = Path(__file__).with_name("learned.json")
NUM_GROUPS = (1, 1, 2, 2, 3, 4, 6, 8)  # of eight levels; other counts take the nearest


@dataclass(frozen=True)
class LevelEntry:
    """One level's structure."""

    widths: dict[str, int]
    plan: Plan


@dataclass(frozen=True)
class Learned:
    """What comes along: a table, the plans by group count, and the path of structures with their losses."""

    levels: list[LevelEntry]
    plans: dict[int, Plan]
    path: list[tuple[float, LevelEntry]]

    def within(self, arch: Architecture, macs: float) -> LevelEntry:
        """The structure of least loss within so many multiplications per pixel; the lightest level if none is.

        What it leaves of them is spent on notches towards the next better structure of the path, the rest on any.
        """
        costs = [total_macs(arch, entry.widths, entry.plan) for _, entry in self.path]
        fitting = [step for step, cost in zip(self.path, costs, strict=True) if cost <= macs * (1 + 1e-9)]
        if not fitting:
            return self.levels[0]
        least, best = min(fitting, key=lambda step: step[0])
        better = [(cost, step[1]) for step, cost in zip(self.path, costs, strict=True) if step[0] < least]
        if not better:
            return best
        best = _towards(arch, best, min(better, key=lambda each: each[0])[1].widths, macs)
        return _towards(arch, best, arch.full(), macs)


def _towards(arch: Architecture, start: LevelEntry, goal: Widths, macs: float) -> LevelEntry:
    """`start` widened by notches, a node at a time in turns, where `goal` is wider and as long as the budget lasts."""
    widths, before = start.widths, None
    while widths != before:
        before = widths
        for name in widths:
            wider = widths | {name: widths[name] + NOTCH}
            if wider[name] <= goal[name] and total_macs(arch, wider, start.plan) <= macs * (1 + 1e-9):
                widths = wider
    return LevelEntry(widths, start.plan)


def load_learned(arch: Architecture, path: Path = LEARNED) -> Learned | None:
    """The learned structures of an architecture; None where they were learned for other sizes. Raises ValueError."""
    try:
        content = json.loads(path.read_text())
        notes = content["notes"]
        if (content["architecture"], notes["sizes"]) != (arch.name, asdict(arch)):
            return None
        plans = {int(count): make_plan(groups) for count, groups in notes["plans"].items()}
        steps = [
            (float(row[0]), LevelEntry(dict(zip(notes["names"], row[2:], strict=True)), plans[row[1]]))
            for row in notes["path"]
        ]
    except (OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"learned structures {path}: {error!r}; make them with basic-search budget") from error
    return Learned(load_table(path, arch), plans, steps)


def learned_levels(arch: Architecture, num_levels: int) -> list[LevelEntry]:
    """The learned table that comes along, or for another number of levels one cut from its path.

    An architecture that no table was learned for has the uniform one.
    """
    learned = load_learned(arch)
    if learned is None:
        return default_levels(arch, num_levels)
    return cut_levels(learned, arch, num_levels)


def cut_levels(learned: Learned, arch: Architecture, num_levels: int) -> list[LevelEntry]:
    """The levels of a learned table, or for another number of them as many cut from its path, lightest first."""
    if num_levels == len(learned.levels):
        return learned.levels
    if not 1 <= num_levels <= MAX_LEVELS:
        raise ValueError(f"number of levels: expected 1 to {MAX_LEVELS}, got {num_levels}")
    first, last = learned.levels[0], learned.levels[-1]
    low, high = (total_macs(arch, entry.widths, entry.plan) for entry in (first, last))
    inner = [low * (high / low) ** (i / (num_levels - 1)) for i in range(1, num_levels - 1)]
    found = [first] * (num_levels > 1) + [learned.within(arch, target) for target in inner] + [last]
    return sorted(found, key=lambda entry: total_macs(arch, entry.widths, entry.plan))


def default_levels(arch: Architecture, num_levels: int) -> list[LevelEntry]:
    """The uniform table: `num_levels` levels from lightest to full; one alone is the full model."""
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
    temporary.write_text(_compact(table))
    temporary.replace(path)


def _compact(table: dict[str, Any]) -> str:
    """JSON with a line for each level and each key of the notes: short enough to read, few enough lines to compare."""
    levels = ",\n".join(json.dumps(level) for level in table["levels"])
    notes = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in table["notes"].items())
    head = {key: value for key, value in table.items() if key not in ("levels", "notes")}
    return f'{json.dumps(head)[:-1]}, "levels": [\n{levels}\n],\n"notes": {{\n{notes}\n}}}}\n'


def _shortly(error: Exception) -> str:
    """Kind and message; the repr of an error about bytes would hold all of them."""
    return f"{type(error).__name__}: {error}"


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
        raise ValueError(f"level table {path}: {_shortly(error)}; see docs/levels.md, or leave --table out") from error
    if not 1 <= len(entries) <= MAX_LEVELS:
        raise ValueError(f"level table {path}: expected 1 to {MAX_LEVELS} levels, found {len(entries)}")
    for entry in entries:
        arch.check(entry.widths)
    return entries
