"""Laws of the side chunks: lossless, small where alpha is simple, every malformed payload refused."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from basic.runtime import alpha
from basic.runtime.errors import BitstreamError

planes = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(planes)
def test_alpha_round_trip(plane: np.ndarray) -> None:
    assert np.array_equal(alpha.unpack_alpha(alpha.pack_alpha(plane), *plane.shape), plane)


@given(planes, st.integers(0, 3))
def test_every_filter_undoes_itself(plane: np.ndarray, kind: int) -> None:
    payload = bytes([kind]) + zlib.compress(alpha._filter(plane, kind).tobytes())
    assert np.array_equal(alpha.unpack_alpha(payload, *plane.shape), plane)


def test_simple_alpha_is_small() -> None:
    assert len(alpha.pack_alpha(np.full((512, 768), 255, np.uint8))) < 450
    ramp = np.add.outer(np.arange(512), np.arange(768)).astype(np.uint8)
    assert len(alpha.pack_alpha(ramp)) < 800


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\x04" + zlib.compress(bytes(12)), "alpha filter 4"),
        (b"\x00", "cut or followed"),
        (b"\x00garbage", "damaged zlib stream"),
        (b"\x00" + zlib.compress(bytes(11)), "expected 12 bytes for 4x3 pixels, got 11"),
        (b"\x00" + zlib.compress(bytes(13)), "more than 12 bytes"),
        (b"\x00" + zlib.compress(bytes(1 << 24)), "more than 12 bytes"),
        (b"\x00" + zlib.compress(bytes(12))[:-1], "cut or followed"),
        (b"\x00" + zlib.compress(bytes(12)) + b"x", "cut or followed"),
    ],
)
def test_malformed_alpha_is_refused(payload: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        alpha.unpack_alpha(payload, 3, 4)


def test_icc_round_trip_and_bounds() -> None:
    profile = bytes(range(256)) * 12
    assert alpha.unpack_icc(alpha.pack_icc(profile)) == profile
    with pytest.raises(BitstreamError, match="more than 16777216 bytes"):
        alpha.unpack_icc(zlib.compress(bytes(alpha.MAX_ICC_BYTES + 1)))
    with pytest.raises(BitstreamError, match="empty"):
        alpha.unpack_icc(zlib.compress(b""))
