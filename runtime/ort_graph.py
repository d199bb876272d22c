"""Parts as onnxruntime on a CPU runs them best: without last steps that only move or convert.

What a newcomer gets wrong: a pixel-shuffle is no arithmetic, it moves 4 bytes a value to where a pass over the pixels
fetches them again. Cut off, a synthesis ends in blocks of 8x8 pixels, (B, H/8, W/8, 192) with channel = plane * 64 +
8 * row + column, which `_ans.blocks_to_bytes` turns into pixels in one pass. Likewise a context ends in a floor and a
cast for means and for indexes, two passes each of which `_ans.floors` makes one; the integers are the same.
"""

import numpy as np

from .onnx_file import Graph, Node, Port, ints, read, write

BLOCK = 8
CHANNELS = 3 * BLOCK * BLOCK
_OUTPUT = "x_hat"
_FLOAT_END = ("DepthToSpace",)
_INT8_END = ("Reshape", "Transpose", "Reshape")
_INT8_PERM = (0, 3, 1, 4, 2, 5)


def in_blocks(model: bytes) -> bytes | None:
    """A synthesis whose x_hat is (B, H/8, W/8, 192), or None where it does not end in a shuffle that is known here.

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
        last = Node("Transpose", [source], [_OUTPUT], {"perm": (0, 2, 3, 1)})
    elif _ops(end) == _INT8_END and ints(end[1], "perm") == _INT8_PERM:
        source, cut = end[2].inputs[0], end
        last = Node("Identity", [source], [_OUTPUT])
    else:
        return None
    nodes = [node for node in graph.nodes if node not in cut] + [last]
    port = Port(_OUTPUT, graph.outputs[0].dtype, ("batch", "height_8", "width_8", CHANNELS))
    return write(_used(Graph(graph.name, nodes, graph.initializers, graph.inputs, [port])))


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
