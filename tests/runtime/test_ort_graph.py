"""A synthesis without its pixel-shuffle gives the same picture."""

from pathlib import Path

import numpy as np
import pytest

from basic.runtime.bundle import Bundle
from basic.runtime.engine import open_engine
from basic.runtime.errors import BundleError
from basic.runtime.onnx_file import Graph, Node, Port, read, write
from basic.runtime.ort_graph import in_blocks

RNG = np.random.default_rng(3)


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
        assert in_blocks(model) is not None, f"level {level} ends in another way"
        whole, cut = engine.open_model(model, "whole"), engine.open(bundle, level, "synthesis")  # type: ignore[attr-defined]
        y_hat = RNG.integers(-3, 4, (2, bundle.latent_channels, 8, 12)).astype(np.float32)
        inputs = {"y_hat": y_hat, "inverse_gain": bundle.inverse_gain(32)}
        expected = whole.run(inputs)["x_hat"]
        assert np.array_equal(cut.run(inputs)["x_hat"], expected)
        assert np.array_equal(cut.run_blocks(inputs), shuffled(expected))  # type: ignore[attr-defined]
        assert np.array_equal(whole.run_blocks(inputs), shuffled(expected)), "a graph that could not be cut"


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
