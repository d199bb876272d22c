"""The nodes of the inter-node structure: every width of the model by name, its choices, and the default levels.

A `Widths` table maps a node's name to its width. Nodes of the three parts never share a name, so analysis (`g_a.*`,
`h_a.*`), entropy (`h_s.*`, `context.*`) and synthesis (`g_s.*`) widths can be drawn, searched and combined freely.
Trunk `8` lives at 1/8 of the image, `16` at 1/16; a width of 0 skips the block half it belongs to.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Widths = Mapping[str, int]

NOTCH = 16  # widths are multiples of 16: the block of channels that CPU engines vectorise over


@dataclass(frozen=True)
class Node:
    """One width: `lightest` <= width <= `full`, a multiple of NOTCH; 0 allowed where `lightest` is 0."""

    name: str
    part: str  # analysis, entropy or synthesis
    lightest: int
    full: int

    @property
    def choices(self) -> tuple[int, ...]:
        return tuple(range(self.lightest, self.full + 1, NOTCH))


@dataclass(frozen=True)
class Architecture:
    """Sizes of the flagship; a smaller one serves the tests. M and C stay the same at every level.

    `inner16` is what a block at 1/16 computes within: a trunk as wide as the latent carries its channels, and most of
    the multiplications are in the blocks.

    Both factors of a block's product stay within +-`gate_limit`. Few values of photographs are beyond 2, but a picture
    of full contrast grows from block to block: within +-8 a page of text took five times the R + lambda D.

    The qualities 0..63 stand for lambdas from `lambda_min` to `lambda_max`, evenly on a logarithmic scale.
    """

    name: str = "basic-s"
    latent_channels: int = 320
    hyper_channels: int = 128
    trunk8: int = 128
    trunk16: int = 320
    inner16: int = 224
    num_blocks8: int = 4
    num_blocks16: int = 3
    hyper_width: int = 112
    hyper_spread: int = 256
    state: int = 320
    context_inner: int = 320
    gate_limit: float = 2.0
    lambda_min: float = 0.0004
    lambda_max: float = 0.18

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Architecture":
        """From what a checkpoint's config says. The first ones had no range of lambda, it began at 0.0012, blocks as
        wide as their trunk, and limits of 8."""
        given = dict(config)
        before = {"lambda_min": 0.0012, "inner16": given.get("trunk16", cls.inner16), "gate_limit": 8.0}
        return cls(**(before | given))

    @property
    def sizes(self) -> dict[str, Any]:
        """Everything that structures depend on: all but limits and the range of lambda."""
        return {k: v for k, v in asdict(self).items() if k != "gate_limit" and not k.startswith("lambda")}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in a fixed order: g_a and h_a, then the entropy part, then g_s."""
        found = self._transform("g_a", "analysis", light8=(16, 0, 0, 0), light16=(0, 0, 0))
        found += [Node("h_a.inner", "analysis", 32, self.hyper_width)]
        found += [Node("h_s.inner", "entropy", 64, self.hyper_spread)]
        found += [Node("context.state", "entropy", 96, self.state)]
        found += [Node("context.inner", "entropy", 96, self.context_inner)]
        found += self._transform("g_s", "synthesis", light8=(48, 0, 0, 48), light16=(64, 0, 0))
        return tuple(found)

    def _transform(self, name: str, part: str, light8: tuple[int, ...], light16: tuple[int, ...]) -> list[Node]:
        nodes = [Node(f"{name}.trunk8", part, 48, self.trunk8), Node(f"{name}.trunk16", part, 64, self.trunk16)]
        for scale, count, full, light in (
            ("8", self.num_blocks8, self.trunk8, light8),
            ("16", self.num_blocks16, self.inner16, light16),
        ):
            for i in range(count):
                nodes.append(Node(f"{name}.block{scale}.{i}.inner", part, light[i], full))
                nodes.append(Node(f"{name}.block{scale}.{i}.ff", part, 0, full))
        return nodes

    def full(self) -> dict[str, int]:
        return {node.name: node.full for node in self.nodes}

    def lightest(self) -> dict[str, int]:
        return {node.name: node.lightest for node in self.nodes}

    def between(self, fraction: float) -> dict[str, int]:
        """Widths on the straight line from the lightest (0) to the full (1) model, each rounded to a notch."""
        return {
            n.name: min(n.full, max(n.lightest, NOTCH * round((n.lightest + (n.full - n.lightest) * fraction) / NOTCH)))
            for n in self.nodes
        }

    def check(self, widths: Widths) -> None:
        """Raise ValueError where a table misses a node, names an unknown one or leaves a node's choices."""
        by_name = {node.name: node for node in self.nodes}
        if set(widths) != set(by_name):
            missing, unknown = sorted(set(by_name) - set(widths)), sorted(set(widths) - set(by_name))
            raise ValueError(f"width table of {self.name}: missing nodes {missing}, unknown nodes {unknown}")
        for name, width in widths.items():
            if type(width) is not int or width not in by_name[name].choices:  # 48.0 == 48, and True == 1
                node = by_name[name]
                raise ValueError(
                    f"width of {name}: expected a whole number, {node.lightest} to {node.full} in steps of {NOTCH}, "
                    f"got {width!r}"
                )
