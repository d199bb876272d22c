"""Milliseconds of a structure on one machine, from a table of layers measured over a grid of widths.

What a newcomer gets wrong: a layer alone costs more than inside a network, where its input lies in the engine's own
layout already, and a network that is called costs something before its first layer. So the table holds whole parts
without any residual block ("base": every call's own cost is in it), and what a half of a block adds to its part; and
each for the precision that export gives the part, for a wide synthesis is written in 8-bit integers.

`python -m basic.benchmarks.latency_table` measures a table; between grid points times are linear in every width.
Network time alone: what coder, tiles and Pillow take depends on the structure by its number of groups only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.groups import NUM_SLICES, Plan
from ..nodes import Architecture, Widths
from .tables import read_json, write_json

FORMAT, FORMAT_VERSION = "basic-latency-table", 2

Axis = tuple[int, ...]
HALVES = ("inner8", "ff8", "inner16", "ff16")
ENTROPY_KINDS = ("hyper", "head", "update", "last_update")
TRANSFORMS = {"analysis": "g_a", "synthesis": "g_s"}


@dataclass(frozen=True)
class Grid:
    """Milliseconds over the product of axes; interpolated linearly in each, beyond the ends along the last stretch."""

    axes: tuple[Axis, ...]
    values: np.ndarray[Any, np.dtype[np.float64]]

    def at(self, *point: int) -> float:
        found = self.values
        for axis, x in zip(self.axes, point, strict=True):
            right = min(max(1, int(np.searchsorted(axis, x))), len(axis) - 1)
            share = (x - axis[right - 1]) / (axis[right] - axis[right - 1])
            found = found[right - 1] * (1 - share) + found[right] * share
        return float(found)


@dataclass(frozen=True)
class LatencyTable:
    """`grids` by kind: those of ENTROPY_KINDS, and `kind_of` a transform's base and HALVES in each precision.

    hyper (h_s.inner, context.state); head (context.state, context.inner, channels of the group); update and
    last_update (context.state, channels of the group before): what reading the group before adds, in a part that hands
    the state on and in the last; base (trunk8, trunk16, of analysis h_a.inner too); halves (trunk, width).
    `int8_from`: transform -> the trunk8 width from which export writes it in int8.
    """

    grids: Mapping[str, Grid]
    int8_from: Mapping[str, int]
    circumstances: Mapping[str, Any]

    def parts_ms(self, arch: Architecture, widths: Widths, plan: Plan) -> dict[str, float]:
        """Network time of each part in ms, by the part's name, in the order in which parts run."""
        w, g = widths, self.grids
        found = {"analysis": self._transform_ms(arch, w, "analysis", w["h_a.inner"])}
        found["hyper"] = g["hyper"].at(w["h_s.inner"], w["context.state"])
        sizes = [len(group) * arch.latent_channels // NUM_SLICES for group in plan]
        for i, size in enumerate(sizes):
            head = g["head"].at(w["context.state"], w["context.inner"], size)
            update = "last_update" if i == len(sizes) - 1 else "update"
            found[f"context_g{i}"] = head + (g[update].at(w["context.state"], sizes[i - 1]) if i else 0.0)
        return found | {"synthesis": self._transform_ms(arch, w, "synthesis")}

    def total_ms(self, arch: Architecture, widths: Widths, plan: Plan) -> float:
        """All parts of a level together."""
        return sum(self.parts_ms(arch, widths, plan).values())

    def precision(self, part: str, widths: Widths) -> str:
        """float or int8: how export writes a transform of these widths."""
        limit = self.int8_from.get(part)
        return "int8" if limit is not None and widths[f"{TRANSFORMS[part]}.trunk8"] >= limit else "float"

    def _transform_ms(self, arch: Architecture, w: Widths, part: str, *more: int) -> float:
        name, precision = TRANSFORMS[part], self.precision(part, w)
        total = self.grids[kind_of(part, precision, "base")].at(w[f"{name}.trunk8"], w[f"{name}.trunk16"], *more)
        for scale, count in (("8", arch.num_blocks8), ("16", arch.num_blocks16)):
            for i in range(count):
                for half in ("inner", "ff"):
                    width = w[f"{name}.block{scale}.{i}.{half}"]
                    if width:
                        grid = self.grids[kind_of(part, precision, half + scale)]
                        total += max(0.0, grid.at(w[f"{name}.trunk{scale}"], width))
        return total

    def save(self, path: Path) -> None:
        """Write atomically."""
        grids = {name: {"axes": grid.axes, "ms": grid.values.tolist()} for name, grid in self.grids.items()}
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "int8_from": dict(self.int8_from)}
        write_json(path, head | {"grids": grids, "circumstances": dict(self.circumstances)})

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        """Raises ValueError naming what is wrong."""
        cure = "measure it with python -m basic.benchmarks.latency_table"
        try:
            content = read_json(path, FORMAT, FORMAT_VERSION)
            grids = {
                name: Grid(tuple(map(tuple, grid["axes"])), np.array(grid["ms"], np.float64))
                for name, grid in content["grids"].items()
            }
            int8_from = {str(part): int(width) for part, width in content["int8_from"].items()}
            missing = kinds(int8_from) - set(grids)
            if missing or any(
                grid.values.shape != tuple(map(len, grid.axes)) or not np.isfinite(grid.values).all()
                for grid in grids.values()
            ):
                raise ValueError(f"expected grids of milliseconds, missing {sorted(missing)}")
            return cls(grids, int8_from, content["circumstances"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"latency table {path}: {error!r}; {cure}") from error


def kind_of(part: str, precision: str, layer: str) -> str:
    """The name of a transform's grid."""
    return f"{part} {precision} {layer}"


def kinds(int8_from: Mapping[str, int]) -> set[str]:
    """All grids that a table has."""
    precisions = [(part, "float") for part in TRANSFORMS] + [(part, "int8") for part in int8_from]
    return {kind_of(*each, layer) for each in precisions for layer in ("base", *HALVES)} | set(ENTROPY_KINDS)
