"""Traffic is counted node by node, weights included, constants folded."""

import sys

import numpy as np
import pytest

from basic.benchmarks.traffic import traffic_bytes

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def small_model() -> bytes:
    """x (1,4,H,W) -> 1x1 convolution with fp16 weights (8 channels) -> Relu -> Reshape to its own shape."""
    weight = numpy_helper.from_array(np.ones((8, 4, 1, 1), np.float16), "w16")
    nodes = [
        helper.make_node("Cast", ["w16"], ["w"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Reshape", ["r", "s"], ["out"]),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, "H", "W"])
    out = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1, 8, "H", "W"])
    graph = helper.make_graph(nodes, "small", [x], [out], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 24)])
def test_every_tensor_counts_once_per_use(height: int, width: int) -> None:
    pixels = height * width
    convolution = 4 * (4 * pixels + 8 * 4 + 8 * pixels)
    relu = 4 * 2 * 8 * pixels
    assert traffic_bytes(small_model(), {"x": (1, 4, height, width)}) == convolution + relu


def test_without_onnx_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert traffic_bytes(b"not even read", {"x": (1, 4, 8, 8)}) is None
