"""The three searches from arguments to files; `cli.py` parses and reports errors."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from ...runtime.groups import Plan
from ..complexity import total_macs
from ..train import StopRequest
from .budget import TradeOff, targets, trade_off
from .check import Difference, difference, losses_of
from .judge import Floats, by_quality
from .levels import LevelEntry, save_table, uniform_level
from .memo import Memo
from .plans import ALL, NodeRates, NodeSet, PlanSearch, chain_of, hand_made, plan_of
from .search import Search, Visited
from .space import PLAN, Choice, Cost, Space, default_plans
from .tables import load_path, load_plans, pareto_front, path_notes, save_path, save_plans

if TYPE_CHECKING:
    from .cli import Bench


def plans(bench: "Bench", args: argparse.Namespace, stop: StopRequest) -> dict[str, Any]:
    """`basic-search plans`: search, price again as decoding goes on both halves of the photographs, write."""
    widths = bench.arch.full()
    rates = NodeRates(bench.judge, widths)
    memo = bench.measurements(args.output, stop)

    def given(nodes: NodeSet) -> Floats:
        bench.show(f"{memo.num_measured} sets of nodes priced")
        return np.array(memo.get(f"{nodes:08x}", lambda: tuple(rates.given(nodes).tolist())))

    search, starts = PlanSearch(given), dict(hand_made())
    found: dict[int, Plan] = {}
    for count in args.groups:
        bench.show(f"plans of {count} groups, {memo.num_measured} sets priced")
        inherited = [plan_of(search.split(chain_of(plan), count)) for plan in found.values()]
        found[count], _ = search.best(count, [*starts.values(), *inherited])
    bench.show("pricing plans as decoding goes")
    named = starts | {f"learned {count}": plan for count, plan in found.items()}
    rows = []
    for name, plan in named.items():
        row: dict[str, Any] = {"plan": name, "groups": len(plan), "search_bpp": search.rate(chain_of(plan))}
        for half, judge in (("searched", bench.judge), ("held_out", bench.check)):
            bpp = judge.score(widths, plan).bpp
            row[f"{half}_bpp"] = float(bpp @ judge.weights / judge.weights.sum())
        rows.append(row)
    _show_plans(bench, rows)
    save_plans(args.output, bench.arch, found, bench.notes() | {"rates": rows})
    if args.picture:
        from .picture import draw_plans

        draw_plans(args.picture, found)
    memo.remove()
    best = {count: next(r["held_out_bpp"] for r in rows if r["plan"] == f"learned {count}") for count in found}
    return {"plans": str(args.output), "sets": len(memo.values), "given_nothing": search.rate([0, ALL]), "bpp": best}


def levels(bench: "Bench", args: argparse.Namespace, stop: StopRequest) -> dict[str, Any]:
    """`basic-search levels`: paths down and up, levels cut from both."""
    chosen = load_plans(args.plans, bench.arch) if args.plans else default_plans()
    space = Space.of(bench.arch, chosen, cost_of(bench, args), args.control)
    memo = bench.measurements(args.output, stop, plans=_listed(chosen))
    search = Search(space, _evaluate(bench, space, memo))
    visited = search.path(True, args.beam) + search.path(False, args.beam)
    ends = space.cost(space.lightest()), space.cost(space.full())
    cut = [search.within(visited, target) for target in targets(*ends, args.levels)]
    notes = bench.notes() | {"cost": args.cost, "control": args.control, "measurements": len(memo.values)}
    if args.path:
        save_path(args.path, space, visited, notes)
    return _write(bench, args, space, visited, cut, notes, memo)


def budget(bench: "Bench", args: argparse.Namespace, stop: StopRequest) -> dict[str, Any]:
    """`basic-search budget`: the best structure within every budget, from a path, until no exchange helps."""
    path = load_path(args.path, bench.arch)
    chosen = path.plans | (load_plans(args.plans, bench.arch) if args.plans else {})
    allowed = {count: plan for count, plan in chosen.items() if count <= args.most_groups}
    space = Space.of(bench.arch, allowed, cost_of(bench, args))
    memo = bench.measurements(args.output, stop, plans=_listed(chosen), path=len(path.choices))
    if chosen == path.plans and {key: path.notes.get(key) for key in bench.fingerprint()} == bench.fingerprint():
        memo.values |= {_key(space, c): losses for c, losses in zip(path.choices, path.losses, strict=True)}
    search = Search(space, _evaluate(bench, space, memo))
    visited = [search.visit(choice) for choice in path.choices if choice[PLAN] in allowed]
    unit = 1000.0 if args.cost == "macs" else 1.0
    smallest = args.smallest * unit if args.smallest else space.cost(space.lightest())
    largest = args.largest * unit if args.largest else space.cost(space.full())
    cut = []
    for number, target in enumerate(targets(smallest, largest, args.levels)):
        bench.show(f"level {number}: exchanges within {target / unit:.4g}, {memo.num_measured} measured")
        cut.append(search.cut(visited, target))
    notes = bench.notes() | {"cost": args.cost, "measurements": len(memo.values), "plans": _listed(chosen)}
    if args.trade_off:
        bench.show("the trade-off over rate")
        found = trade_off(space, search.evaluate, visited, cut, list(by_quality(bench.judge, bench.judge.quality)))
        _show_trade_off(bench, found)
        notes |= {"trade_off": [asdict(row) for row in found]}
    return _write(bench, args, space, visited, cut, notes, memo)


def cost_of(bench: "Bench", args: argparse.Namespace) -> Cost:
    """Multiplications per pixel, or milliseconds by the latency table."""
    if args.cost == "macs":
        return lambda widths, plan: total_macs(bench.arch, widths, plan)
    from .latency import LatencyTable

    table = LatencyTable.load(args.latency_table)
    return lambda widths, plan: table.total_ms(bench.arch, widths, plan)


def _evaluate(bench: "Bench", space: Space, memo: Memo) -> Any:
    def evaluate(choice: Choice) -> tuple[float, ...]:
        def measure() -> tuple[float, ...]:
            losses = bench.judge.losses(bench.judge.score(*space.parts(choice)))
            bench.show(f"{memo.num_measured} structures measured, now at {space.cost(choice):.5g}")
            return tuple(by_quality(bench.judge, losses).values())

        return memo.get(_key(space, choice), measure)

    return evaluate


def _key(space: Space, choice: Choice) -> str:
    """Widths and number of groups, in the order of the nodes."""
    return ",".join(str(choice[name]) for name in [*(node.name for node in space.arch.nodes), PLAN])


def _write(
    bench: "Bench",
    args: argparse.Namespace,
    space: Space,
    visited: Sequence[Visited],
    cut: Sequence[Visited],
    notes: dict[str, Any],
    memo: Memo,
) -> dict[str, Any]:
    """Check the levels on the photographs kept apart, show and write them."""
    entries = [LevelEntry(*space.parts(found.choice)) for found in cut]
    rows = []
    for number, (found, entry) in enumerate(zip(cut, entries, strict=True)):
        bench.show(f"checking level {number} on other photographs")
        macs = total_macs(space.arch, entry.widths, entry.plan)
        uniform = uniform_level(space.arch, macs)
        row: dict[str, Any] = {"level": number, "groups": len(entry.plan), "kmacs_per_pixel": macs / 1000}
        row |= {"cost": found.cost, "loss": found.loss, "losses": list(found.losses)}
        row["uniform_kmacs_per_pixel"] = total_macs(space.arch, uniform.widths, uniform.plan) / 1000
        row["against_uniform"] = asdict(difference(losses_of(bench.check, entry), losses_of(bench.check, uniform)))
        rows.append(row)
    _show_levels(bench, rows)
    front = pareto_front([*visited, *cut])
    save_table(args.output, space.arch, entries, path_notes(space, front) | notes | {"levels": rows})
    memo.remove()
    worst = max(row["against_uniform"]["percent"] for row in rows[:-1] or rows)
    return {"table": str(args.output), "levels": len(entries), "worst_against_uniform_percent": worst}


def _listed(chosen: dict[int, Plan]) -> dict[str, list[list[int]]]:
    return {str(count): [list(group) for group in plan] for count, plan in chosen.items()}


def _show_plans(bench: "Bench", rows: Sequence[dict[str, Any]]) -> None:
    table = Table("plan", "groups", "bpp, searched", "bpp, held out")
    for row in sorted(rows, key=lambda row: (row["groups"], -row["held_out_bpp"])):
        cells = [f"{row[key]:.5f}" for key in ("searched_bpp", "held_out_bpp")]
        table.add_row(row["plan"], str(row["groups"]), *cells)
    bench.console.print(table)


def _show_levels(bench: "Bench", rows: Sequence[dict[str, Any]]) -> None:
    table = Table("level", "groups", "kMAC/pixel", "cost", "loss", "loss against uniform, held out")
    for row in rows:
        apart = Difference(**row["against_uniform"])
        cells = [f"{row['kmacs_per_pixel']:.3f}", f"{row['cost']:.5g}", f"{row['loss']:.4f}"]
        shown = f"{apart.percent:+.2f} % [{apart.low:+.2f}, {apart.high:+.2f}]"
        table.add_row(str(row["level"]), str(row["groups"]), *cells, shown)
    bench.console.print(table)


def _show_trade_off(bench: "Bench", rows: Sequence[TradeOff]) -> None:
    table = Table("level", "quality", "groups", "entropy share of cost", "next of entropy, %", "next of transforms, %")
    for row in rows:
        gains = [f"{row.entropy_gain_percent:.3f}", f"{row.backbone_gain_percent:.3f}"]
        table.add_row(str(row.level), f"{row.quality:g}", str(row.groups), f"{row.entropy_share:.1%}", *gains)
    bench.console.print(table)
