"""A synthesis without its pixel-shuffle gives the same picture, up to the order in which a processor adds."""

from pathlib import Path

import numpy as np
import pytest

from basic.runtime.bundle import Bundle
from basic.runtime.engine import open_engine
from basic.runtime.errors import BundleError
from basic.runtime.onnx_file import Graph, Node, Port, read, write
from basic.runtime.ort_graph import _transposed, in_blocks, in_floats

RNG = np.random.default_rng(3)
SUMS = 1e-5  # what another order of additions may change, of 1


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> Bundle:
    return Bundle.open(bundle_path)


def shuffled(x_hat: np.ndarray) -> np.ndarray:
    b, _, h, w = x_hat.shape
    return x_hat.reshape(b, 3, h // 8, 8, w // 8, 8).transpose(0, 2, 4, 1, 3, 5).reshape(b, h // 8, w // 8, 192)


def test_every_level_is_cut_and_gives_the_same(bundle: Bundle) -> None:
    engine = open_engine("ort", 1)
    for level in bundle.levels:
        model = bundle.read(bundle.level(level).parts["synthesis"].file)
        made = in_blocks(model)
        assert made is not None and made.bias is not None, f"level {level} ends in another way"
        whole, cut = engine.open_model(model, "whole"), engine.open(bundle, level, "synthesis")  # type: ignore[attr-defined]
        y_hat = RNG.integers(-3, 4, (2, bundle.latent_channels, 8, 12)).astype(np.float32)
        inputs = {"y_hat": y_hat, "inverse_gain": bundle.inverse_gain(32)}
        expected = whole.run(inputs)["x_hat"]
        assert np.abs(cut.run(inputs)["x_hat"] - expected).max() < SUMS
        blocks, bias = cut.run_blocks(inputs)  # type: ignore[attr-defined]
        assert np.array_equal(bias, made.bias)
        assert np.abs(np.clip(blocks + bias, 0.0, 1.0) - shuffled(expected)).max() < SUMS
        blocks, bias = whole.run_blocks(inputs)
        assert bias is None and np.array_equal(blocks, shuffled(expected)), "a graph that could not be cut"


def test_other_ends_are_left_alone(bundle: Bundle) -> None:
    level = min(bundle.levels)
    graph = read(bundle.read(bundle.level(level).parts["synthesis"].file))
    shuffle = graph.nodes[-1]
    assert shuffle.op == "DepthToSpace"
    for changed in ({"mode": "DCR"}, {"blocksize": 4}):
        other = Node("DepthToSpace", shuffle.inputs, shuffle.outputs, shuffle.attributes | changed)
        nodes = [*graph.nodes[:-1], other]
        assert in_blocks(write(Graph(graph.name, nodes, graph.initializers, graph.inputs, graph.outputs))) is None
    port = Port("y_hat", np.dtype(np.float32), ("batch", 4))
    for nodes in ([], [Node("Identity", ["y_hat"], ["x_hat"])]):
        outputs = [Port("x_hat", np.dtype(np.float32), ("batch", 4))]
        assert in_blocks(write(Graph("synthesis", nodes, {}, [port], outputs))) is None
    with pytest.raises(BundleError, match="export the bundle again"):
        in_blocks(b"no graph")


def test_a_shuffle_to_twice_the_size_is_a_transposed_convolution() -> None:
    """With the bias of each place; one that is no plain convolution stays."""
    engine, weight, bias = open_engine("ort", 1), RNG.normal(size=(20, 7, 1, 1)), RNG.normal(size=20)
    stored = {"w": weight.astype(np.float16), "b": bias.astype(np.float32)}
    port = Port("y_hat", np.dtype(np.float32), ("batch", 7, "height", "width"))
    x = RNG.normal(size=(2, 7, 3, 5)).astype(np.float32)

    def run(model: bytes) -> np.ndarray:
        return engine.open_model(model, "up").run({"y_hat": x})["x_hat"]  # type: ignore[attr-defined, no-any-return]

    for stride, mode, changes in ((1, "CRD", True), (2, "CRD", False), (1, "DCR", False)):
        nodes = [
            Node("Cast", ["w"], ["w32"], {"to": 1}),
            Node("Conv", ["y_hat", "w32", "b"], ["wide"], {"strides": (stride, stride)}),
            Node("DepthToSpace", ["wide"], ["x_hat"], {"blocksize": 2, "mode": mode}),
        ]
        graph = Graph("up", nodes, stored, [port], [Port("x_hat", np.dtype(np.float32), ("batch", 5, "h", "w"))])
        made = _transposed(graph)
        assert ("ConvTranspose" in [node.op for node in made.nodes]) == changes
        assert np.abs(run(write(made)) - run(write(graph))).max() < SUMS


def test_limits_other_than_those_of_a_picture_stay(bundle: Bundle) -> None:
    graph = read(bundle.read(bundle.level(min(bundle.levels)).parts["synthesis"].file))
    (clip,) = [node for node in graph.nodes if node.outputs == graph.nodes[-1].inputs]
    graph.initializers[clip.inputs[2]] = np.array(0.5, np.float32)
    made = in_blocks(write(graph))
    assert made is not None and made.bias is None
    assert "Clip" in [node.op for node in read(made.model).nodes]


def test_contexts_without_their_floors_give_the_same_integers(bundle: Bundle) -> None:
    engine = open_engine("ort", 1)
    for level in bundle.levels:
        inputs = {"state": RNG.normal(0, 6, (2, bundle.level(level).widths["context.state"], 4, 6)).astype(np.float32)}
        for group in range(len(bundle.level(level).plan)):
            model = bundle.read(bundle.level(level).parts[f"context_g{group}"].file)
            assert in_floats(model) is not None
            whole = engine.open_model(model, "whole")  # type: ignore[attr-defined]
            expected, found = whole.run(inputs), engine.open_graph(bundle, level, f"context_g{group}").run(inputs)  # type: ignore[attr-defined]
            assert expected.keys() == found.keys()
            for name, value in expected.items():
                assert found[name].dtype == value.dtype
                assert np.array_equal(found[name], value)
            y_hat = RNG.integers(-40, 40, expected["means"].shape) / np.float32(8)
            inputs = {"state": expected.get("state_out", inputs["state"]), "y_hat": y_hat.astype(np.float32)}


def test_outputs_that_are_not_floored_are_left_alone(bundle: Bundle) -> None:
    level = min(bundle.levels)
    assert in_floats(bundle.read(bundle.level(level).parts["hyper"].file)) is None
    graph = read(bundle.read(bundle.level(level).parts["context_g0"].file))
    for node in graph.nodes:
        if node.op == "Floor":
            node.op = "Round"
    assert in_floats(write(graph)) is None
