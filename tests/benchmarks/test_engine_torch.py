"""Laws of PyTorch as a yardstick: it computes what the other engines compute."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.fx import GraphModule

from basic.benchmarks.engine_torch import TorchEngine
from basic.benchmarks.engines import open_codec, start
from basic.benchmarks.gpu import part_inputs
from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.conformance import differing_parts
from basic.runtime.errors import EngineError


@pytest.mark.parametrize("compiled", [False, True])
def test_integer_parts_are_exact(float_bundle_path: Path, compiled: bool) -> None:
    bundle = Bundle.open(float_bundle_path)
    engine = TorchEngine(compiled, num_threads=1, backend="eager")  # traced, not translated to C++
    assert differing_parts(engine, bundle, 0) == []


def test_every_part_is_compiled_for_every_shape(float_bundle_path: Path) -> None:
    """Parts share the code of one class; eight compilations of one code, and PyTorch runs the rest eagerly."""
    bundle = Bundle.open(float_bundle_path)
    compiled: list[str] = []

    def backend(graph: GraphModule, inputs: object) -> GraphModule:
        compiled.append("graph")
        return graph

    engine = TorchEngine(True, num_threads=1, backend=backend)
    shapes, expected = ((64, 64), (64, 128), (128, 64)), 0
    for level in bundle.levels:
        for name, part in bundle.level(level).parts.items():
            session = engine.open(bundle, level, name)
            for height, width in shapes:
                session.run(part_inputs(part, height, width, 1, as_bytes=False))
            expected += len(shapes)
    assert expected > 20 and len(compiled) == expected


def test_files_cross(float_bundle_path: Path, data_folder: Path) -> None:
    bundle = Bundle.open(float_bundle_path)
    photo = Image.open(data_folder / "kodim07.png").convert("RGB").crop((0, 0, 192, 128))
    level = max(bundle.levels)
    with open_codec(bundle, "torch", 1) as torch, Codec.open(bundle, num_threads=1) as ort:
        for one, other in ((torch, ort), (ort, torch)):
            data = one.encode(photo, level=level)
            assert np.array_equal(one.decode_latents(data), other.decode_latents(data))
            far = np.abs(np.asarray(one.decode(data), int) - np.asarray(other.decode(data), int)).max()
            assert far <= 1


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(EngineError, match="expected one of ort"):
        start("torchscript")
