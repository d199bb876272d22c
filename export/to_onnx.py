"""A small ONNX writer: opset 18, weights as float16 initialisers with a Cast, nothing in the file but the graph.

Written node by node rather than traced: the file repeats byte for byte, holds no path and no trace of the machine, and
does not change with the tracer's version.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 8

Array = NDArray[Any]
Dims = Sequence[int | str]


class Graph:
    """Builds one graph; every method adds a node and returns the name of its output."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.num_parameters = 0
        self.convolutions: dict[str, tuple[str, str]] = {}  # layer -> its input and output
        self._constants: dict[tuple[str, bytes], str] = {}

    def input(self, name: str, dims: Dims, dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(dims)))
        return name

    def output(self, value: str, name: str, dims: Dims, dtype: int = TensorProto.FLOAT) -> None:
        """Give the last value of a chain its public name."""
        for node in self.nodes:
            for i, produced in enumerate(node.output):
                if produced == value:
                    node.output[i] = name
            for i, read in enumerate(node.input):
                if read == value:
                    node.input[i] = name
        for layer, pair in self.convolutions.items():
            self.convolutions[layer] = (name if pair[0] == value else pair[0], name if pair[1] == value else pair[1])
        self.outputs.append(helper.make_tensor_value_info(name, dtype, list(dims)))

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Array) -> str:
        """A small constant as it is (clip bounds and the like), shared between its uses."""
        key = (f"{value.dtype.str}{value.shape}", value.tobytes())
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(value, self._constants[key]))
        return self._constants[key]

    def weight(self, name: str, value: Array, store: type = np.float16) -> str:
        """A float parameter, stored as `store` and cast to float32 in the graph; biases (1-D) stay float32."""
        self.num_parameters += value.size
        kept: Array = value.astype(np.float32 if value.ndim == 1 else store)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name if kept.dtype == np.float32 else self.add("Cast", [name], to=TensorProto.FLOAT)

    def integer_conv(self, x: str, name: str, weight: Array, bias: Array, shift: Array, depthwise: bool = False) -> str:
        """Convolution by int16 weights whose sums come out divided by 2^shift (per output channel), exactly.

        `bias` (o,) float64 is in units of the sums. Scaling is by powers of two, so nothing is rounded.
        """
        self.num_parameters += weight.size + bias.size
        scale = np.ldexp(np.float32(1.0), -shift.astype(np.int32)).astype(np.float32)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(weight), f"{name}.weight"))
        real = self.add("Cast", [f"{name}.weight"], to=TensorProto.FLOAT)
        real = self.add("Mul", [real, self.constant(scale.reshape(-1, 1, 1, 1))])
        scaled = np.ldexp(bias, -shift.astype(np.int32)).astype(np.float32)
        self.initializers.append(numpy_helper.from_array(scaled, f"{name}.bias"))
        return self._conv([x, real, f"{name}.bias"], weight.shape[-1], 1, len(weight) if depthwise else 1)

    def conv(self, x: str, name: str, weight: Array, bias: Array, stride: int = 1, group: int = 1) -> str:
        """Convolution of (o, i/group, k, k) weights; padding 1 where k is 3, else none."""
        inputs = [x, self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)]
        out = self._conv(inputs, weight.shape[-1], stride, group)
        self.convolutions[name] = (x, out)
        return out

    def matmul(self, x: str, name: str, weight: Array, bias: Array | None = None) -> str:
        """1x1 convolution of a channels-last tensor (B, h, w, i) by (o, i) weights -> (B, h, w, o)."""
        h = self.add("MatMul", [x, self.weight(f"{name}.weight", weight.T)])
        return h if bias is None else self.add("Add", [h, self.weight(f"{name}.bias", bias)])

    def quantize(self, x: str, scale: np.float32, zero: np.uint8) -> str:
        """uint8 round(x / scale) + zero, saturated."""
        return self.add("QuantizeLinear", [x, self.constant(np.asarray(scale)), self.constant(np.asarray(zero))])

    def dequantize(self, q: str, scale: np.float32, zero: np.uint8) -> str:
        """The inverse of `quantize`."""
        return self.add("DequantizeLinear", [q, self.constant(np.asarray(scale)), self.constant(np.asarray(zero))])

    def int8_weight(self, name: str, values: Array, scales: Array, axis: int) -> str:
        """An int8 or int32 parameter with one float32 scale per index of `axis`, as the real numbers it stands for."""
        self.num_parameters += values.size
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(scales), f"{name}.scale"))
        return self.add("DequantizeLinear", [name, f"{name}.scale"], axis=axis)

    def conv_of(self, inputs: list[str], kernel: int, group: int = 1) -> str:
        """Stride 1 convolution of values that are there already (dequantised weights, say)."""
        return self._conv(inputs, kernel, 1, group)

    def _conv(self, inputs: list[str], kernel: int, stride: int, group: int) -> str:
        pads = [1 if kernel == 3 else 0] * 4
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "dilations": [1, 1]}
        return self.add("Conv", inputs, pads=pads, group=group, **sizes)

    def clip(self, x: str, low: float, high: float) -> str:
        return self.add("Clip", [x, self.constant(np.float32(low)), self.constant(np.float32(high))])  # type: ignore[arg-type]

    def serialize(self) -> bytes:
        """The checked model's bytes, with every name deterministic."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="basic")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def count_macs_per_pixel(data: bytes, latent_stride: int, spatial: tuple[int, int] = (256, 256)) -> float:
    """Multiplications of all convolutions and matrix products of a graph, per image pixel, from inferred shapes.

    `latent_stride`: image pixels a pixel of the first input stands for, along one side (1 for x, 16, 32 or 64). A
    transposed convolution multiplies once per input position and weight, a plain one per output position and weight.
    """
    model = onnx.load_from_string(data)
    height, width = (side // latent_stride for side in spatial)
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, (1, dims[1].dim_value, height, width), strict=True):
            if not dim.dim_value:
                dim.dim_value = size
    for value in model.graph.output:  # let the inferred sizes through
        value.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in [*model.graph.value_info, *model.graph.input, *model.graph.output]
    } | weights
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += int(np.prod(shapes[node.output[0]][2:])) * int(np.prod(shapes[node.input[1]]))
        elif node.op_type == "ConvTranspose":
            total += int(np.prod(shapes[node.input[0]][2:])) * int(np.prod(shapes[node.input[1]]))
        elif node.op_type == "MatMul":
            total += int(np.prod(shapes[node.output[0]])) * shapes[node.input[1]][0]
        elif node.op_type == "Gemm":
            raise ValueError(
                f"{node.name}: a Gemm; parts hold convolutions and MatMul only, so its cost is not counted"
            )
    return total / (spatial[0] * spatial[1])
