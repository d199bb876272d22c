"""Results of searches as files: group plans by count, paths, and level tables that say how they were found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...runtime.files import write_whole
from ...runtime.groups import Plan, make_plan
from ..nodes import Architecture
from .levels import TABLE_FORMAT, load_learned
from .search import Visited
from .space import PLAN, Choice, Space

PLANS_FORMAT, PATH_FORMAT, FORMAT_VERSION = "basic-group-plans", "basic-search-path", 1


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One line of JSON, written whole."""
    write_whole(path, json.dumps(content) + "\n")


def save_plans(path: Path, arch: Architecture, plans: Mapping[int, Plan], notes: Mapping[str, Any]) -> None:
    """Plans by group count."""
    listed = {str(count): [list(group) for group in plan] for count, plan in plans.items()}
    head = {"format": PLANS_FORMAT, "format_version": FORMAT_VERSION, "architecture": arch.name}
    write_json(path, head | {"plans": listed, "notes": notes})


def load_plans(path: str | Path, arch: Architecture) -> dict[int, Plan]:
    """Plans by group count, checked. Raises ValueError naming what is wrong."""
    content = _load(path, PLANS_FORMAT, arch)
    try:
        plans = {int(count): make_plan(groups) for count, groups in content["plans"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"group plans {path}: {error!r}; make them with basic-search plans") from error
    if not plans or any(len(plan) != count for count, plan in plans.items()):
        raise ValueError(f"group plans {path}: expected plans listed by their number of groups, found {sorted(plans)}")
    return plans


def save_path(path: Path, space: Space, visited: Sequence[Visited], notes: Mapping[str, Any]) -> None:
    """Every structure of a path, and the plans that its group counts stand for."""
    head = {"format": PATH_FORMAT, "format_version": FORMAT_VERSION, "architecture": space.arch.name}
    plans = {str(count): [list(group) for group in plan] for count, plan in space.plans.items()}
    names = [node.name for node in space.arch.nodes] + [PLAN]
    rows = [asdict(found) | {"choice": [found.choice[name] for name in names]} for found in visited]
    write_json(path, head | {"names": names, "plans": plans, "path": rows, "notes": notes})


def pareto_front(visited: Sequence[Visited]) -> list[Visited]:
    """The structures that nothing cheaper equals, cheapest first."""
    front: list[Visited] = []
    for found in sorted(visited, key=lambda v: (v.cost, v.loss)):
        if not front or found.loss < front[-1].loss:
            front.append(found)
    return front


def path_notes(space: Space, visited: Sequence[Visited]) -> dict[str, Any]:
    """What `levels.load_learned` reads beside a table: rows of loss, groups and the widths of `names`."""
    names = [node.name for node in space.arch.nodes]
    rows = [[round(v.loss, 6), v.choice[PLAN], *(v.choice[name] for name in names)] for v in visited]
    plans = {str(count): [list(group) for group in plan] for count, plan in space.plans.items()}
    return {"sizes": space.arch.sizes, "names": names, "plans": plans, "path": rows}


@dataclass(frozen=True)
class SavedPath:
    """The structures of a path with their losses at each quality, the plans of its group counts, and its notes."""

    choices: list[Choice]
    losses: list[tuple[float, ...]]
    plans: dict[int, Plan]
    notes: dict[str, Any]


def load_path(path: str | Path, arch: Architecture) -> SavedPath:
    """A path, or that of a level table, whose structures are all to be judged anew. ValueError names what is wrong."""
    learned = _learned_path(path, arch)
    if learned is not None:
        return learned
    content = _load(path, PATH_FORMAT, arch)
    try:
        plans = {int(count): make_plan(groups) for count, groups in content["plans"].items()}
        choices = [dict(zip(content["names"], row["choice"], strict=True)) for row in content["path"]]
        for choice in choices:
            arch.check({name: width for name, width in choice.items() if name != PLAN})
            plans[choice[PLAN]]
        losses = [tuple(map(float, row["losses"])) for row in content["path"]]
        return SavedPath(choices, losses, plans, dict(content["notes"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"search path {path}: {error!r}; make it with basic-search levels --path") from error


def _learned_path(path: str | Path, arch: Architecture) -> SavedPath | None:
    """The path in the notes of a level table; None where the file is something else. ValueError: of other sizes."""
    try:
        if json.loads(Path(path).read_text(encoding="utf-8"))["format"] != TABLE_FORMAT:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    learned = load_learned(arch, Path(path))
    if learned is None:
        raise ValueError(f"{path}: a level table learned for a model of other sizes; begin with basic-search levels")
    counts = {plan: count for count, plan in learned.plans.items()}
    choices = [entry.widths | {PLAN: counts[entry.plan]} for _, entry in learned.path]
    return SavedPath(choices, [()] * len(choices), learned.plans, {})


def read_json(path: str | Path, kind: str, version: int) -> Any:
    """The content of a file that says it is a `kind`. Raises ValueError on anything else."""
    try:
        content = json.loads(Path(path).read_text())
        found = (content["format"], content["format_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a {kind} file, found {error!r}") from error
    if found != (kind, version):
        raise ValueError(f"{path}: expected {kind} version {version}, found {found[0]} version {found[1]}")
    return content


def _load(path: str | Path, kind: str, arch: Architecture) -> Any:
    content = read_json(path, kind, FORMAT_VERSION)
    if content.get("architecture") != arch.name:
        raise ValueError(f"{path}: expected {kind} of {arch.name}, found {content.get('architecture')}")
    return content
