"""What a structure search may choose: every node's width and the number of groups, and what a choice costs.

A `Choice` maps every node of nodes.py to its width and `PLAN` to a number of groups, which stands for the plan that
`plans` has for it. So group counts are one more thing to narrow, and one search allocates both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...runtime.groups import Plan, default_plan
from ..complexity import total_macs
from ..nodes import Architecture, Widths

PLAN = "plan"
GROUP_COUNTS = (1, 2, 3, 4, 6, 8)
CONTROLS = ("all", "backbone", "ar")  # what may be chosen: everything, the transforms alone, the entropy part alone

Choice = dict[str, int]
Cost = Callable[[Widths, Plan], float]


def default_plans() -> dict[int, Plan]:
    """The hand-made plan of every group count."""
    return {count: default_plan(count) for count in GROUP_COUNTS}


@dataclass(frozen=True)
class Space:
    """`plans` by group count; `cost` of widths and plan; `free` names what a search may change."""

    arch: Architecture
    plans: Mapping[int, Plan]
    cost_of: Cost
    free: frozenset[str]

    @classmethod
    def of(
        cls, arch: Architecture, plans: Mapping[int, Plan], cost: Cost | None = None, control: str = "all"
    ) -> "Space":
        """Everything, or one of CONTROLS; cost: multiplications per pixel where none is given."""
        entropy = {PLAN} | {node.name for node in arch.nodes if node.part == "entropy"}
        every = {PLAN} | {node.name for node in arch.nodes}
        free = {"all": every, "backbone": every - entropy, "ar": entropy}[control]
        return cls(arch, plans, cost or (lambda widths, plan: total_macs(arch, widths, plan)), frozenset(free))

    def choices(self, name: str) -> Sequence[int]:
        """What a node (or PLAN) can be, ascending."""
        if name == PLAN:
            return sorted(self.plans)
        return next(node.choices for node in self.arch.nodes if node.name == name)

    def full(self) -> Choice:
        return self.arch.full() | {PLAN: max(self.plans)}

    def lightest(self) -> Choice:
        """The lightest of what is free; what is not stays full."""
        light = self.arch.lightest() | {PLAN: min(self.plans)}
        return {name: light[name] if name in self.free else width for name, width in self.full().items()}

    def parts(self, choice: Choice) -> tuple[dict[str, int], Plan]:
        """Widths and plan of a choice."""
        return {name: width for name, width in choice.items() if name != PLAN}, self.plans[choice[PLAN]]

    def cost(self, choice: Choice) -> float:
        return self.cost_of(*self.parts(choice))
