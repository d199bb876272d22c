"""Milliseconds of a structure on this machine, from a table of layers measured over a grid of widths.

What a newcomer gets wrong: a layer alone costs more than inside a network, where its input lies in the engine's own
layout already. So block halves are measured as the difference between networks with more and with fewer of them, and
all layers around the blocks together, as the network without any block.

The graphs have random weights: what a layer costs does not depend on them. Between grid points times are linear in
every width. Network time alone: what coder, tiles and Pillow take depends on the structure by its calls only.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...runtime.groups import NUM_PHASES, NUM_SLICES, Plan
from ..nodes import NOTCH, Architecture, Widths
from .tables import read_json, write_json

FORMAT, FORMAT_VERSION = "basic-latency-table", 1
HEIGHT, WIDTH = 512, 768
ROUNDS = 11

Axis = tuple[int, ...]


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
    """Grids by kind of layer, see `KINDS`, of images of HEIGHT x WIDTH, with the circumstances of the measurement."""

    grids: Mapping[str, Grid]
    circumstances: Mapping[str, Any]

    def parts_ms(self, arch: Architecture, widths: Widths, plan: Plan) -> dict[str, float]:
        """Network time of each part in ms."""
        w, g = widths, self.grids
        sizes = [len(group) * arch.latent_channels // NUM_SLICES for group in plan]
        analysis = g["analysis"].at(w["g_a.trunk8"], w["g_a.trunk16"], w["h_a.inner"])
        found = {"analysis": analysis + self._blocks(arch, w, "g_a")}
        found["hyper"] = g["hyper"].at(w["h_s.inner"], w["context.state"])
        for i, size in enumerate(sizes):
            head = g["head"].at(w["context.state"], w["context.inner"], size)
            update = g["update"].at(w["context.state"], sizes[i - 1]) if i else 0.0
            found[f"context_g{i}"] = head + update
        found["synthesis"] = g["synthesis"].at(w["g_s.trunk8"], w["g_s.trunk16"]) + self._blocks(arch, w, "g_s")
        return found

    def total_ms(self, arch: Architecture, widths: Widths, plan: Plan) -> float:
        return sum(self.parts_ms(arch, widths, plan).values())

    def _blocks(self, arch: Architecture, w: Widths, name: str) -> float:
        total = 0.0
        for scale, count in (("8", arch.num_blocks8), ("16", arch.num_blocks16)):
            for i in range(count):
                for half in ("inner", "ff"):
                    width = w[f"{name}.block{scale}.{i}.{half}"]
                    if width:
                        total += max(0.0, self.grids[f"{half}{scale}"].at(w[f"{name}.trunk{scale}"], width))
        return total

    def save(self, path: Path) -> None:
        grids = {name: {"axes": grid.axes, "ms": grid.values.tolist()} for name, grid in self.grids.items()}
        head = {"format": FORMAT, "format_version": FORMAT_VERSION}
        write_json(path, head | {"grids": grids, "circumstances": dict(self.circumstances)})

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        """Raises ValueError naming what is wrong."""
        content = read_json(path, FORMAT, FORMAT_VERSION)
        try:
            grids = {
                name: Grid(tuple(map(tuple, grid["axes"])), np.array(grid["ms"], np.float64))
                for name, grid in content["grids"].items()
            }
            if set(grids) != set(KINDS) or any(
                grid.values.shape != tuple(map(len, grid.axes)) or not np.isfinite(grid.values).all()
                for grid in grids.values()
            ):
                raise ValueError(f"expected a grid of milliseconds for each of {', '.join(KINDS)}")
            return cls(grids, content["circumstances"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"latency table {path}: {error!r}; delete it to measure anew") from error


class _Net:
    """A graph with random weights, built like those of a bundle; `shape` follows the running tensor."""

    def __init__(self, channels: int, stride: int) -> None:
        self.inputs: dict[str, tuple[int, ...]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._outputs: list[str] = []
        self._rng = np.random.default_rng(0)
        self.x = self.input(channels, stride)
        self.channels = channels

    def input(self, channels: int, stride: int) -> str:
        name = f"input{len(self.inputs)}"
        self.inputs[name] = (1, channels, HEIGHT // stride, WIDTH // stride)
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def conv(self, x: str, i: int, o: int, kernel: int = 1, stride: int = 1, depthwise: bool = False) -> str:
        fan = kernel * kernel * (1 if depthwise else i)
        weight = self._rng.normal(size=(o, 1 if depthwise else i, kernel, kernel)) / math.sqrt(fan)
        pad = kernel // 2 if kernel == 3 else 0
        return self.add(
            "Conv",
            x,
            self.constant(weight),
            self.constant(np.zeros(o)),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=o if depthwise else 1,
        )

    def inner(self, x: str, n: int, width: int) -> str:
        h = self.add("LeakyRelu", self.conv(x, n, width), alpha=0.1)
        return self.add("Add", x, self.conv(self.conv(h, width, width, 3, depthwise=True), width, n))

    def ff(self, x: str, n: int, width: int) -> str:
        gated = self.add("Mul", self.conv(x, n, width), self.conv(x, n, width))
        return self.add("Add", x, self.conv(gated, width, n))

    def integer(self, x: str, i: int, o: int, low: float, high: float, depthwise: bool = False) -> str:
        """An integer layer: convolution, clamp, floor."""
        h = self.conv(x, i, o, 3 if depthwise else 1, depthwise=depthwise)
        return self.add("Floor", self.clip(h, low, high))

    def clip(self, x: str, low: float, high: float) -> str:
        return self.add("Clip", x, self.constant(low), self.constant(high))

    def output(self, x: str) -> None:
        self._outputs.append(x)

    def serialize(self) -> bytes:
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self._outputs]
        graph = helper.make_graph(self._nodes, "layers", inputs, outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        data: bytes = model.SerializeToString()
        return data


def _analysis(arch: Architecture, n: int, t: int, h: int) -> _Net:
    net = _Net(3, 1)
    x = net.add("LeakyRelu", net.conv(net.x, 3, n, 8, 8), alpha=0.1)
    x = net.conv(net.conv(x, n, t, 3, 2), t, arch.latent_channels)
    net.output(x)
    x = net.add("LeakyRelu", net.conv(x, arch.latent_channels, h, 3, 2), alpha=0.1)
    net.output(net.conv(x, h, arch.hyper_channels, 3, 2))
    return net


def _synthesis(arch: Architecture, n: int, t: int) -> _Net:
    net = _Net(arch.latent_channels, 16)
    x = net.conv(net.conv(net.x, arch.latent_channels, t), t, 4 * n)
    x = net.add("DepthToSpace", x, blocksize=2, mode="CRD")
    x = net.clip(net.conv(net.add("MaxPool", x, kernel_shape=[1, 1]), n, 192), 0.0, 1.0)
    net.output(net.add("DepthToSpace", x, blocksize=8, mode="CRD"))
    return net


def _hyper(arch: Architecture, a: int, s: int) -> _Net:
    net = _Net(arch.hyper_channels, 64)
    x = net.integer(net.clip(net.x, -127, 127), arch.hyper_channels, a, 0, 255)
    x = net.conv(net.integer(x, a, a, 0, 255, depthwise=True), a, 4 * s)
    net.output(net.add("DepthToSpace", x, blocksize=2, mode="CRD"))
    return net


def _head(net: _Net, state: str, s: int, k: int, size: int) -> None:
    x = net.add("Floor", net.clip(state, -127, 127))
    x = net.integer(x, s, k, 0, 255)
    x = net.integer(net.integer(x, k, k, 0, 255, depthwise=True), k, k, 0, 255)
    for _ in range(2):
        net.output(net.integer(x, k, size, -127, 127))


def _context(arch: Architecture, s: int, k: int, size: int) -> _Net:
    net = _Net(s, 32)
    _head(net, net.x, s, k, size)
    return net


def _update(arch: Architecture, s: int, size: int) -> _Net:
    """A small head with the update before it; `measure_table` takes the head's own time off."""
    net = _Net(s, 32)
    y_hat = net.clip(net.add("Floor", net.input(size, 32)), -127, 127)
    state = net.add("Add", net.x, net.conv(net.integer(y_hat, size, size, -127, 127, depthwise=True), size, s))
    _head(net, state, s, NOTCH, NOTCH)
    net.output(state)
    return net


def _halves(half: str, scale: int, n: int, width: int, count: int) -> _Net:
    net = _Net(n, scale)
    x = net.conv(net.x, n, n)
    for _ in range(count):
        x = net.inner(x, n, width) if half == "inner" else net.ff(x, n, width)
    net.output(net.conv(x, n, n))
    return net


KINDS = ("analysis", "synthesis", "hyper", "head", "update", "inner8", "ff8", "inner16", "ff16")


def _axes(arch: Architecture) -> dict[str, tuple[Axis, ...]]:
    """Grid points of every kind: the ends of each width, and some between."""
    by_name = {node.name: node for node in arch.nodes}

    def axis(name: str, count: int, low: int | None = None) -> Axis:
        node = by_name[name]
        ends = node.lightest if low is None else low, node.full
        return tuple(sorted({NOTCH * round(v / NOTCH) for v in np.linspace(*ends, count)}))

    packed = NUM_PHASES * arch.latent_channels
    sizes = (packed // 32, packed // 8, packed // 2, packed)
    n, t = axis("g_a.trunk8", 3), axis("g_a.trunk16", 3)
    s, k = axis("context.state", 3), axis("context.inner", 3)
    half8, half16 = axis("g_a.block8.1.inner", 4, NOTCH), axis("g_a.block16.0.inner", 4, NOTCH)
    return {
        "analysis": (n, t, axis("h_a.inner", 2)),
        "synthesis": (n, t),
        "hyper": (axis("h_s.inner", 3), s),
        "head": (s, k, sizes),
        "update": (s, sizes),
        "inner8": (n, half8),
        "ff8": (n, half8),
        "inner16": (t, half16),
        "ff16": (t, half16),
    }


def measure_table(arch: Architecture, num_threads: int, show: Callable[[str], None]) -> LatencyTable:
    """Time every grid point on onnxruntime; seconds on one core."""
    axes = _axes(arch)
    wanted: dict[tuple[str, tuple[int, ...], int], _Net] = {}
    for kind, points in axes.items():
        for point in product(*points):
            for variant in (0, 1) if kind in ("update", *KINDS[5:]) else (1,):
                wanted[kind, point, variant] = _net(arch, kind, point, variant)
    times = time_networks(list(wanted.values()), num_threads, show)
    found = dict(zip(wanted, times, strict=True))
    grids = {}
    for kind, points in axes.items():
        values = [found[kind, p, 1] - found.get((kind, p, 0), 0.0) for p in product(*points)]
        shaped = np.array(values).reshape([len(axis) for axis in points])
        grids[kind] = Grid(points, shaped / 2 if kind in KINDS[5:] else shaped)
    return LatencyTable(grids, _circumstances(num_threads))


def _net(arch: Architecture, kind: str, point: tuple[int, ...], variant: int) -> _Net:
    """The network of a grid point; variant 0 is what has to be taken off it (one half-block, no update)."""
    if kind in KINDS[5:]:
        half, scale = ("inner", kind[5:]) if kind.startswith("inner") else ("ff", kind[2:])
        return _halves(half, int(scale), point[0], point[1], 1 + 2 * variant)
    if kind == "update":
        return _update(arch, *point) if variant else _context(arch, point[0], NOTCH, NOTCH)
    makers: dict[str, Callable[..., _Net]] = {"analysis": _analysis, "synthesis": _synthesis, "hyper": _hyper}
    return makers.get(kind, _context)(arch, *point)


def time_networks(networks: Sequence[_Net], num_threads: int, show: Callable[[str], None]) -> list[float]:
    """Milliseconds of each, median of ROUNDS; they take turns, so that a busy moment spoils no network's median."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    rng = np.random.default_rng(0)
    sessions = []
    for number, net in enumerate(networks):
        show(f"opening layers, {number} of {len(networks)}")
        sessions.append(ort.InferenceSession(net.serialize(), options, providers=["CPUExecutionProvider"]))
    clocks: list[list[float]] = [[] for _ in networks]
    for turn in range(ROUNDS):
        show(f"timing layers, round {turn + 1} of {ROUNDS}")
        for net, session, found in zip(networks, sessions, clocks, strict=True):
            inputs = {name: rng.standard_normal(shape, np.float32) for name, shape in net.inputs.items()}
            session.run(None, inputs)  # brings the weights back into the caches
            start = time.perf_counter()
            session.run(None, inputs)
            found.append(1e3 * (time.perf_counter() - start))
    return [float(np.median(found)) for found in clocks]


def _circumstances(num_threads: int) -> dict[str, Any]:
    import platform

    import onnxruntime as ort

    return {
        "engine": f"onnxruntime {ort.__version__}",
        "machine": platform.processor() or platform.machine(),
        "threads": num_threads,
        "height": HEIGHT,
        "width": WIDTH,
        "rounds": ROUNDS,
    }
