"""Parts as onnxruntime on a CPU runs them best: without last steps that only move or convert.

What a newcomer gets wrong: a pixel-shuffle is no arithmetic, it moves 4 bytes a value to where a pass over the pixels
fetches them again. Cut off, a synthesis ends in blocks of 8x8 pixels, (B, H/8, W/8, 192) with channel = plane * 64 +
8 * row + column, which `_ans.blocks_to_bytes` turns into pixels in one pass; biases and limits are left to that pass.
Likewise a context ends in a floor and a cast for means and for indexes, two passes each of which `_ans.floors` makes
one; the integers are the same. And a 1x1 convolution whose channels are then shuffled to twice the size is a transposed
one, which writes them where they belong.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .onnx_file import Graph, Node, Port, ints, read, write

Floats = NDArray[np.float32]

BLOCK = 8
CHANNELS = 3 * BLOCK * BLOCK
_OUTPUT = "x_hat"
_FLOAT_END = ("DepthToSpace",)
_INT8_END = ("Reshape", "Transpose", "Reshape")
_INT8_PERM = (0, 3, 1, 4, 2, 5)
_CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A synthesis whose x_hat is (B, H/8, W/8, 192). `bias` (192,), unless it is None, is still to be added, and the
    sum to be cut to 0..1."""

    model: bytes
    bias: Floats | None


def in_blocks(model: bytes) -> Blocks | None:
    """A synthesis that ends in blocks, or None where it does not end in a shuffle that is known here.

    Raises:
        BundleError: the graph cannot be read.
    """
    graph = read(model)
    makers = {name: node for node in graph.nodes for name in node.outputs}
    end: list[Node] = []
    name = _OUTPUT
    while name in makers and makers[name].inputs and len(end) < len(_INT8_END):
        end.append(makers[name])
        name = end[-1].inputs[0]
    if not end or [port.name for port in graph.outputs] != [_OUTPUT]:
        return None
    if _ops(end[:1]) == _FLOAT_END and ints(end[0], "blocksize") == (BLOCK,) and end[0].attributes.get("mode") == "CRD":
        source, cut = end[0].inputs[0], end[:1]
        last = Node("Transpose", [source], [_OUTPUT], {"perm": _CHANNELS_LAST})
    elif _ops(end) == _INT8_END and ints(end[1], "perm") == _INT8_PERM:
        source, cut = end[2].inputs[0], end
        last = Node("Identity", [source], [_OUTPUT])
    else:
        return None
    ends, bias, initializers = [last], None, dict(graph.initializers)
    linear = _linear_end(graph, makers, source)
    if linear is not None:
        ends, weight, bias = linear
        initializers |= weight
    nodes = [node for node in graph.nodes if node not in cut] + ends
    port = Port(_OUTPUT, graph.outputs[0].dtype, ("batch", "height_8", "width_8", CHANNELS))
    made = _used(_transposed(Graph(graph.name, nodes, initializers, graph.inputs, [port])))
    return Blocks(write(made), bias)


def in_floats(model: bytes) -> bytes | None:
    """A context whose means and indexes are float32, to be floored, or None where they do not end in a floor.

    Raises:
        BundleError: the graph cannot be read.
    """
    graph = read(model)
    makers = {name: node for node in graph.nodes for name in node.outputs}
    ports, renamed = list[Port](), dict[str, str]()
    for port in graph.outputs:
        cast = makers.get(port.name)
        if port.dtype == np.float32 or cast is None:
            ports.append(port)
            continue
        floor = makers.get(cast.inputs[0])
        if cast.op != "Cast" or floor is None or floor.op != "Floor" or floor.inputs[0] not in makers:
            return None
        renamed[floor.inputs[0]] = port.name
        ports.append(Port(port.name, np.dtype(np.float32), port.dims))
    nodes = []
    for node in graph.nodes:
        if node.op == "Cast" and node.outputs[0] in renamed.values():
            continue
        outputs = [renamed.get(name, name) for name in node.outputs]
        nodes.append(Node(node.op, [renamed.get(name, name) for name in node.inputs], outputs, node.attributes))
    return write(_used(Graph(graph.name, nodes, graph.initializers, graph.inputs, ports))) if renamed else None


def _transposed(graph: Graph) -> Graph:
    """With transposed convolutions of stride 2 for 1x1 ones that a pixel-shuffle of 2 follows. Biases differ from place
    to place there: they are the weights of one more channel, which is 1."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    initializers, nodes = dict(graph.initializers), list[Node]()
    for node in graph.nodes:
        conv = makers.get(node.inputs[0]) if _is_shuffle_of_2(node) else None
        found = None if conv is None else _pointwise(graph, makers, conv)
        if conv is None or found is None:
            nodes.append(node)
            continue
        weight, bias = found
        name, x = conv.outputs[0], conv.inputs[0]
        first, ones, both = (f"{name}.{what}" for what in ("first", "ones", "both"))
        with_bias = np.concatenate([weight, bias[:, None]], axis=1)  # (4 N, C + 1), rows (channel, dy, dx)
        initializers |= {
            f"{name}.weight": with_bias.T.reshape(-1, len(bias) // 4, 2, 2),
            f"{name}.zero": np.zeros(1, np.int64),
            f"{name}.axis": np.ones(1, np.int64),
            f"{name}.one": np.array(1, np.float32),
        }
        nodes += [
            Node("Slice", [x, f"{name}.zero", f"{name}.axis", f"{name}.axis"], [first]),
            Node("Clip", [first, f"{name}.one", f"{name}.one"], [ones]),
            Node("Concat", [x, ones], [both], {"axis": 1}),
            Node("ConvTranspose", [both, f"{name}.weight"], node.outputs, {"strides": (2, 2), "kernel_shape": (2, 2)}),
        ]
    return Graph(graph.name, nodes, initializers, graph.inputs, graph.outputs)


def _linear_end(
    graph: Graph, makers: Mapping[str, Node], source: str
) -> tuple[list[Node], dict[str, Floats], Floats] | None:
    """Where `source` is cut to 0..1 behind a 1x1 convolution, or a product and a sum: nodes that end in the product,
    channels last, the weights that these need, and the bias. None for anything else."""
    clip = makers.get(source)
    if clip is None or clip.op != "Clip" or [_constant(graph, makers, name) for name in clip.inputs[1:]] != [0.0, 1.0]:
        return None
    linear = makers.get(clip.inputs[0])
    if linear is None:
        return None
    if (found := _pointwise(graph, makers, linear)) is not None:
        weight, bias = found
        last, name = f"{_OUTPUT}.last", f"{_OUTPUT}.weight"
        turned = Node("Transpose", [linear.inputs[0]], [last], {"perm": _CHANNELS_LAST})
        return [turned, Node("MatMul", [last, name], [_OUTPUT])], {name: np.ascontiguousarray(weight.T)}, bias
    added = _constant(graph, makers, linear.inputs[-1])
    product = makers.get(linear.inputs[0])
    if linear.op != "Add" or added is None or added.shape != (CHANNELS,) or product is None or product.op != "MatMul":
        return None
    return [Node("Identity", [linear.inputs[0]], [_OUTPUT])], {}, added


def _is_shuffle_of_2(node: Node) -> bool:
    return node.op == "DepthToSpace" and ints(node, "blocksize") == (2,) and node.attributes.get("mode") == "CRD"


def _pointwise(graph: Graph, makers: Mapping[str, Node], conv: Node) -> tuple[Floats, Floats] | None:
    """Weights (O, I) and biases (O,) of a plain 1x1 convolution with both; None for anything else."""
    if conv.op != "Conv" or len(conv.inputs) != 3:
        return None
    weight, bias = (_constant(graph, makers, name) for name in conv.inputs[1:])
    if weight is None or bias is None or weight.ndim != 4 or weight.shape[2:] != (1, 1):
        return None
    plain = {"strides": (1, 1), "pads": (0, 0, 0, 0), "group": (1,)}
    return (
        None if any(ints(conv, name, value) != value for name, value in plain.items()) else (weight[:, :, 0, 0], bias)
    )


def _constant(graph: Graph, makers: Mapping[str, Node], name: str) -> Floats | None:
    """An initialiser as float32, stored so or cast to it."""
    if name in makers and makers[name].op == "Cast":
        name = makers[name].inputs[0]
    found = graph.initializers.get(name)
    return None if found is None else found.astype(np.float32)


def _ops(nodes: list[Node]) -> tuple[str, ...]:
    return tuple(node.op for node in nodes)


def _used(graph: Graph) -> Graph:
    """Without the nodes and initialisers that no output needs."""
    wanted = {port.name for port in graph.outputs}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            nodes.append(node)
    kept = {name: array for name, array in graph.initializers.items() if name in wanted}
    return Graph(graph.name, nodes[::-1], kept, graph.inputs, graph.outputs)
