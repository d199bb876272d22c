"""What needs a GPU: the engines there against the oracle and the CPU. Run with: pytest -m gpu"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.conformance import differing_parts
from basic.runtime.engine import Engine, open_engine
from basic.runtime.errors import EngineError

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=["trt", "ort-cuda"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    try:
        opened = open_engine(request.param)
    except EngineError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


def test_integer_parts_are_exact(engine: Engine, float_bundle_path: Path) -> None:
    bundle = Bundle.open(float_bundle_path)
    assert all(differing_parts(engine, bundle, level) == [] for level in bundle.levels)


def test_files_cross_and_lose_nothing_visible(engine: Engine, float_bundle_path: Path, data_folder: Path) -> None:
    bundle = Bundle.open(float_bundle_path)
    here, cpu = Codec(bundle, engine), Codec.open(bundle, "ort")
    photo = Image.open(data_folder / "kodim23.png").convert("RGB")
    for level in bundle.levels:
        for quality in (8, 56):
            mine, other = (codec.encode(photo, level=level, quality=quality, tile_size=512) for codec in (here, cpu))
            for data in (mine, other):
                assert np.array_equal(here.decode_latents(data), cpu.decode_latents(data))
            errors = [
                np.mean((np.asarray(codec.decode(data), float) - np.asarray(photo)) ** 2)
                for codec, data in ((here, mine), (cpu, other))
            ]
            assert 10 * np.log10(errors[0] / errors[1]) < 0.02


def test_a_batch_equals_single_images(engine: Engine, float_bundle_path: Path, data_folder: Path) -> None:
    codec = Codec(Bundle.open(float_bundle_path), engine)
    photos = [Image.open(data_folder / f"{name}.png").convert("RGB") for name in ("kodim07", "kodim23")] * 2
    files = codec.encode_batch(photos, level=0)
    for data, latents in zip(files, [codec.decode_latents(codec.encode(p, level=0)) for p in photos], strict=True):
        difference = np.abs(codec.decode_latents(data) - latents)
        assert (difference != 0).mean() < 0.001  # another batch may choose other kernels for the transform
