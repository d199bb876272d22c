"""Bytes that a part moves, counted from its ONNX graph.

What a newcomer gets wrong: this is the traffic of the graph as written, every node reading its inputs and weights and
writing its outputs once. Engines fuse nodes and keep tensors in cache, so it is an upper bound of what goes to memory,
and good for comparing parts, which is what the fit needs.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

_FREE = frozenset(
    {"Constant", "Shape", "Size", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "ConstantOfShape"}
)
"""Operators that look at shapes only or rename a tensor."""


def traffic_bytes(model: bytes, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Bytes read and written by all nodes of an ONNX model for inputs of these shapes.

    Nodes that depend on no input (a Cast of fp16 weights) run once when a session opens, so they count for nothing and
    their results count as weights. None where the onnx package is missing or a tensor's shape cannot be inferred.
    """
    try:
        import onnx
    except ImportError:
        return None
    graph_model = onnx.load_model_from_string(model)
    _fix_inputs(graph_model, shapes)
    inferred = onnx.shape_inference.infer_shapes(graph_model, data_prop=True)
    sizes = _tensor_bytes(inferred)
    constant = {tensor.name for tensor in inferred.graph.initializer}
    total = 0
    for node in inferred.graph.node:
        if all(name in constant for name in node.input if name):
            constant.update(node.output)
        elif node.op_type not in _FREE:
            names = [name for name in (*node.input, *node.output) if name]
            if any(name not in sizes for name in names):
                return None
            total += sum(sizes[name] for name in names)
    return total


def _fix_inputs(model: "ModelProto", shapes: Mapping[str, tuple[int, ...]]) -> None:
    for tensor in model.graph.input:
        for dim, size in zip(tensor.type.tensor_type.shape.dim, shapes[tensor.name], strict=True):
            dim.Clear()
            dim.dim_value = size
    for tensor in model.graph.output:  # their symbolic sizes would contradict the fixed inputs
        tensor.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def _tensor_bytes(model: "ModelProto") -> dict[str, int]:
    """Name -> bytes of every tensor with a known shape and type."""
    import onnx

    sizes = {
        tensor.name: int(np.prod(tensor.dims, dtype=np.int64)) * _item_bytes(tensor.data_type)
        for tensor in model.graph.initializer
    }
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        tensor_type = info.type.tensor_type
        dims = tensor_type.shape.dim
        known = tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
        if known and tensor_type.elem_type != onnx.TensorProto.UNDEFINED:
            count = int(np.prod([dim.dim_value for dim in dims], dtype=np.int64))
            sizes[info.name] = count * _item_bytes(tensor_type.elem_type)
    return sizes


def _item_bytes(elem_type: int) -> int:
    from onnx import helper

    return int(np.dtype(helper.tensor_dtype_to_np_dtype(elem_type)).itemsize)
