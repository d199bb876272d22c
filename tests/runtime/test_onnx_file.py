"""Laws of the small ONNX reader and writer: a bundle's graphs survive it, others are refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from basic.runtime.bundle import Bundle
from basic.runtime.errors import BundleError
from basic.runtime.onnx_file import fold_constants, infer_shapes, read, write


@pytest.fixture(scope="module")
def models(float_bundle_path: Path) -> dict[str, bytes]:
    bundle = Bundle.open(float_bundle_path)
    return {name: bundle.read(part.file) for name, part in bundle.level(max(bundle.levels)).parts.items()}


def test_a_graph_survives_reading_and_writing(models: dict[str, bytes]) -> None:
    for data in models.values():
        before = onnx.load_from_string(data).graph
        after = onnx.load_from_string(write(read(data))).graph
        assert list(before.input) == list(after.input) and list(before.output) == list(after.output)
        assert list(before.initializer) == list(after.initializer)
        for one, other in zip(before.node, after.node, strict=True):
            assert (one.op_type, list(one.input), list(one.output)) == (
                other.op_type,
                list(other.input),
                list(other.output),
            )
            attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in (one, other)]
            assert attributes[0] == attributes[1]
        assert write(read(data)) == write(read(write(read(data))))


def test_shapes_are_those_that_onnx_infers(models: dict[str, bytes]) -> None:
    for name, data in models.items():
        graph = read(data)
        shapes = {
            port.name: tuple(dim if isinstance(dim, int) else {"batch": 2}.get(dim, 4) for dim in port.dims)
            for port in graph.inputs
        }
        if "x" in shapes:
            shapes["x"] = (2, 3, 128, 64)
        found = infer_shapes(graph, shapes)
        model = onnx.load_from_string(data)
        for value in model.graph.input:
            for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
                dim.dim_value = size
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        for value in [*inferred.value_info, *inferred.output]:
            expected = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            assert found[value.name] == expected, (name, value.name)


def test_folding_leaves_no_stored_weight_to_cast(models: dict[str, bytes]) -> None:
    for data in models.values():
        graph = fold_constants(read(data))
        assert {node.op for node in graph.nodes}.isdisjoint({"MaxPool"})
        assert all(array.dtype == np.float32 for array in graph.initializers.values())
        produced = {name for node in graph.nodes for name in node.outputs}
        known = produced | set(graph.initializers) | {port.name for port in graph.inputs}
        assert all(name in known for node in graph.nodes for name in node.inputs)


def test_what_is_no_model_is_refused(models: dict[str, bytes]) -> None:
    for data in (b"", b"not a network", models["hyper"][:500], models["hyper"][1:]):
        with pytest.raises(BundleError, match="ONNX"):
            read(data)
