"""The latency table of `basic-search --cost latency`: layers timed inside the very parts that export writes.

    python -m basic.benchmarks.latency_table -o latency.json

What a newcomer gets wrong: times of two networks compare when they ran side by side, not one after the other. All
networks of a part take turns in every round, each after a run that brings its weights back into the caches; a half of a
block is the difference between a part with it in every block and the part without blocks, over their number.

Weights are random: what a layer costs does not depend on them.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..export.graphs import analysis_graph, context_graph, hyper_graph, synthesis_graph
from ..export.int8 import CHOICES, NARROWEST, int8_analysis, int8_synthesis, measure_ranges
from ..export.slim import Cutter
from ..export.to_onnx import Graph
from ..runtime.command import run_main
from ..runtime.engine import Session
from ..runtime.engine_onnx import OnnxEngine
from ..runtime.engine_onnx import start as start_onnx
from ..runtime.errors import BasicError
from ..runtime.groups import NUM_NODES, NUM_PHASES, NUM_SLICES, Plan, make_plan
from ..runtime.integer import Context, Head, Hyper, IntegerSession, best_kernels
from ..runtime.layers import Layer, Layers
from ..training.model import Model
from ..training.nodes import NOTCH, Architecture, Widths
from ..training.structure.latency import HALVES, TRANSFORMS, Axis, Grid, LatencyTable, kind_of
from ..training.structure.levels import LevelEntry
from .arguments import positive
from .machine import machine
from .report import say

HEIGHT, WIDTH = 512, 768
ROUNDS, WARMUP = 7, 1
STRIDES = {"x": 1, "z_hat": 64, "state": 32}
FEED = 64  # side of the picture that int8 graphs are calibrated on: ranges change no time
Point = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """One serialized graph with the shapes of its inputs, and the integer part of the same, as the engine runs it."""

    data: bytes
    shapes: Mapping[str, tuple[int, ...]]
    part: Hyper | Context | None = None

    def open(self, engine: OnnxEngine, name: str, num_threads: int) -> Session:
        """As the engine opens the part of a bundle."""
        if self.part is None or best_kernels() is None:
            return engine.open_model(self.data, name)
        return IntegerSession(self.part, name, num_threads)


def network_of(graph: Graph, part: Hyper | Context | None = None) -> Network:
    """A graph for images of HEIGHT x WIDTH."""
    y_hat = 16 if graph.name == "synthesis" else 32
    shapes = {}
    for value in graph.inputs:
        channels = value.type.tensor_type.shape.dim[1].dim_value
        stride = STRIDES.get(value.name, y_hat)
        size = (1, 1) if "gain" in value.name else (HEIGHT // stride, WIDTH // stride)
        shapes[value.name] = (1, channels, *size)
    return Network(graph.serialize(), shapes, part)


class Builder:
    """Parts of any widths, with the random weights of a fresh model."""

    def __init__(self, arch: Architecture) -> None:
        torch.manual_seed(0)
        self.arch, self.model = arch, Model(arch).eval()
        self.rng = np.random.default_rng(0)

    def transform(self, part: str, widths: Mapping[str, int], precision: str) -> Network:
        """analysis or synthesis; `widths` may leave out every block, which no level does."""
        cut = Cutter(self.model, widths)
        plain, int8 = {
            "analysis": (analysis_graph, int8_analysis),
            "synthesis": (synthesis_graph, int8_synthesis),
        }[part]
        if precision == "float":
            return network_of(plain(cut))
        graph = plain(cut)
        return network_of(int8(cut, measure_ranges(graph, [self._feed(graph)])))

    def _feed(self, graph: Graph) -> dict[str, NDArray[np.float32]]:
        feed = {}
        for value in graph.inputs:
            channels = value.type.tensor_type.shape.dim[1].dim_value
            side = {"x": FEED, "y_hat": FEED // 16}.get(value.name, 1)
            feed[value.name] = self.rng.random((1, channels, side, side), np.float32)
        return feed

    def hyper(self, inner: int, state: int) -> Network:
        layers = self._layers(inner, state, NOTCH)
        return network_of(hyper_graph(layers), Hyper(layers))

    def context(self, plan: Plan, group: int, state: int, inner: int) -> Network:
        layers = self._layers(NOTCH, state, inner)
        return network_of(context_graph(layers, plan, group), Context(layers, plan, group, Head(layers)))

    def parts(self, entry: LevelEntry, precision: Callable[[str, Widths], str]) -> dict[str, Callable[[], Network]]:
        """How to build every part of a level, by name; `precision` of a transform as LatencyTable.precision."""
        w, plan = entry.widths, entry.plan
        found: dict[str, Callable[[], Network]] = {
            part: lambda part=part: self.transform(part, w, precision(part, w))  # type: ignore[misc]
            for part in TRANSFORMS
        }
        found["hyper"] = lambda: self.hyper(w["h_s.inner"], w["context.state"])
        for group in range(len(plan)):
            found[f"context_g{group}"] = lambda group=group: self.context(  # type: ignore[misc]
                plan, group, w["context.state"], w["context.inner"]
            )
        return found

    def _layers(self, hyper: int, state: int, inner: int) -> Layers:
        """Integer layers of random weights."""
        hyper_channels, packed = self.arch.hyper_channels, NUM_PHASES * self.arch.latent_channels
        shapes: dict[str, tuple[int, ...]] = {
            "h_s.spread": (hyper, hyper_channels),
            "h_s.depthwise": (hyper, 3, 3),
            "h_s.up": (4 * state, hyper),
            "context.read": (packed, 3, 3),
            "context.write": (state, packed),
            "context.first": (inner, state),
            "context.depthwise": (inner, 3, 3),
            "context.second": (inner, inner),
            "context.mean": (packed, inner),
            "context.scale": (packed, inner),
        }
        return {name: self._layer(name, shape) for name, shape in shapes.items()}

    def _layer(self, name: str, shape: tuple[int, ...]) -> Layer:
        bias = (NUM_NODES, shape[0]) if name == "context.write" else shape[:1]
        weight = self.rng.integers(-99, 100, shape).astype(np.int16)
        return Layer(weight, np.zeros(bias, np.int32), np.full(shape[0], 12, np.uint8))


def axes_of(arch: Architecture, int8_from: Mapping[str, int]) -> dict[str, tuple[Axis, ...]]:
    """Grid points of every kind: the ends of each width and some between, more of them where layers are small."""
    by_name = {node.name: node for node in arch.nodes}

    def axis(name: str, count: int, low: int | None = None) -> Axis:
        node = by_name[name]
        ends = node.lightest if low is None else low, node.full
        return tuple(sorted({NOTCH * round(v / NOTCH) for v in np.linspace(*ends, count)}))

    def half(full: int, precision: str) -> Axis:
        """Engines work on four blocks of 16 channels at once in float; products in int8 have finer steps."""
        inner = (1, 2, 4, 8) if precision == "float" else (1, 2, 3, 4, 6, 8, 12)
        return (*(NOTCH * n for n in inner if NOTCH * n < full), full)

    found: dict[str, tuple[Axis, ...]] = {}
    for part, name in TRANSFORMS.items():
        for precision in ("float", "int8") if part in int8_from else ("float",):
            low = int8_from[part] if precision == "int8" else None
            n, t = axis(f"{name}.trunk8", 3 if low else 4, low), axis(f"{name}.trunk16", 4)
            more = (axis("h_a.inner", 2),) if part == "analysis" else ()
            found[kind_of(part, precision, "base")] = (n, t, *more)
            for layer in HALVES:
                trunk, full = (n, arch.trunk8) if layer.endswith("8") else (t, arch.inner16)
                found[kind_of(part, precision, layer)] = (trunk, half(full, precision))
    s, k = axis("context.state", 4), axis("context.inner", 4)
    slices = arch.latent_channels // NUM_SLICES
    sizes = tuple(slices * n for n in (1, 4, 12, NUM_NODES))
    before = tuple(slices * n for n in (1, 4, 12, NUM_NODES - 2))
    entropy = {"hyper": (axis("h_s.inner", 4), s), "head": (s, k, sizes)}
    return found | entropy | {"update": (s, before), "last_update": (s, before)}


@dataclass(frozen=True)
class Term:
    """A grid point as a difference of networks, by name, over the number of layers that it holds."""

    plus: str
    minus: str | None = None
    count: int = 1


class Plans:
    """Every grid point of a table as a Term, and how to build the networks that they name."""

    def __init__(self, builder: Builder, axes: Mapping[str, tuple[Axis, ...]]) -> None:
        self.builder, self.arch, self.axes = builder, builder.arch, axes
        self.makers: dict[str, Callable[[], Network]] = {}
        self.terms = {kind: {point: self._term(kind, point) for point in product(*axes[kind])} for kind in axes}

    def _term(self, kind: str, point: Point) -> Term:
        if kind == "hyper":
            return Term(self._name("hyper", point, lambda: self.builder.hyper(*point)))
        if kind == "head":
            return Term(self._context("head", _head_plan(self._nodes(point[2])), 0, *point[:2]))
        if kind in ("update", "last_update"):
            state, before = point
            narrow = self.axes["head"][1][0]
            plan, group = _update_plan(self._nodes(before), kind == "last_update")
            head = self._context("head", _head_plan(1), 0, state, narrow)
            return Term(self._context(kind, plan, group, state, narrow), head)
        part, precision, layer = kind.split()
        if layer == "base":
            return Term(self._transform(part, precision, point))
        return self._half(part, precision, layer, point)

    def _half(self, part: str, precision: str, layer: str, point: Point) -> Term:
        """All blocks of a trunk with this half at the point's width; the other trunk at a middle width."""
        base = self.axes[kind_of(part, precision, "base")]
        middle = [axis[len(axis) // 2] for axis in base]
        half, scale = layer.rstrip("0123456789"), layer.lstrip("abcdefghijklmnopqrstuvwxyz")
        at8 = scale == "8"
        place = (point[0], *middle[1:]) if at8 else (middle[0], point[0], *middle[2:])
        count = self.arch.num_blocks8 if at8 else self.arch.num_blocks16
        name = TRANSFORMS[part]
        blocks = {f"{name}.block{scale}.{i}.{half}": point[1] for i in range(count)}
        return Term(self._transform(part, precision, place, blocks), self._transform(part, precision, place), count)

    def _transform(self, part: str, precision: str, place: Point, blocks: Mapping[str, int] | None = None) -> str:
        name, blocks = TRANSFORMS[part], blocks or {}
        widths = {node: 0 if ".block" in node else width for node, width in self.arch.full().items()}
        widths |= {f"{name}.trunk8": place[0], f"{name}.trunk16": place[1], **blocks}
        if part == "analysis":
            widths["h_a.inner"] = place[2]
        changed = tuple(f"{key}={value}" for key, value in sorted(blocks.items()))
        return self._name(
            f"{part} {precision}", (*place, *changed), lambda: self.builder.transform(part, widths, precision)
        )

    def _context(self, kind: str, plan: Plan, group: int, state: int, inner: int) -> str:
        point = (state, inner, tuple(len(each) for each in plan))
        return self._name(f"context {kind}", point, lambda: self.builder.context(plan, group, state, inner))

    def _name(self, family: str, point: tuple[object, ...], maker: Callable[[], Network]) -> str:
        """`family` comes first: networks of one family are timed together."""
        name = f"{family}: {point}"
        self.makers.setdefault(name, maker)
        return name

    def _nodes(self, channels: int) -> int:
        return channels * NUM_SLICES // self.arch.latent_channels


def _head_plan(num_nodes: int) -> Plan:
    groups = [range(num_nodes), range(num_nodes, NUM_NODES)]
    return make_plan([group for group in groups if group])


def _update_plan(num_before: int, last: bool) -> tuple[Plan, int]:
    """A plan with a group of one node after one of `num_before`; which group it is, the last or one between."""
    before, one, rest = range(num_before), range(num_before, num_before + 1), range(num_before + 1, NUM_NODES)
    return (make_plan([rest, before, one]), 2) if last else (make_plan([before, one, rest]), 1)


def measure_table(
    arch: Architecture, num_threads: int, show: Callable[[str], None], int8: str = "transforms"
) -> LatencyTable:
    """Time every grid point as the default engine runs it: two or three minutes of a core. int8: as basic-export."""
    int8_from = {part: NARROWEST for part in CHOICES[int8] if arch.trunk8 >= NARROWEST}
    axes = axes_of(arch, int8_from)
    plans = Plans(Builder(arch), axes)
    times: dict[str, float] = {}
    families = sorted({name.split()[0] for name in plans.makers})
    for family in families:
        chosen = {name: make for name, make in plans.makers.items() if name.split()[0] == family}
        times |= time_networks(chosen, num_threads, lambda text, family=family: show(f"{family}: {text}"))  # type: ignore[misc]
    grids = {}
    for kind, terms in plans.terms.items():
        values = [
            (times[term.plus] - (times[term.minus] if term.minus else 0.0)) / term.count for term in terms.values()
        ]
        grids[kind] = Grid(axes[kind], np.array(values).reshape([len(axis) for axis in axes[kind]]))
    about = machine() | {"threads": num_threads, "height": HEIGHT, "width": WIDTH, "rounds": ROUNDS}
    return LatencyTable(grids, int8_from, about | {"num_networks": len(times)})


def time_networks(
    makers: Mapping[str, Callable[[], Network]], num_threads: int, show: Callable[[str], None]
) -> dict[str, float]:
    """Milliseconds of each network, median of ROUNDS in which they take turns, on the engine that the runtime uses."""
    engine, rng = start_onnx(num_threads), np.random.default_rng(0)
    calls = []
    for number, (name, make) in enumerate(makers.items()):
        show(f"opening network {number + 1} of {len(makers)}")
        network = make()
        inputs = {port: rng.standard_normal(shape, np.float32) for port, shape in network.shapes.items()}
        calls.append((name, network.open(engine, name, num_threads), inputs))
    clocks: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(ROUNDS):
        show(f"timing, round {turn + 1} of {ROUNDS}")
        for name, session, inputs in calls:
            for _ in range(WARMUP):
                session.run(inputs)
            start = time.perf_counter()
            session.run(inputs)
            clocks[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(found)) for name, found in clocks.items()}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m basic.benchmarks.latency_table", description=(__doc__ or "").splitlines()[0]
    )
    p.add_argument("-o", "--output", type=Path, required=True, help="table to write")
    p.add_argument("--threads", type=positive, default=1, help="of the engine (default 1)")
    p.add_argument(
        "--int8", choices=list(CHOICES), default="transforms", help="as for basic-export (default transforms)"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """0 measured, 1 bad input, 2 wrong options."""
    args = parser().parse_args(argv)
    log = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    try:
        if not args.output.parent.is_dir():
            raise ValueError(f"-o: {args.output.parent} is no folder")
        with Progress(*columns, console=log, transient=True) as progress:
            task = progress.add_task("building", total=None)
            table = measure_table(
                Architecture(), args.threads, lambda text: progress.update(task, description=text), args.int8
            )
        table.save(args.output)
    except (BasicError, ValueError, OSError) as error:
        say(log, f"latency_table: {error}", "red")
        return 1
    print(json.dumps({"table": str(args.output), "networks": table.circumstances["num_networks"]}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main("latency_table", main))
