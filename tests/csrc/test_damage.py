"""Damage is an error or, where nothing can notice it, other symbols: never a crash, a hang or another exception."""

import numpy as np
import pytest
from coder_cases import coder, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime import _ans
from basic.runtime.errors import BitstreamError

TABLES = coder()


def decodes(stream: bytes, indexes: np.ndarray) -> np.ndarray | None:
    """The symbols, or None where the damage was noticed."""
    try:
        decoder = _ans.Decoder(stream, TABLES)
        symbols = decoder.decode(indexes)
        decoder.finish()
    except BitstreamError:
        return None
    return symbols


@pytest.mark.parametrize("num_lanes", [1, 4, 32])
def test_cut_at_every_byte(num_lanes):
    symbols, indexes = gaussian(1500, escapes=3)
    stream = _ans.encode(symbols, indexes, TABLES, num_lanes)
    for size in range(len(stream)):
        assert decodes(stream[:size], indexes) is None


@pytest.mark.parametrize("num_lanes", [1, 8, 32])
def test_every_bit_flipped(num_lanes):
    """The final states notice almost every flip; the distance of a far escape leaves no trace in them (36 bits)."""
    symbols, indexes = gaussian(1200, escapes=1)
    stream = _ans.encode(symbols, indexes, TABLES, num_lanes)
    num_silent = 0
    for bit in range(8 * len(stream)):
        damaged = bytearray(stream)
        damaged[bit // 8] ^= 1 << bit % 8
        result = decodes(bytes(damaged), indexes)
        num_silent += result is not None
        assert result is None or not np.array_equal(result, symbols)
    assert num_silent <= 38


@given(st.binary(max_size=400), st.integers(0, 3000))
@settings(max_examples=400, deadline=None)
def test_random_bytes(stream, num_symbols):
    decodes(stream, gaussian(num_symbols)[1])


@given(st.integers(0, 5), st.binary(min_size=8, max_size=600), st.integers(0, 3000))
@settings(max_examples=400, deadline=None)
def test_random_bytes_behind_a_good_header(log_lanes, rest, num_symbols):
    decodes(bytes([8 * 3 * (log_lanes > 0) + log_lanes]) + rest, gaussian(num_symbols)[1])


@pytest.mark.parametrize("num_lanes", [1, 32])
def test_wrong_number_of_symbols(num_lanes):
    symbols, indexes = gaussian(2000)
    stream = _ans.encode(symbols, indexes, TABLES, num_lanes)
    for wrong in (0, 1, 255, 256, 1999):
        assert decodes(stream, indexes[:wrong]) is None
    assert decodes(stream, np.append(indexes, indexes[:5])) is None
    assert decodes(stream + b"\0\0", indexes) is None
    assert decodes(stream + b"\0", indexes) is None


def test_wrong_indexes():
    symbols, indexes = gaussian(2000)
    stream = _ans.encode(symbols, indexes, TABLES)
    assert decodes(stream, np.roll(indexes, 1)) is None


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"", "inside its header"),
        (b"\x00\x00\x00", "inside its header"),
        (b"\x06" + bytes(20), "must be 0..5, got 6"),
        (b"\xff" * 20, "more than 6 bytes"),
        (b"\x81\x80\x00" + b"\xff" * 20, "ends in a zero byte"),
        (b"\x08" + b"\xff" * 20, "only one lane"),
        (b"\x00" + bytes(4), "below 65536"),
        (b"\x00\x00\x00\x01\x00\x00", "half a word"),
        (b"\x0d\x01\x00\x01\x00", "too early"),
    ],
)
def test_header_errors_by_name(stream, message):
    with pytest.raises(BitstreamError, match=message):
        _ans.Decoder(stream, TABLES)


def test_a_failed_decoder_stays_failed():
    symbols, indexes = gaussian(500)
    decoder = _ans.Decoder(_ans.encode(symbols, indexes, TABLES)[:-20], TABLES)
    with pytest.raises(BitstreamError, match="ends too early"):
        decoder.decode(indexes)
    with pytest.raises(BitstreamError, match="earlier call"):
        decoder.decode(indexes[:1])
    with pytest.raises(BitstreamError, match="earlier call"):
        decoder.finish()
