"""What a training step trains: widths, group plan and qualities, drawn anew at every step.

In some of the steps analysis, entropy and synthesis are of one level, as in most files; in the others they are drawn
independently, so that a file coded by one level's encoder decodes with any level's synthesis. Either way: the full
model, the lightest, one between them (a point of the uniform line or a structure that a search visited), or every node
on its own. Plans: a learned one, a hand-made one, or a random ordered partition of the 32 nodes (any-order training).
Fine-tuning for a level table draws the table's levels alone, still independently for the three parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..runtime.groups import (
    NUM_NODES,
    Plan,
    channel_wise,
    channel_wise_checkerboard,
    default_plan,
    make_plan,
    raster,
)
from .model import NUM_QUALITIES
from .nodes import Architecture, Widths
from .structure.levels import Learned, LevelEntry

PARTS = ("analysis", "entropy", "synthesis")


@dataclass(frozen=True)
class Mix:
    """Probabilities of a draw: full, lightest, between; what is left draws every node on its own. `matched`: that one
    draw is for the whole model, not one for each part."""

    full: float = 0.4
    lightest: float = 0.15
    between: float = 0.25  # where there are learned structures, half of it is theirs
    random_plan: float = 0.3
    learned_plan: float = 0.45
    matched: float = 0.7

    @classmethod
    def of(cls, full: float, matched: float) -> "Mix":
        """Another share of the full model, the others dividing what is left as they do by default; and of `matched`."""
        rest = (1.0 - full) / (1.0 - cls.full)
        return cls(full, cls.lightest * rest, cls.between * rest, matched=matched)

    @classmethod
    def warm(cls) -> "Mix":
        """The full model only: the bulk of the steps before slimming."""
        return cls(1.0, 0.0, 0.0, matched=0.0)


@dataclass(frozen=True)
class Draw:
    widths: dict[str, int]
    plan: Plan
    quality: Tensor  # (B,), real numbers in 0..63


def draw(arch: Architecture, mix: Mix, seed: int, step: int, batch_size: int, learned: Learned | None = None) -> Draw:
    """The configuration of one step, a pure function of (seed, step) and of the learned structures."""
    rng = np.random.default_rng((seed, step, 1))
    together = mix.matched and rng.random() < mix.matched  # without, draws are those of before there was a choice
    widths: dict[str, int] = {}
    for parts in [PARTS] if together else [(part,) for part in PARTS]:
        widths |= _draw_widths(arch, parts, mix, rng, learned)
    quality = _draw_quality(batch_size, rng)
    return Draw(widths, _draw_plan(mix, rng, learned), quality)


def draw_level(arch: Architecture, levels: Sequence[LevelEntry], seed: int, step: int, batch_size: int) -> Draw:
    """The configuration of one step of fine-tuning for a level table: a level of it for each part, drawn apart.

    The plan is that of the level whose entropy widths are drawn; a pure function of (seed, step).
    """
    rng = np.random.default_rng((seed, step, 2))
    chosen = {part: levels[int(rng.integers(len(levels)))] for part in PARTS}
    widths = {node.name: chosen[node.part].widths[node.name] for node in arch.nodes}
    return Draw(widths, chosen["entropy"].plan, _draw_quality(batch_size, rng))


def _draw_quality(batch_size: int, rng: np.random.Generator) -> Tensor:
    """Stratified: the batch covers the range of rates evenly at every step."""
    quality = (rng.permutation(batch_size) + rng.random(batch_size)) / batch_size * (NUM_QUALITIES - 1)
    return torch.from_numpy(quality).float()


def _draw_widths(
    arch: Architecture, parts: Sequence[str], mix: Mix, rng: np.random.Generator, learned: Learned | None
) -> dict[str, int]:
    """One draw for the nodes of these parts."""
    nodes = [node for node in arch.nodes if node.part in parts]
    kind = rng.random()
    if kind < mix.full:
        return {node.name: node.full for node in nodes}
    if kind < mix.full + mix.lightest:
        return {node.name: node.lightest for node in nodes}
    if kind < mix.full + mix.lightest + mix.between:
        if learned is not None and learned.path and rng.random() < 0.5:
            widths: Widths = learned.path[int(rng.integers(len(learned.path)))][1].widths
        else:
            widths = arch.between(float(rng.random()))
        return {node.name: widths[node.name] for node in nodes}
    return {node.name: int(rng.choice(node.choices)) for node in nodes}


def _draw_plan(mix: Mix, rng: np.random.Generator, learned: Learned | None) -> Plan:
    origin = rng.random()
    if origin < mix.random_plan:
        count = int(rng.choice([2, 3, 4, 5, 6, 8]))
        order = rng.permutation(NUM_NODES)
        cuts = np.sort(rng.choice(np.arange(1, NUM_NODES), count - 1, replace=False))
        return make_plan(part.tolist() for part in np.split(order, cuts))
    if learned is not None and learned.plans and origin < mix.random_plan + mix.learned_plan:
        return learned.plans[int(rng.choice(sorted(learned.plans)))]
    kind = rng.random()
    if kind < 0.7:
        return default_plan(int(rng.choice([1, 2, 3, 4, 6, 8])))
    if kind < 0.8:
        return raster()
    if kind < 0.9:
        return channel_wise(int(rng.choice([2, 4, 8])))
    return channel_wise_checkerboard(int(rng.choice([2, 4])))
