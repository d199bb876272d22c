"""Level tables: widths and group plan of every level; the learned one that comes along, and the uniform one.

Both put levels evenly on a logarithmic scale of total MACs between the lightest model with one group and the full one.
The uniform one lies along the straight line between the two width tables, with hand-made plans; the learned one was
found on the shipped weights by basic-search.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...runtime.files import write_whole
from ...runtime.groups import Plan, default_plan, make_plan
from ..complexity import part_macs, total_macs
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
        if (content["architecture"], notes["sizes"]) != (arch.name, arch.sizes):
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
    write_whole(Path(path), _compact(table))


def _compact(table: dict[str, Any]) -> str:
    """JSON with a line for each level and each key of the notes: short enough to read, few enough lines to compare."""
    levels = ",\n".join(json.dumps(level) for level in table["levels"])
    notes = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in table["notes"].items())
    head = {key: value for key, value in table.items() if key not in ("levels", "notes")}
    return f'{json.dumps(head)[:-1]}, "levels": [\n{levels}\n],\n"notes": {{\n{notes}\n}}}}\n'


def load_table(path: str | Path, arch: Architecture) -> list[LevelEntry]:
    """Read a level table and check it against the architecture. Raises ValueError naming what is wrong."""
    try:
        return _entries(json.loads(Path(path).read_text(encoding="utf-8")), arch)
    except OSError as error:
        wrong = f"cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:  # its own text would hold all bytes of the file
        wrong = "expected JSON, found a file that is no text"
    except (json.JSONDecodeError, RecursionError) as error:
        wrong = f"expected JSON, found a file that is none ({error})"
    except ValueError as error:
        wrong = str(error)
    raise ValueError(f"level table {path}: {wrong}; see docs/levels.md, or leave --table out")


def _entries(table: Any, arch: Architecture) -> list[LevelEntry]:
    """The levels of a parsed table. Raises ValueError with what was expected and what came."""
    _check_keys(table, ("format", "format_version", "architecture", "levels"), "the table")
    expected = (TABLE_FORMAT, TABLE_VERSION, arch.name)
    if (table["format"], table["format_version"], table["architecture"]) != expected:
        raise ValueError(
            f"expected {TABLE_FORMAT} version {TABLE_VERSION} of {arch.name}, found "
            f"{table['format']} version {table['format_version']} of {table['architecture']}"
        )
    levels = table["levels"]
    if not isinstance(levels, list):
        raise ValueError(f"levels: expected a list of 1 to {MAX_LEVELS}, found {_kind(levels)}")
    if not 1 <= len(levels) <= MAX_LEVELS:
        raise ValueError(f"levels: expected 1 to {MAX_LEVELS}, found {len(levels)}")
    entries = []
    for number, level in enumerate(levels):
        _check_keys(level, ("widths", "plan"), f"level {number}")
        try:
            entries.append(_entry(level, arch))
        except ValueError as error:
            raise ValueError(f"level {number}: {error}") from None
    _check_order(entries, arch)
    return entries


def _entry(level: dict[str, Any], arch: Architecture) -> LevelEntry:
    widths, plan = level["widths"], level["plan"]
    if not isinstance(widths, dict):
        raise ValueError(f"widths: expected an object of node: width, found {_kind(widths)}")
    arch.check(widths)
    if not isinstance(plan, list) or not all(isinstance(group, list) for group in plan):
        raise ValueError(f"plan: expected a list of lists of nodes, found {_shown(plan)}")
    strangers = [node for group in plan for node in group if type(node) is not int]
    if strangers:
        raise ValueError(f"plan: expected whole numbers as nodes, found {_shown(strangers[0])}")
    return LevelEntry(dict(widths), make_plan(plan))


def _check_order(entries: list[LevelEntry], arch: Architecture) -> None:
    """Raise ValueError where a level takes fewer multiplications to encode and to decode than the one before it."""
    costs = []
    for entry in entries:
        parts = part_macs(arch, entry.widths, entry.plan)
        whole = sum(parts.values())
        costs.append((whole - parts["synthesis"], whole - parts["analysis"]))
    for number, (before, here) in enumerate(pairwise(costs), 1):
        if all(now < then * (1 - 1e-9) for now, then in zip(here, before, strict=True)):
            raise ValueError(
                f"levels: expected lightest to heaviest, but level {number} is lighter than level {number - 1} "
                f"(encode {here[0] / 1000:.2f} after {before[0] / 1000:.2f} kMAC/pixel, decode {here[1] / 1000:.2f} "
                f"after {before[1] / 1000:.2f}); put them in order"
            )


def _check_keys(value: Any, keys: tuple[str, ...], what: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{what}: expected a JSON object with {', '.join(keys)}, found {_kind(value)}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f"{what}: expected {', '.join(keys)}, found no {', '.join(missing)}")


def _kind(value: Any) -> str:
    """What a JSON value is, in JSON's words; short ones are shown."""
    names = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return names.get(type(value)) or _shown(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
