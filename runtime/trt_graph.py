"""A part's graph as TensorRT takes it: weights folded, transforms in half precision, images and means as bytes.

What a newcomer gets wrong: TensorRT has no 16-bit integers. Means therefore leave as their two bytes, low byte first,
along a new last axis: what arrives on the host is read as int16 without touching it. And precision is a property of
the graph, not of the builder: the transforms' convolutions are float16 here, what enters and leaves is not. The
integer parts stay float32, in which they are exact.
"""

from dataclasses import dataclass

import numpy as np

from .engine import TRANSFORMS, Array
from .onnx_file import Graph, Node, Port, fold_constants, read, write

FLOAT32, FLOAT16, UINT8 = 1, 10, 2
REVISION = 2
"""Enters the key of every engine file; another rewriting is another number."""
IMAGES = ("x", "x_hat")


@dataclass(frozen=True, slots=True)
class Form:
    """How parts are rewritten: `half` for float16 convolutions in the transforms; `as_bytes` for images and means as
    uint8 (false for a TensorRT that does not know the type: then all is float32)."""

    half: bool = True
    as_bytes: bool = True


def precision(part: str, form: Form) -> str:
    """ "fp16" or "fp32": what a part computes in."""
    return "fp16" if form.half and part in TRANSFORMS else "fp32"


def rewrite(model: bytes, part: str, form: Form) -> bytes:
    """A part's ONNX file -> the one that is built. Raises BundleError for a graph that cannot be read."""
    graph = fold_constants(read(model))
    if part not in TRANSFORMS:
        return write(_integer_outputs(graph, form.as_bytes))
    if form.half:
        graph = _halved(graph)
    return write(_byte_images(graph) if form.as_bytes else graph)


def _integer_outputs(graph: Graph, as_bytes: bool) -> Graph:
    """`means` as two bytes and `indexes` as one, or both as float32."""
    nodes, outputs = [], []
    types = {port.name: port.dtype for port in graph.outputs}
    for node in graph.nodes:
        name = node.outputs[0]
        if node.op == "Clip":
            nodes += _max_min(node)
        elif node.op != "Cast" or name not in types:
            nodes.append(node)
        elif not as_bytes:
            nodes.append(Node("Identity", node.inputs, [name]))
        elif types[name] == np.int16:
            nodes += _two_bytes(graph, node.inputs[0], name)
        else:
            nodes.append(node)
    for port in graph.outputs:
        if port.dtype == np.float32:
            outputs.append(port)
        elif not as_bytes:
            outputs.append(Port(port.name, np.dtype(np.float32), port.dims))
        else:
            dims = (*port.dims, 2) if port.dtype == np.int16 else port.dims
            outputs.append(Port(port.name, np.dtype(np.uint8), dims))
    return Graph(graph.name, nodes, graph.initializers, graph.inputs, outputs)


def _max_min(clip: Node) -> list[Node]:
    """A clip as maximum and minimum: TensorRT 10 is reported to take one from 0 up for a ReLU, upper end lost, and
    parsers differ in which bounds they read. No slower: the floor or product that follows is a kernel anyway."""
    value, low, high = clip.inputs
    above = f"{clip.outputs[0]}_above"
    return [Node("Max", [value, low], [above]), Node("Min", [above, high], clip.outputs)]


def _two_bytes(graph: Graph, value: str, name: str) -> list[Node]:
    """Whole numbers in -32768..32767 -> their low and high byte along a new last axis; every step is exact."""
    constants = {"scale_256": np.float32(256), "scale_1_256": np.float32(1 / 256), "axis_4": np.array([4], np.int64)}
    graph.initializers |= {key: np.asarray(constant) for key, constant in constants.items()}

    def modulo(value: str, quotient: str, to: str) -> list[Node]:
        scaled, times = f"{quotient}_scaled", f"{quotient}_times_256"
        return [
            Node("Mul", [value, "scale_1_256"], [scaled]),
            Node("Floor", [scaled], [quotient]),
            Node("Mul", [quotient, "scale_256"], [times]),
            Node("Sub", [value, times], [to]),
        ]

    low, high, wide = f"{name}_low", f"{name}_high", f"{name}_bytes"
    return [
        *modulo(value, f"{name}_over_256", low),
        *modulo(f"{name}_over_256", f"{name}_over_65536", high),
        Node("Unsqueeze", [low, "axis_4"], [f"{low}_5d"]),
        Node("Unsqueeze", [high, "axis_4"], [f"{high}_5d"]),
        Node("Concat", [f"{low}_5d", f"{high}_5d"], [wide], {"axis": 4}),
        Node("Cast", [wide], [name], {"to": UINT8}),
    ]


def _halved(graph: Graph) -> Graph:
    """Everything in float16 but what a gain multiplies and the last clip; inputs and outputs stay float32."""
    half = _Halves(graph)
    gains = {port.name for port in graph.inputs if "gain" in port.name}
    outputs = {port.name for port in graph.outputs}
    for node in _clip_last(graph.nodes):
        wide = bool(gains.intersection(node.inputs)) or (node.op == "Clip" and node.outputs[0] in outputs)
        for step in _max_min(node) if node.op == "Clip" else [node]:
            half.add(step, wide)
    for port in graph.outputs:
        half.finish(port.name)
    return Graph(graph.name, half.nodes, half.initializers, graph.inputs, graph.outputs)


def _clip_last(nodes: list[Node]) -> list[Node]:
    """Clip, DepthToSpace -> DepthToSpace, Clip: the shuffle moves half the bytes, and the clip joins what follows."""
    found = list(nodes)
    for i in range(len(found) - 1):
        clip, shuffle = found[i : i + 2]
        if clip.op == "Clip" and shuffle.op == "DepthToSpace" and shuffle.inputs == clip.outputs:
            moved = Node("DepthToSpace", clip.inputs[:1], clip.outputs, shuffle.attributes)
            found[i : i + 2] = [moved, Node("Clip", [*clip.outputs, *clip.inputs[1:]], shuffle.outputs)]
    return found


class _Halves:
    """Collects nodes, and casts where a value is wanted in the precision that it is not in."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = []
        self.initializers: dict[str, Array] = {}
        self._constants = graph.initializers
        self._outputs = {port.name for port in graph.outputs}
        self._names = {(port.name, FLOAT32): port.name for port in graph.inputs}

    def add(self, node: Node, wide: bool) -> None:
        """One node computed in float32 if `wide`, else in float16."""
        to = FLOAT32 if wide else FLOAT16
        inputs = [self._in(name, to) for name in node.inputs]
        name = node.outputs[0]
        made = name if wide or name not in self._outputs else f"{name}_half"
        self._names[name, to] = made
        self.nodes.append(Node(node.op, inputs, [made], node.attributes))

    def finish(self, name: str) -> None:
        """Give an output in float32 under its own name."""
        if (name, FLOAT32) not in self._names:
            self.nodes.append(Node("Cast", [self._names[name, FLOAT16]], [name], {"to": FLOAT32}))

    def _in(self, name: str, to: int) -> str:
        found = self._names.get((name, to))
        if found is not None:
            return found
        made = f"{name}_f{'16' if to == FLOAT16 else '32'}"
        if name in self._constants:
            self.initializers[made] = self._constants[name].astype(np.float16 if to == FLOAT16 else np.float32)
        else:
            other = self._names[name, FLOAT32 if to == FLOAT16 else FLOAT16]
            self.nodes.append(Node("Cast", [other], [made], {"to": to}))
        self._names[name, to] = made
        return made


def _byte_images(graph: Graph) -> Graph:
    """x and x_hat as bytes 0..255 instead of 0..1; x_hat is rounded half up, as the host does it."""
    constants = {"one_255th": np.float32(1 / 255), "times_255": np.float32(255), "one_half": np.float32(0.5)}
    nodes: list[Node] = []
    inputs, outputs = ([_as_bytes(port) for port in ports] for ports in (graph.inputs, graph.outputs))
    if any(port.name == "x" for port in inputs):
        nodes += [Node("Cast", ["x"], ["x_wide"], {"to": FLOAT32}), Node("Mul", ["x_wide", "one_255th"], ["x_unit"])]
    for node in graph.nodes:
        read_from = ["x_unit" if name == "x" else name for name in node.inputs]
        written = ["x_hat_unit" if name == "x_hat" else name for name in node.outputs]
        nodes.append(Node(node.op, read_from, written, node.attributes))
    if any(port.name == "x_hat" for port in outputs):
        nodes += [
            Node("Mul", ["x_hat_unit", "times_255"], ["x_hat_255"]),
            Node("Add", ["x_hat_255", "one_half"], ["x_hat_up"]),
            Node("Floor", ["x_hat_up"], ["x_hat_whole"]),
            Node("Cast", ["x_hat_whole"], ["x_hat"], {"to": UINT8}),
        ]
    used = {name for node in nodes for name in node.inputs}
    kept = {name: np.asarray(value) for name, value in constants.items() if name in used}
    return Graph(graph.name, nodes, graph.initializers | kept, inputs, outputs)


def _as_bytes(port: Port) -> Port:
    return Port(port.name, np.dtype(np.uint8), port.dims) if port.name in IMAGES else port
