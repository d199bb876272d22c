"""ONNX files in plain numpy: read a bundle's graph, change it, write it, know its shapes. Needs no onnx package.

What a newcomer gets wrong: this is no general reader. It keeps what graphs of a bundle have (nodes, attributes of
numbers, strings and their lists, initialisers with raw data, inputs and outputs) and refuses what it would lose.

The wire format is protobuf's: fields of (number << 3 | kind), kind 0 a varint, 1 eight bytes, 2 a length and bytes,
5 four bytes. Field numbers are those of the published onnx.proto.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, reason

Array = NDArray[Any]
Dims = tuple[int | str, ...]
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]

TYPES: dict[int, type[np.generic]] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 5: np.int16, 6: np.int32, 7: np.int64, 10: np.float16, 11: np.float64,
}  # fmt: skip
CODES = {np.dtype(dtype): code for code, dtype in TYPES.items()}
OPSET = 17
"""What is written: every operator here means the same in 17 and in the 18 of a bundle, and old parsers know 17."""
IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph; dims are numbers or symbols."""

    name: str
    dtype: np.dtype[Any]
    dims: Dims


@dataclass(slots=True)
class Node:
    """One operator."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Attribute] = field(default_factory=dict)


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which they can run."""

    name: str
    nodes: list[Node]
    initializers: dict[str, Array]
    inputs: list[Port]
    outputs: list[Port]


def read(data: bytes) -> Graph:
    """A serialized model -> its graph.

    Raises:
        BundleError: it is no ONNX file, or holds something that this reader would lose.
    """
    try:
        for number, value in _fields(data):
            if number == 7:
                return _graph(value)
    except (IndexError, struct.error, ValueError, KeyError, UnicodeDecodeError, TypeError) as error:
        raise BundleError(
            f"not an ONNX file that can be read here: {reason(error)}; export the bundle again"
        ) from error
    raise BundleError("not an ONNX file: it holds no graph; export the bundle again")


def write(graph: Graph) -> bytes:
    """A graph -> a serialized model of opset 17; equal graphs give equal bytes."""
    body = b"".join(_message(1, _node_bytes(node, i)) for i, node in enumerate(graph.nodes))
    body += _text(2, graph.name)
    body += b"".join(_message(5, _tensor_bytes(name, array)) for name, array in graph.initializers.items())
    body += b"".join(_message(11, _port_bytes(port)) for port in graph.inputs)
    body += b"".join(_message(12, _port_bytes(port)) for port in graph.outputs)
    opset = _message(8, _text(1, "") + _number(2, OPSET))
    return _number(1, IR_VERSION) + _text(2, "basic") + _message(7, body) + opset


def infer_shapes(graph: Graph, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor for inputs of these shapes. Raises BundleError for an unknown operator."""
    shapes: dict[str, tuple[int, ...]] = {name: array.shape for name, array in graph.initializers.items()}
    shapes |= inputs
    for node in graph.nodes:
        shapes[node.outputs[0]] = _shape(node, [shapes[name] for name in node.inputs], graph)
    return shapes


def _shape(node: Node, inputs: list[tuple[int, ...]], graph: Graph) -> tuple[int, ...]:
    first = inputs[0]
    if node.op == "Conv":
        kernel, stride = inputs[1][2], ints(node, "strides", (1, 1))[0]
        pad = ints(node, "pads", (0, 0, 0, 0))[0]
        return (first[0], inputs[1][0], *((side + 2 * pad - kernel) // stride + 1 for side in first[2:]))
    if node.op == "DepthToSpace":
        block = ints(node, "blocksize")[0]
        return (first[0], first[1] // block**2, first[2] * block, first[3] * block)
    if node.op == "Unsqueeze":
        (axis,) = (int(axis) for axis in graph.initializers[node.inputs[1]])
        return (*first[:axis], 1, *first[axis:])
    if node.op == "Concat":
        axis = ints(node, "axis")[0] % len(first)
        return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])
    if node.op in ("Add", "Mul", "Sub", "Max", "Min"):
        return tuple(np.broadcast_shapes(*inputs))
    if node.op in ("Cast", "Clip", "Floor", "LeakyRelu", "MaxPool", "Identity"):
        return first  # the only pooling here is 1x1
    raise BundleError(f"operator {node.op}: not one that a bundle's graphs hold; export the bundle again")


def ints(node: Node, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """An attribute of one or several whole numbers."""
    value = node.attributes.get(name, default)
    if isinstance(value, int):
        return (value,)
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise BundleError(f"{node.op}: expected whole numbers as {name}, got {value!r}; export the bundle again")
    return tuple(int(item) for item in value)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, int or bytes) of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            yield number, _exactly(data, at, size)
            at += size
        elif kind == 2:
            size, at = _varint(data, at)
            yield number, _exactly(data, at, size)
            at += size
        else:
            raise ValueError(f"wire kind {kind}")


def _exactly(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError("it ends early")
    return data[at : at + size]


def _graph(data: bytes) -> Graph:
    graph = Graph("", [], {}, [], [])
    for number, value in _fields(data):
        if number == 1:
            graph.nodes.append(_node(value))
        elif number == 2:
            graph.name = value.decode()
        elif number == 5:
            name, array = _tensor(value)
            graph.initializers[name] = array
        elif number in (11, 12):
            (graph.inputs if number == 11 else graph.outputs).append(_port(value))
    return graph


def _node(data: bytes) -> Node:
    node = Node("", [], [])
    for number, value in _fields(data):
        if number in (1, 2):
            (node.inputs if number == 1 else node.outputs).append(value.decode())
        elif number == 4:
            node.op = value.decode()
        elif number == 5:
            name, attribute = _attribute(value)
            node.attributes[name] = attribute
        elif number == 7 and value:
            raise ValueError(f"an operator of domain {value.decode()}")
    return node


def _attribute(data: bytes) -> tuple[str, Attribute]:
    name, found = "", None
    many: list[Any] = []
    for number, value in _fields(data):
        if number == 1:
            name = value.decode()
        elif number == 2:
            found = struct.unpack("<f", value)[0]
        elif number == 3:
            found = _signed(value)
        elif number == 4:
            found = value.decode()
        elif number == 7:
            many += struct.unpack(f"<{len(value) // 4}f", value)
        elif number == 8:
            many += _packed(value) if isinstance(value, bytes) else [_signed(value)]
        elif number in (5, 6, 9, 10, 11):
            raise ValueError(f"attribute {name} of a kind that is not kept")
    value = tuple(many) if found is None else found
    return name, value


def _packed(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(_signed(value))
    return found


def _tensor(data: bytes) -> tuple[str, Array]:
    name, code, dims, raw = "", 0, [], None
    for number, value in _fields(data):
        if number == 1:
            dims += _packed(value) if isinstance(value, bytes) else [_signed(value)]
        elif number == 2:
            code = value
        elif number == 8:
            name = value.decode()
        elif number == 9:
            raw = value
        elif number in (4, 5, 6, 7, 10, 11, 13, 14) and value:
            raise ValueError(f"initialiser {name}: data outside raw_data")
    dtype = np.dtype(TYPES[code]).newbyteorder("<")
    array = np.frombuffer(b"" if raw is None else raw, dtype)
    return name, array.reshape(dims).astype(TYPES[code])


def _port(data: bytes) -> Port:
    name, dims = "", list[int | str]()
    dtype: np.dtype[Any] = np.dtype(np.float32)
    for number, value in _fields(data):
        if number == 1:
            name = value.decode()
        elif number == 2:
            for kind, tensor in _fields(value):
                if kind != 1:
                    raise ValueError(f"{name} is no tensor")
                for what, inner in _fields(tensor):
                    if what == 1:
                        dtype = np.dtype(TYPES[inner])
                    else:
                        dims = [_dim(dim) for _, dim in _fields(inner)]
    return Port(name, dtype, tuple(dims))


def _dim(data: bytes) -> int | str:
    for number, value in _fields(data):
        return _signed(value) if number == 1 else value.decode()
    return "?"


def _encode(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(number: int, value: int) -> bytes:
    return _encode(number << 3) + _encode(value)


def _message(number: int, data: bytes) -> bytes:
    return _encode(number << 3 | 2) + _encode(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _node_bytes(node: Node, number: int) -> bytes:
    out = b"".join(_text(1, name) for name in node.inputs) + b"".join(_text(2, name) for name in node.outputs)
    out += _text(3, f"{node.op.lower()}_{number}") + _text(4, node.op)
    return out + b"".join(_message(5, _attribute_bytes(name, value)) for name, value in node.attributes.items())


def _attribute_bytes(name: str, value: Attribute) -> bytes:
    out = _text(1, name)
    if isinstance(value, int):
        return out + _number(3, value) + _number(20, 2)
    if isinstance(value, float):
        return out + _encode(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, str):
        return out + _text(4, value) + _number(20, 3)
    return out + b"".join(_number(8, int(item)) for item in value) + _number(20, 7)


def _tensor_bytes(name: str, array: Array) -> bytes:
    out = b"".join(_number(1, side) for side in array.shape) + _number(2, CODES[array.dtype]) + _text(8, name)
    return out + _message(9, np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


def _port_bytes(port: Port) -> bytes:
    dims = b"".join(_message(1, _text(2, d) if isinstance(d, str) else _number(1, d)) for d in port.dims)
    tensor = _number(1, CODES[port.dtype]) + _message(2, dims)
    return _text(1, port.name) + _message(2, _message(1, tensor))


def fold_constants(graph: Graph) -> Graph:
    """The same graph with nodes of constant inputs (casts of stored weights, their scales) computed, and 1x1 pooling
    (a hint to another engine) gone."""
    known, nodes, renamed = dict(graph.initializers), [], dict[str, str]()
    for node in graph.nodes:
        inputs = [renamed.get(name, name) for name in node.inputs]
        if node.op == "MaxPool":
            renamed[node.outputs[0]] = inputs[0]
        elif all(name in known for name in inputs) and node.op in ("Cast", "Mul"):
            known[node.outputs[0]] = _compute(node, [known[name] for name in inputs])
        else:
            nodes.append(Node(node.op, inputs, list(node.outputs), dict(node.attributes)))
    used = {name for node in nodes for name in node.inputs}
    kept = {name: array for name, array in known.items() if name in used}
    return Graph(graph.name, nodes, kept, list(graph.inputs), list(graph.outputs))


def _compute(node: Node, values: Sequence[Array]) -> Array:
    if node.op == "Cast":
        return values[0].astype(TYPES[ints(node, "to")[0]])
    return np.asarray(values[0] * values[1])
