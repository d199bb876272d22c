"""Inter-node search: from the full model down and from the lightest up, what loses least (gains most) per unit of cost.

A walk holds what each change of a node was found to cost in loss. Such a number stays nearly true while other nodes
change, so a move measures again only the changes that look best by what is known (lazy greedy, Minoux 1978), and all of
them once the model has become much smaller. A beam keeps the best few walks of nearly equal cost.

What a newcomer gets wrong: a block half may be worth little as a whole and yet every notch of it cost something. So
changes of one, two, four and eight notches and to the end of a node's range compete with each other by their price.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from .space import Choice, Space

NOTCHES = (1, 2, 4, 8)
STALE = 0.7  # a measured change is measured again once the cost has changed by this factor
MILESTONE = 0.92  # walks of a beam are compared each time the cost has changed by this factor
EXCHANGES = 12  # pairs of changes that are tried at equal cost before a structure is called finished
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Visited:
    """A structure on a path: its loss (mean over pairs), the losses at each quality, and its cost."""

    choice: Choice
    loss: float
    losses: tuple[float, ...]
    cost: float


Evaluate = Callable[[Choice], tuple[float, ...]]
Change = tuple[str, int]  # node (or PLAN) and its new width (or count)


@dataclass
class Walk:
    """Where a search stands, how it came there, and measured changes of loss, each with the cost it was measured at."""

    at: Visited
    path: list[Visited]
    known: dict[Change, tuple[float, float]] = field(default_factory=dict)
    last_price: float = 0.0

    def copy(self) -> "Walk":
        return replace(self, path=list(self.path), known=dict(self.known))


class Search:
    """A space with `evaluate`, which gives a choice's loss at each quality."""

    def __init__(self, space: Space, evaluate: Evaluate) -> None:
        self.space, self.evaluate = space, evaluate
        self._names = sorted(space.free)

    def visit(self, choice: Choice) -> Visited:
        losses = self.evaluate(choice)
        return Visited(choice, sum(losses) / len(losses), losses, self.space.cost(choice))

    def path(self, down: bool, beam: int = 2) -> list[Visited]:
        """Every structure visited between the full and the lightest one, all walks of the beam, dearest first."""
        start, end = self.space.full(), self.space.lightest()
        if not down:
            start, end = end, start
        first, goal = self.visit(start), self.space.cost(end)
        walks = [Walk(first, [first])]
        seen = {_key(start): first}
        milestone = first.cost
        while any(walk.at.choice != end for walk in walks):
            milestone *= MILESTONE if down else 1 / MILESTONE
            # The last stretch goes to the very end.
            beyond = milestone <= goal / MILESTONE**0.5 if down else milestone >= goal * MILESTONE**0.5
            target = (-math.inf if down else math.inf) if beyond else milestone
            children = [child for walk in walks for child in self._children(walk, target, down, beam > 1)]
            seen |= {_key(found.choice): found for child in children for found in child.path}
            walks = _best(children, milestone, beam)
        return sorted(seen.values(), key=lambda found: -found.cost)

    def _children(self, walk: Walk, target: float, down: bool, several: bool) -> Iterator[Walk]:
        """The greedy continuation to the next milestone, and the one that must begin with another node."""
        if (walk.at.cost <= target) if down else (walk.at.cost >= target):
            yield walk
            return
        greedy = walk.copy()
        first = self.advance(greedy, target, down)
        yield greedy
        if several and first is not None:
            other = walk.copy()
            if self.advance(other, target, down, banned=first) is not None:
                yield other

    def advance(self, walk: Walk, target: float, down: bool, banned: str | None = None) -> str | None:
        """Move until the cost passes `target`; gives the node of the first move. `banned` may not be that node."""
        first: str | None = None
        while walk.at.cost > target if down else walk.at.cost < target:
            change = self._cheapest(walk, down, banned if first is None else None)
            if change is None:
                break
            first = first or change[0]
            self.move(walk, change)
        return first

    def move(self, walk: Walk, change: Change) -> None:
        """Make a change; what is known of the same node's other widths is counted from the new one on."""
        name, width = change
        before, done = walk.at, walk.known.get(change, (0.0, 0.0))[0]
        walk.at = self.visit(before.choice | {name: width})
        walk.path.append(walk.at)
        walk.last_price = _price(walk.at.loss - before.loss, walk.at.cost - before.cost)
        old = before.choice[name]
        kept = {c: (loss - done, cost) for c, (loss, cost) in walk.known.items() if c[0] == name and c != change}
        walk.known = {c: v for c, v in walk.known.items() if c[0] != name} | kept
        walk.known[name, old] = (-done, walk.at.cost)

    def measure(self, walk: Walk, change: Change) -> float:
        """The loss that a change adds where the walk stands."""
        loss = self.visit(walk.at.choice | {change[0]: change[1]}).loss - walk.at.loss
        walk.known[change] = (loss, walk.at.cost)
        return loss

    def changes(self, walk: Walk, down: bool, single: bool = False) -> Iterator[Change]:
        """One, two, four, eight notches and all the way, for every free node; or `single` notches alone."""
        for name in self._names:
            choices = self.space.choices(name)
            place = list(choices).index(walk.at.choice[name])
            room = place if down else len(choices) - 1 - place
            for notches in sorted({n for n in NOTCHES if n < room} | ({room} if room else set()))[
                : 1 if single else None
            ]:
                yield name, choices[place - notches if down else place + notches]

    def _cheapest(self, walk: Walk, down: bool, banned: str | None) -> Change | None:
        """The change of least price: lazily, the best by what is known is measured until it stays the best."""
        heap: list[tuple[float, Change, bool]] = []
        for change in self.changes(walk, down):
            if change[0] != banned:
                guess = self.guess(walk, change)
                price = -math.inf if guess is None else _price(guess, self._saving(walk, change))
                heap.append((price, change, False))
        heapq.heapify(heap)
        while heap:
            price, change, measured = heapq.heappop(heap)
            if measured:
                return change
            guess = self.guess(walk, change)  # by now a wider and a narrower width may have been measured
            if price > -math.inf or guess is None:
                guess, measured = self.measure(walk, change), True
            heapq.heappush(heap, (_price(guess, self._saving(walk, change)), change, measured))
        return None

    def guess(self, walk: Walk, change: Change) -> float | None:
        """What a change should cost, interpolated between measured ones of its node; None: unknown.

        A single notch is never interpolated: losses are convex in a width, so from farther points it would look dearer
        than it is, and the notches that are nearly free would not be found.
        """
        name, width = change
        here = walk.at.choice[name]
        points = {here: 0.0}
        for (node, at), (loss, cost) in walk.known.items():
            if node == name and STALE < walk.at.cost / cost < 1 / STALE:
                points[at] = loss
        if width in points:
            return points[width]
        if self._is_notch(name, here, width):
            return None
        below = max((p for p in points if p < width), default=None)
        above = min((p for p in points if p > width), default=None)
        if below is None or above is None:
            return None
        share = (width - below) / (above - below)
        return points[below] * (1 - share) + points[above] * share

    def _is_notch(self, name: str, here: int, width: int) -> bool:
        choices = list(self.space.choices(name))
        return abs(choices.index(here) - choices.index(width)) == 1

    def _saving(self, walk: Walk, change: Change) -> float:
        return self.space.cost(walk.at.choice | {change[0]: change[1]}) - walk.at.cost

    def within(self, path: Sequence[Visited], target: float) -> Visited:
        """The best structure of a path within a cost; the full one if it fits, for then nothing needs to be saved."""
        if target * (1 + TOLERANCE) >= self.space.cost(self.space.full()):
            return self.visit(self.space.full())
        found = [v for v in path if v.cost <= target * (1 + TOLERANCE)]
        if not found:
            raise ValueError(f"no structure costs {target:.6g} or less, the lightest one {path[-1].cost:.6g}")
        return min(found, key=lambda v: v.loss)

    def cut(self, path: Sequence[Visited], target: float) -> Visited:
        """The best structure of a path within a cost, improved until no exchange at equal cost helps."""
        best = self.within(path, target)
        if best.choice == self.space.full():
            return best
        walk = Walk(best, [best])
        self._fill(walk, target)
        while self._exchange(walk, target):
            self._fill(walk, target)
        return walk.at

    def _fill(self, walk: Walk, target: float) -> None:
        """Spend what is left of the cost on whatever gains most for it."""
        while True:
            room = target * (1 + TOLERANCE) - walk.at.cost
            fitting = [c for c in self.changes(walk, False, True) if self._saving(walk, c) <= room]
            gains = [(self._known(walk, change), change) for change in fitting]
            gains = sorted((_price(loss, self._saving(walk, change)), change) for loss, change in gains)
            for _, change in gains[:3]:
                if self.measure(walk, change) < 0:
                    self.move(walk, change)
                    break
            else:
                return

    def _exchange(self, walk: Walk, target: float) -> bool:
        """Narrow one node, widen another: the first pair that lowers the loss within the cost is taken."""
        room = target * (1 + TOLERANCE) - walk.at.cost
        ups = [(self._known(walk, c), self._saving(walk, c), c) for c in self.changes(walk, False, True)]
        downs = [(self._known(walk, c), self._saving(walk, c), c) for c in self.changes(walk, True, True)]
        pairs = sorted(
            (gain + loss, up, down)
            for gain, more, up in ups
            for loss, less, down in downs
            if up[0] != down[0] and more + less <= room and gain + loss < 0
        )
        for _, up, down in pairs[:EXCHANGES]:
            if self.visit(walk.at.choice | dict([up, down])).loss < walk.at.loss - TOLERANCE:
                self.move(walk, down)
                self.move(walk, up)
                return True
        return False

    def _known(self, walk: Walk, change: Change) -> float:
        found = self.guess(walk, change)
        return self.measure(walk, change) if found is None else found


def _price(loss: float, cost: float) -> float:
    """Loss added for each unit of cost given up; for more cost, the negative of what each unit gains."""
    return loss / max(abs(cost), 1e-12)


def _best(walks: list[Walk], milestone: float, count: int) -> list[Walk]:
    """The walks of least loss, each brought to the milestone's cost by its last price; every structure once."""
    unique = {_key(walk.at.choice): walk for walk in walks}
    return sorted(unique.values(), key=lambda w: w.at.loss - abs(w.last_price) * (milestone - w.at.cost))[:count]


def _key(choice: Choice) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(choice.items()))
