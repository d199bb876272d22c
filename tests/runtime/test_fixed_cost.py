"""A file of one tile is its symbols and at most 40 bytes, whatever the image: real networks, real coder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coder_overhead import overhead_bytes, plain_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basic.runtime import _ans, bitstream, entropy
from basic.runtime.codec import Codec

LIMIT = 40


@pytest.fixture(scope="module")
def codec(bundle_path: Path) -> Iterator[Codec]:
    with Codec.open(bundle_path, num_threads=1) as opened:
        yield opened


class Recording:
    """The coder, which keeps what it was given and gave."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, np.ndarray]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(_ans, name)

    def encode(self, symbols: np.ndarray, indexes: np.ndarray, tables: _ans.Tables, **options: int) -> bytes:
        stream = _ans.encode(symbols, indexes, tables, **options)
        self.calls.append((stream, indexes.copy()))
        return stream


def encode(codec: Codec, image: Image.Image, quality: int) -> tuple[bytes, bytes, np.ndarray]:
    """(file, the stream of its one tile, its indexes)."""
    recording = Recording()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entropy, "_ans", recording)
        file = codec.encode(image, level=0, quality=quality, tile_size=2048)
    ((stream, indexes),) = recording.calls
    return file, stream, indexes


def picture(kind: str, height: int, width: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    if kind == "flat":
        return Image.new("RGB", (width, height), tuple(rng.integers(0, 256, 3).tolist()))
    if kind == "noise":
        return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
    if kind == "grey":
        return Image.fromarray(rng.integers(0, 256, (height, width)).astype(np.uint8))
    rows, columns = np.mgrid[:height, :width]
    waves = np.stack([np.sin(rows / period) + np.cos(columns / period) for period in rng.uniform(2, 60, 3)], -1)
    return Image.fromarray((waves * 63 + 128 + rng.normal(0, rng.uniform(0, 12), waves.shape)).astype(np.uint8))


@given(
    st.sampled_from(("flat", "noise", "grey", "waves")),
    st.integers(1, 220),
    st.integers(1, 220),
    st.sampled_from((0, 8, 32, 63)),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_a_tile_takes_its_symbols_and_forty_bytes(
    codec: Codec, kind: str, height: int, width: int, quality: int, seed: int
) -> None:
    file, stream, indexes = encode(codec, picture(kind, height, width, seed), quality)
    tables = codec.bundle.tables(0)
    beside = len(file) - len(stream) + overhead_bytes(stream, indexes, plain_tables(tables), int(tables.precision))
    assert 20 < beside <= LIMIT


def test_a_tile_of_many_bytes_takes_no_more_lanes(codec: Codec) -> None:
    """256 KiB would have 32, whose states take 15 bytes and more."""
    file, stream, _ = encode(codec, picture("noise", 1984, 1984, 1), 63)
    assert bitstream.read_header(file).num_tiles == 1
    assert len(stream) > 1 << 18
    assert 1 << stream[0] % 8 <= 16


@pytest.mark.parametrize(("width", "height"), [(1, 1), (127, 127), (128, 4096), (4096, 4096)])
def test_the_frame_leaves_the_coder_its_share(width: int, height: int) -> None:
    head = bitstream.Header(width, height, False, False, False, 0, 0, b"8 bytes.", 4096)
    (frame,) = {len(bitstream.write(head, None, None, [bytes(size)])) - size for size in (1, 300, 2_000_000)}
    assert frame + entropy.MAX_OVERHEAD <= LIMIT
