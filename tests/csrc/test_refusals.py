"""Wrong arguments are refused by name before anything is read."""

import numpy as np
import pytest
from coder_cases import coder, gaussian

from basic.runtime import _ans

TABLES = coder()
SYMBOLS, INDEXES = gaussian(100)


@pytest.mark.parametrize(
    ("symbols", "indexes", "error", "message"),
    [
        (SYMBOLS.astype(np.int64), INDEXES, TypeError, "symbols: expected .* int16 or int32 array, got int64"),
        (SYMBOLS.astype(np.float32), INDEXES, TypeError, "symbols: .* got float32"),
        (np.full(100, np.nan), INDEXES, TypeError, "symbols: .* got float64"),
        (SYMBOLS.astype(">i4"), INDEXES, TypeError, "symbols: .* got >i4"),
        (SYMBOLS[::2], INDEXES[:50], TypeError, "symbols: .* not contiguous"),
        (SYMBOLS.reshape(10, 10).T, INDEXES, TypeError, r"symbols: .* shape \(10,10,\), not contiguous"),
        (SYMBOLS.reshape(10, 10), INDEXES, ValueError, r"same shape, got int32 of shape \(10,10,\) and uint8"),
        (SYMBOLS, INDEXES.astype(np.int32), TypeError, "indexes: expected .* uint8 or uint16 array, got int32"),
        (SYMBOLS, INDEXES[::-1], TypeError, "indexes: .* not contiguous"),
        (SYMBOLS, INDEXES[:99], ValueError, r"same shape, got .*\(100,\) and .*\(99,\)"),
        (SYMBOLS, np.full(100, 64, np.uint8), IndexError, r"below 64 \(the number of tables\), got 64"),
        (SYMBOLS, np.full(100, 65535, np.uint16), IndexError, "got 65535"),
    ],
)
def test_encode_refuses(symbols, indexes, error, message):
    with pytest.raises(error, match=message):
        _ans.encode(symbols, indexes, TABLES)


def test_num_lanes_must_be_a_power_of_two():
    for wrong in (-1, 3, 64):
        with pytest.raises(ValueError, match="num_lanes: expected"):
            _ans.encode(SYMBOLS, INDEXES, TABLES, wrong)


def test_decode_refuses_and_goes_on():
    decoder = _ans.Decoder(_ans.encode(SYMBOLS, INDEXES, TABLES), TABLES)
    with pytest.raises(TypeError, match="indexes: expected"):
        decoder.decode(INDEXES.astype(np.int64))
    with pytest.raises(IndexError, match="below 64"):
        decoder.decode(np.full(3, 200, np.uint8))
    np.testing.assert_array_equal(decoder.decode(INDEXES), SYMBOLS)
    decoder.finish()


def test_decoder_refuses_other_data():
    with pytest.raises(TypeError):
        _ans.Decoder("text", TABLES)
    with pytest.raises(TypeError, match="data: expected contiguous bytes"):
        _ans.Decoder(np.zeros(20, np.uint8)[::2], TABLES)


@pytest.mark.parametrize(
    ("frequencies", "lengths", "offsets", "precision", "message"),
    [
        ([512, 512], [2], [0], 10, "precision must be 11..15, got 10"),
        ([512, 512], [2], [0], 16, "precision must be 11..15, got 16"),
        ([2048, 0], [2], [0], 11, "table 0: frequency 1 is 0"),
        ([1024, 1023], [2], [0], 11, "table 0: frequencies must sum to 2048, got 2047"),
        ([1024, 1024, 2048], [2, 1], [0, 0], 11, "table 1: length must be 2.."),
        ([1024, 1024], [3], [0], 11, "table 0: length must be 2..2"),
        ([1024, 1024], [-1], [0], 11, "table 0: length"),
        ([1024, 1024, 7], [2], [0], 11, "lengths sum to 2 but there are 3"),
        ([1024, 512, 512], [3], [2**31 - 1], 11, "table 0: offset 2147483647 puts symbols beyond int32"),
        ([], [], [], 11, "expected 1..32768 tables, got 0"),
        ([1024, 1024], [2], [0, 1], 11, "lengths and offsets: expected the same size, got 1 and 2"),
        ([1] * 70000, [70000], [0], 15, "at most 65536 frequencies"),
    ],
)
def test_tables_refuse(frequencies, lengths, offsets, precision, message):
    with pytest.raises(ValueError, match=message):
        _ans.Tables(
            np.array(frequencies, np.uint16), np.array(lengths, np.int32), np.array(offsets, np.int32), precision
        )


def test_tables_refuse_more_look_up_than_64_mib():
    """Four rare symbols between two likely ones make every bucket fine: 32768 slots a table."""
    one = np.array([16380, 1, 1, 1, 16384, 1], np.uint16)
    for num_tables, fits in ((500, True), (5000, False)):
        arrays = np.tile(one, num_tables), np.full(num_tables, 6, np.int32), np.zeros(num_tables, np.int32)
        if fits:
            assert _ans.Tables(*arrays, 15).num_bytes < 1 << 26
        else:
            with pytest.raises(ValueError, match="tables too large"):
                _ans.Tables(*arrays, 15)


def test_decode_fills_the_array_it_is_given_or_refuses_it():
    stream = _ans.encode(SYMBOLS, INDEXES, TABLES)
    decoder = _ans.Decoder(stream, TABLES)
    out = np.full(102, 7, np.int32)
    frozen = np.empty(100, np.int32)
    frozen.flags.writeable = False
    for wrong, error, message in (
        (out[1:101].astype(np.int64), TypeError, "out: expected a contiguous int32 array, got int64"),
        (np.empty(200, np.int32)[::2], TypeError, "out: .* not contiguous"),
        (out, ValueError, "indexes and out: expected the same shape"),
        ([0] * 100, TypeError, "out: expected an int32 array or None"),
        (frozen, ValueError, "not writeable"),
    ):
        with pytest.raises(error, match=message):
            decoder.decode(INDEXES, wrong)
    assert decoder.decode(INDEXES, out[1:101]).base is out
    decoder.finish()
    np.testing.assert_array_equal(out, [7, *SYMBOLS, 7])
