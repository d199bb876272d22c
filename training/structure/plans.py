"""Intra-node search: for every number of groups the ordered partition of the 32 nodes with the smallest rate.

A plan of G groups is a chain of sets of nodes, {} < A_1 < .. < A_G = all: group g holds A_g without A_{g-1} and is
coded given A_{g-1}. Its rate is the sum over groups of the bits of its nodes given the set before it. The context's
state is a sum of what each node writes, so one run of the head prices all nodes given a set, and a set's prices are
kept: moving a node between neighbouring groups is one new set, whatever the number of groups.

What a newcomer gets wrong: a node writes its rounded y, which in decoding is round(round(y - mean) + mean) and can
differ by one. The search takes round(y) for it, so its rates are within a per mille of those of real decoding; the
plans that it hands out are priced again as decoding goes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ...runtime.groups import (
    NUM_NODES,
    Plan,
    channel_wise,
    channel_wise_checkerboard,
    checkerboard,
    default_plan,
    make_plan,
    one_group,
    quincunx,
    raster,
)
from ..entropy import gaussian_bits
from ..nodes import Widths
from .judge import Floats, Judge

NodeSet = int  # bit n: node n is in the set
ALL: NodeSet = (1 << NUM_NODES) - 1
TOLERANCE = 1e-9
LIKELY = 12  # moves that are tried from a start before another start is taken


class NodeRates:
    """Bits per pixel of every node given a set of decoded nodes, of one model, its widths and a judge's crops."""

    def __init__(self, judge: Judge, widths: Widths) -> None:
        self.model, self.inner = judge.model, widths["context.inner"]
        self._fast = judge._fast
        context = self.model.context
        with torch.no_grad(), self._precision():
            self.packed, z = judge.latents(widths)
            self.state = self.model.h_s(z, widths)  # (P, S, h, w)
            written = [
                context.update(self.packed[:, context.channels((n,), z.device)].round(), (n,), self.state.shape[1])
                for n in range(NUM_NODES)
            ]
        self.written = torch.stack(written)  # (32, P, S, h, w)
        self._to_bpp = judge.weights / (judge.crops.shape[-1] * judge.crops.shape[-2] * judge.weights.sum())

    def _precision(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast("cpu", torch.bfloat16) if self._fast else nullcontext()

    def given(self, nodes: NodeSet) -> Floats:
        """(32,) bpp of each node when the nodes of the set are known, weighted over pairs as the training's loss is."""
        context = self.model.context
        chosen = [n for n in range(NUM_NODES) if nodes >> n & 1]
        with torch.no_grad(), self._precision():
            state = self.state + self.written[chosen].sum(0) if chosen else self.state
            means, indexes = context.outputs(context.head(state, self.inner), tuple(range(NUM_NODES)))
        means = (means * 8).round() / 8
        bits: Tensor = gaussian_bits((self.packed - means).round(), indexes.round())
        per_node = bits.reshape(len(bits), NUM_NODES, -1).sum(2).double().numpy()  # (P, 32)
        found: Floats = self._to_bpp @ per_node
        return found


class PlanSearch:
    """`given` maps a set of nodes to (32,) rates; ask it for each set once."""

    def __init__(self, given: Callable[[NodeSet], Floats]) -> None:
        self._given = given
        self._kept: dict[NodeSet, Floats] = {}

    def rates(self, nodes: NodeSet) -> Floats:
        found = self._kept.get(nodes)
        if found is None:
            found = self._kept[nodes] = self._given(nodes)
        return found

    def rate(self, chain: Sequence[NodeSet]) -> float:
        """bpp of y coded along a chain of sets that begins with 0 and ends with ALL."""
        return sum(self._group_rate(before, after) for before, after in pairwise(chain))

    def _group_rate(self, before: NodeSet, after: NodeSet) -> float:
        return float(self.rates(before) @ _mask(after & ~before))

    def best(self, num_groups: int, starts: Sequence[Plan]) -> tuple[Plan, float]:
        """The plan of smallest rate: greedy construction and all fitting starts improved by moves that look good, the
        best of them by every move until none helps."""
        chains = [chain_of(plan) for plan in starts if len(plan) == num_groups]
        chains.append(tuple(self.split((0, ALL), num_groups)))
        found = [self.improve(chain, LIKELY) for chain in dict.fromkeys(chains)]
        best = self.improve(min(found, key=self.rate))
        return plan_of(best), self.rate(best)

    def split(self, start: Sequence[NodeSet], num_groups: int) -> list[NodeSet]:
        """Cut one group in two as long as there are too few: the cut that saves most, built node by node."""
        chain = list(start)
        while len(chain) <= num_groups:
            cuts = [self._cut(before, after) for before, after in pairwise(chain)]
            place = max(range(len(cuts)), key=lambda i: cuts[i][0])
            chain.insert(1 + place, cuts[place][1])
        return chain

    def _cut(self, before: NodeSet, after: NodeSet) -> tuple[float, NodeSet]:
        """Move nodes of a group, one by one, into a first half of their own; what the best stage saves, and its set."""
        left = _nodes(after & ~before)
        if len(left) < 2:
            return -np.inf, before
        whole = best_rate = self._group_rate(before, after)
        chosen = best = before
        for _ in range(len(left) - 1):
            tried = [(self._split_rate(before, chosen | 1 << n, after), n) for n in left]
            rate, node = min(tried)
            chosen |= 1 << node
            left.remove(node)
            if best == before or rate < best_rate:
                best_rate, best = rate, chosen
            elif len(left) < NUM_NODES // 8 or rate > best_rate + 0.02 * whole:
                break
        return whole - best_rate, best

    def _split_rate(self, before: NodeSet, middle: NodeSet, after: NodeSet) -> float:
        return self._group_rate(before, middle) + self._group_rate(middle, after)

    def improve(self, chain: Sequence[NodeSet], num_likely: int | None = None) -> list[NodeSet]:
        """Single nodes to other groups and swaps of two, the likeliest first, as long as the rate falls.

        `num_likely`: give up when so many of the likeliest have not helped; None tries all, groups far apart too.
        """
        found = list(chain)
        while True:
            near = [*_moves(found, {1}), *self._swaps(found)]
            others = sorted(near, key=lambda other: self._guess(found, other))[:num_likely]
            moved = self._first_better(found, others)
            if moved is None and num_likely is None:
                moved = self._first_better(found, _moves(found, set(range(2, len(found)))))
            if moved is None:
                return found
            found = moved

    def _first_better(self, chain: list[NodeSet], others: Iterable[list[NodeSet]]) -> list[NodeSet] | None:
        rate = self.rate(chain)
        return next((other for other in others if self.rate(other) < rate - TOLERANCE), None)

    def _guess(self, chain: list[NodeSet], other: list[NodeSet]) -> float:
        """The change of the rate if sets gave what they give now but for what each node alone tells of the others."""
        change = 0.0
        for i, (old, new) in enumerate(zip(chain, other, strict=True)):
            if old == new:
                continue
            come, gone = _nodes(new & ~old), _nodes(old & ~new)
            for node in come:  # coded one group earlier: it misses what that group tells, and tells the next one
                change += float(self.rates(chain[i - 1])[node] - self.rates(old)[node])
            for node in gone:
                change += float(self.rates(old)[node] - self.rates(chain[i - 1])[node])
            later = _mask(chain[i + 1] & ~new)
            told = [float(self._tells(n) @ later) for n in gone], [float(self._tells(n) @ later) for n in come]
            change += sum(told[0]) - sum(told[1])
        return change

    def _tells(self, node: int) -> Floats:
        """(32,) bits of each node saved by knowing this one alone."""
        found: Floats = np.maximum(self.rates(0) - self.rates(1 << node), 0.0)
        return found

    def _swaps(self, chain: list[NodeSet]) -> Iterator[list[NodeSet]]:
        """Swaps between neighbouring groups, of the nodes that lose least by leaving and gain most by coming."""
        for i in range(1, len(chain) - 1):
            early, late = _nodes(chain[i] & ~chain[i - 1]), _nodes(chain[i + 1] & ~chain[i])
            gains = self.rates(chain[i - 1]) - self.rates(chain[i])  # what waiting saves each node
            for n in sorted(early, key=lambda n: -gains[n])[:4]:
                for m in sorted(late, key=lambda m: gains[m])[:4]:
                    yield [*chain[:i], chain[i] & ~(1 << n) | 1 << m, *chain[i + 1 :]]


def _moves(chain: list[NodeSet], distances: Collection[int]) -> Iterator[list[NodeSet]]:
    """Every node to the groups at some distances from its own; no group becomes empty."""
    num_groups = len(chain) - 1
    group_of = {n: g for g, (before, after) in enumerate(pairwise(chain)) for n in _nodes(after & ~before)}
    for distance in sorted(distances):
        for node in range(NUM_NODES):
            for target in (group_of[node] - distance, group_of[node] + distance):
                if 0 <= target < num_groups:
                    moved = _moved(chain, node, group_of[node], target)
                    if all(before != after for before, after in pairwise(moved)):
                        yield moved


def _moved(chain: list[NodeSet], node: int, source: int, target: int) -> list[NodeSet]:
    """Chain position i is the set before group i: a node of group g is in the sets of positions g + 1 and later."""
    low, high = sorted((source, target))
    return [nodes ^ (1 << node) if low < i <= high else nodes for i, nodes in enumerate(chain)]


def hand_made() -> Mapping[str, Plan]:
    """All hand-made plans of up to eight groups, by name."""
    found = {"one group": one_group(), "checkerboard": checkerboard(), "quincunx": quincunx(), "raster": raster()}
    found |= {f"channel-wise {n}": channel_wise(n) for n in (2, 3, 4, 6, 8)}
    found |= {f"channel-wise x checkerboard {2 * n}": channel_wise_checkerboard(n) for n in (2, 3, 4)}
    return found | {f"default {n}": default_plan(n) for n in (3, 6, 8)}


def plan_of(chain: Sequence[NodeSet]) -> Plan:
    """The plan whose groups lie between neighbouring sets."""
    return make_plan(_nodes(after & ~before) for before, after in pairwise(chain))


def chain_of(plan: Plan) -> tuple[NodeSet, ...]:
    """The sets of nodes known before each group, and ALL."""
    chain = [0]
    for group in plan:
        chain.append(chain[-1] | sum(1 << n for n in group))
    return tuple(chain)


def _nodes(nodes: NodeSet) -> list[int]:
    return [n for n in range(NUM_NODES) if nodes >> n & 1]


def _mask(nodes: NodeSet) -> Floats:
    return np.array([nodes >> n & 1 for n in range(NUM_NODES)], np.float64)
