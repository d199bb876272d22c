"""Laws of the half precision that TensorRT gets: near the float graph, casts at its ends alone.

PyTorch runs it, since it rounds after every node on a CPU too; onnxruntime would leave out the casts between.
"""

import numpy as np
import onnxruntime
import pytest
import torch

from basic.benchmarks.engine_torch import GraphModule
from basic.export import graphs, int8, verify
from basic.export.slim import Cutter
from basic.runtime.onnx_file import read
from basic.runtime.trt_graph import Form, rewrite
from basic.training.checkpoint import SHIPPED, load_checkpoint
from basic.training.structure.levels import default_levels


def run(model: bytes, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def run_rounding(model: bytes, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    module = GraphModule(model)
    with torch.inference_mode():
        found = module(*(torch.from_numpy(feed[name]) for name in module.inputs))
    return dict(zip(module.outputs, (tensor.numpy() for tensor in found), strict=True))


@pytest.mark.parametrize("part", ["analysis", "synthesis"])
def test_the_full_level_in_half_precision(part: str) -> None:
    model = load_checkpoint(SHIPPED).model
    widths = default_levels(model.arch, 8)[7].widths
    cut = Cutter(model, widths)
    graph = {"analysis": graphs.analysis_graph, "synthesis": graphs.synthesis_graph}[part](cut).serialize()
    feeds = dict(
        zip(("analysis", "synthesis"), int8.transform_feeds(model, widths, verify.load_images(None)[:1]), strict=True)
    )
    feed = feeds[part][2]
    made = rewrite(graph, part, Form(as_bytes=False))
    nodes = read(made).nodes
    assert sum(node.op == "Cast" for node in nodes) <= 4  # at the ends, none between the blocks
    assert {array.dtype for array in read(made).initializers.values()} == {np.dtype(np.float16)} | (
        {np.dtype(np.float32)} if part == "synthesis" else set()
    )
    found = run_rounding(made, feed)
    for name, expected in run(graph, feed).items():
        error = np.sqrt(np.mean((found[name] - expected) ** 2))
        assert 0 < error < (1 / 500 if name == "x_hat" else 1 / 20), name  # of a grey level a half; of a symbol
