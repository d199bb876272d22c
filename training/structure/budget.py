"""Joint allocation: budgets of levels, and how each is best divided between entropy part and transforms at each rate.

The claim of BaSIC (ECCV 2024) that `trade_off` tests: the autoregressive part matters more at low rates, the backbone
at high ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .search import Evaluate, Search, Visited, Walk
from .space import PLAN, Choice, Space


def targets(smallest: float, largest: float, num_levels: int) -> list[float]:
    """Budgets evenly on a logarithmic scale; one level alone has the largest."""
    if not 0 < smallest <= largest:
        raise ValueError(f"budgets: expected 0 < smallest <= largest, got {smallest:g} and {largest:g}")
    if num_levels == 1:
        return [largest]
    return [smallest * (largest / smallest) ** (i / (num_levels - 1)) for i in range(num_levels)]


@dataclass(frozen=True)
class TradeOff:
    """The structure of one budget that is best at one quality alone.

    `entropy_share`: of its cost, hyper and contexts. The gains: what the best next step of the entropy part (groups
    and widths), or of the transforms, lowers the loss at this quality for one percent more of cost, in percent; 0 where
    none is left.
    """

    level: int
    quality: float
    groups: int
    entropy_share: float
    entropy_gain_percent: float
    backbone_gain_percent: float


def trade_off(
    space: Space, evaluate: Evaluate, visited: Sequence[Visited], levels: Sequence[Visited], qualities: Sequence[float]
) -> list[TradeOff]:
    """Every other inner level's budget divided for the lowest and for the highest quality alone, from one path."""
    rows = []
    for number in range(1, len(levels) - 1, 2):
        for place in (0, len(qualities) - 1):
            search = Search(space, _only(evaluate, place))
            path = [search.visit(found.choice) for found in visited]
            best = search.cut(path, levels[number].cost)
            gains = [_next_gain_percent(search, best, entropy) for entropy in (True, False)]
            share = entropy_share(space, best.choice)
            rows.append(TradeOff(number, qualities[place], best.choice[PLAN], share, *gains))
    return rows


def entropy_share(space: Space, choice: Choice) -> float:
    """The share of hyper and contexts in the multiplications of a structure."""
    from ..complexity import part_macs

    macs = part_macs(space.arch, *space.parts(choice))
    entropy = sum(value for name, value in macs.items() if name not in ("analysis", "synthesis"))
    return entropy / sum(macs.values())


def _only(evaluate: Evaluate, place: int) -> Evaluate:
    return lambda choice: (evaluate(choice)[place],)


def _next_gain_percent(search: Search, at: Visited, entropy: bool) -> float:
    """The largest relative fall of the loss for each percent of cost among the widenings of one side."""
    walk = Walk(at, [at])
    parts = {node.name: node.part for node in search.space.arch.nodes}
    best = 0.0
    for change in search.changes(walk, False, single=True):
        if (parts.get(change[0], "entropy") == "entropy") == entropy:
            more = search.space.cost(at.choice | {change[0]: change[1]}) / at.cost - 1
            best = max(best, -search.measure(walk, change) / at.loss / max(more, 1e-6))
    return best
