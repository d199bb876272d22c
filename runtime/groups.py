"""Group plans: the intra-node structure of the latent, in which order and how parallel it is coded.

What a newcomer gets wrong: the packed latent is phase-major. Packed channel = phase * M + c with phase = 2 * dy + dx
(dy, dx: parity of row and column at 1/16), so node n = phase * 8 + slice covers packed channels
[n * M / 8, (n + 1) * M / 8). A plan is an ordered partition of the 32 nodes; the nodes of a group are kept ascending,
and the channels of a group are its nodes' channels in that order.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

NUM_PHASES = 4
NUM_SLICES = 8
NUM_NODES = NUM_PHASES * NUM_SLICES

T = TypeVar("T", bound=np.generic)

Group = tuple[int, ...]
Plan = tuple[Group, ...]


def make_plan(groups: Iterable[Iterable[int]]) -> Plan:
    """Sort each group's nodes and check the plan: every node of 0..31 in exactly one group, no group empty."""
    plan = tuple(tuple(sorted(int(node) for node in group)) for group in groups)
    nodes = sorted(node for group in plan for node in group)
    if nodes != list(range(NUM_NODES)) or not all(plan):
        raise ValueError(
            f"group plan: expected an ordered partition of nodes 0..{NUM_NODES - 1} without empty groups, got {plan}"
        )
    return plan


def plan_arrays(plan: Plan) -> dict[str, NDArray[np.int32]]:
    """A plan as an entropy path holds it: nodes in coding order, and how many of them each group has."""
    nodes, sizes = [node for group in plan for node in group], [len(group) for group in plan]
    return {"plan_nodes": np.array(nodes, np.int32), "plan_sizes": np.array(sizes, np.int32)}


def nodes_of(phases: Sequence[int], slices: Sequence[int] = range(NUM_SLICES)) -> Group:
    """All nodes of the given phases and channel slices."""
    return tuple(sorted(phase * NUM_SLICES + s for phase in phases for s in slices))


def group_channels(group: Sequence[int], latent_channels: int) -> NDArray[np.intp]:
    """Packed channel numbers of a group's nodes, in coding order."""
    size = latent_channels // NUM_SLICES
    return (np.asarray(group, np.intp)[:, None] * size + np.arange(size, dtype=np.intp)).reshape(-1)


def pack(y: NDArray[T]) -> NDArray[T]:
    """Latent (B, M, h, w) -> packed latent (B, 4M, h/2, w/2), phase-major; h and w even."""
    b, m, h, w = y.shape
    y = y.reshape(b, m, h // 2, 2, w // 2, 2).transpose(0, 3, 5, 1, 2, 4)  # (B, dy, dx, M, h/2, w/2)
    return y.reshape(b, 4 * m, h // 2, w // 2)


def unpack(packed: NDArray[T]) -> NDArray[T]:
    """Packed latent (B, 4M, h/2, w/2) -> latent (B, M, h, w); the inverse of `pack`."""
    b, m4, h, w = packed.shape
    y = packed.reshape(b, 2, 2, m4 // 4, h, w).transpose(0, 3, 4, 1, 5, 2)  # (B, M, h/2, dy, w/2, dx)
    return y.reshape(b, m4 // 4, 2 * h, 2 * w)


def one_group() -> Plan:
    """Everything at once: a plain hyperprior (Minnen et al. 2018 without context)."""
    return make_plan([range(NUM_NODES)])


def checkerboard() -> Plan:
    """Two steps: the phases of one colour, then the other (He et al. 2021)."""
    return make_plan([nodes_of((0, 3)), nodes_of((1, 2))])


def quincunx() -> Plan:
    """Four steps, one phase each: diagonal neighbours first (as in four-step spatial models)."""
    return make_plan([nodes_of((0,)), nodes_of((3,)), nodes_of((1,)), nodes_of((2,))])


def raster() -> Plan:
    """Four steps in raster order inside each 2x2 cell."""
    return make_plan([nodes_of((phase,)) for phase in range(NUM_PHASES)])


def channel_wise(num_groups: int) -> Plan:
    """Contiguous runs of channel slices, one after the other (Minnen & Singh 2020); 1 to 8 groups."""
    return make_plan(nodes_of(range(NUM_PHASES), run) for run in _runs(num_groups))


def channel_wise_checkerboard(num_channel_groups: int) -> Plan:
    """Each run of channel slices in two checkerboard steps (He et al. 2022, ELIC); 2 groups a run."""
    runs = _runs(num_channel_groups)
    return make_plan(nodes_of(phases, run) for run in runs for phases in ((0, 3), (1, 2)))


def default_plan(num_groups: int) -> Plan:
    """The hand-made plan for a group count of 1 to 8, until a learned one takes its place.

    Up to four groups split space (a latent knows most about its neighbours); above four the slices are halved too.
    """
    if num_groups == 1:
        return one_group()
    if num_groups == 2:
        return checkerboard()
    if num_groups == 3:
        return make_plan([nodes_of((0,)), nodes_of((3,)), nodes_of((1, 2))])
    if num_groups == 4:
        return quincunx()
    if 5 <= num_groups <= 8:
        first, second = _runs(2)
        steps: dict[int, list[Group]] = {
            5: [(0, 1, 2, 3)],
            6: [(0, 3), (1, 2)],
            7: [(0,), (3,), (1, 2)],
            8: [(0,), (3,), (1,), (2,)],
        }
        head = [nodes_of((phase,), first) for phase in (0, 3, 1, 2)]
        return make_plan(head + [nodes_of(phases, second) for phases in steps[num_groups]])
    raise ValueError(f"number of groups: expected 1 to 8, got {num_groups}")


def _runs(count: int) -> list[range]:
    if not 1 <= count <= NUM_SLICES:
        raise ValueError(f"number of channel runs: expected 1 to {NUM_SLICES}, got {count}")
    edges = [round(i * NUM_SLICES / count) for i in range(count + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
