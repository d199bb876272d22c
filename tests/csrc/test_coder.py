"""Whatever goes in comes out, however it is cut into calls, on every instruction set with the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coder_cases import coder, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain_rans import decode_golden

from basic.runtime import _ans
from basic.runtime.tables import TableArrays, build_tables, to_coder

TESTS = Path(__file__).parents[1]
GOLDEN = sorted((TESTS / "golden").glob("coder_*.npz"))
LANES = (1, 2, 4, 8, 16, 32)


def round_trip(symbols, indexes, tables, num_lanes=0):
    stream = _ans.encode(symbols, indexes, tables, num_lanes)
    decoder = _ans.Decoder(stream, tables)
    np.testing.assert_array_equal(decoder.decode(indexes), symbols)
    decoder.finish()
    return stream


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_int32_round_trips_with_any_tables(data):
    pmfs = data.draw(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=40), min_size=1, max_size=5))
    normalised = [np.array(pmf) / max(sum(pmf), 1.0) for pmf in pmfs]
    offsets = data.draw(st.lists(st.integers(-(2**31), 2**31 - 64), min_size=len(pmfs), max_size=len(pmfs)))
    tables = to_coder(build_tables(normalised, offsets, data.draw(st.integers(11, 15))))
    size = data.draw(st.integers(0, 300))
    indexes = data.draw(arrays(np.uint8, size, elements=st.integers(0, len(pmfs) - 1)))
    near = np.array(offsets, np.int64)[indexes] + data.draw(arrays(np.int64, size, elements=st.integers(-300, 340)))
    far = data.draw(arrays(np.int64, size, elements=st.integers(-(2**31), 2**31 - 1)))
    symbols = np.where(data.draw(arrays(np.bool_, size)), near, far).clip(-(2**31), 2**31 - 1).astype(np.int32)
    round_trip(symbols, indexes, tables, data.draw(st.sampled_from((0, *LANES))))


@pytest.mark.parametrize("num_lanes", LANES)
@pytest.mark.parametrize("num_symbols", [0, 1, 31, 33, 255, 256, 257, 10_000])
def test_every_number_of_lanes_and_symbols(num_symbols, num_lanes):
    symbols, indexes = gaussian(num_symbols, escapes=num_symbols // 100)
    round_trip(symbols, indexes, coder(), num_lanes)


def test_chunks_continue_one_stream():
    symbols, indexes = gaussian(30_000, escapes=20)
    tables = coder()
    rng = np.random.default_rng(5)
    decoder = _ans.Decoder(_ans.encode(symbols, indexes, tables), tables)
    parts = np.split(indexes, np.sort(rng.integers(0, 30_000, 50)))
    np.testing.assert_array_equal(np.concatenate([decoder.decode(part) for part in parts]), symbols)
    assert decoder.position == 30_000
    decoder.finish()


def test_size_is_what_the_tables_say():
    """States and termination cost 5 bytes with one lane and about 5 bits for each further one."""
    tables = coder()
    for num_symbols in (0, 10, 100, 1000, 3000, 10_000, 100_000, 800_000):
        symbols, indexes = gaussian(num_symbols)
        stream = _ans.encode(symbols, indexes, tables)
        num_lanes = 1 << stream[0] % 8
        overhead = len(stream) - _ans.bits(symbols, indexes, tables) / 8
        assert -1 < overhead < 8 + 0.75 * num_lanes + 1e-4 * len(stream)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_streams(path):
    with np.load(path) as golden:
        tables = to_coder(TableArrays.from_arrays(golden))
        stream, symbols, indexes = golden["stream"].tobytes(), golden["symbols"], golden["indexes"]
    assert round_trip(symbols, indexes, tables, 1 << stream[0] % 8) == stream


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_plain_decoder_reads_golden_streams(path):
    decoded, expected = decode_golden(str(path))
    assert decoded == expected
    assert len((TESTS / "plain_rans.py").read_text().splitlines()) < 150


def run_cases(simd: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TESTS / "coder_cases.py")]
    return subprocess.run(command, env={**os.environ, "BASIC_SIMD": simd}, capture_output=True, text=True, check=False)


def test_every_instruction_set_gives_the_same_bytes():
    scalar = run_cases("scalar")
    assert scalar.returncode == 0, scalar.stderr
    for simd in ("avx2", "avx512"):
        other = run_cases(simd)
        if "what this processor has" in other.stderr:
            continue
        assert other.returncode == 0, other.stderr
        assert other.stdout.split() == [simd, scalar.stdout.split()[1]]


def test_unknown_instruction_set_is_refused():
    result = run_cases("sse9")
    assert result.returncode != 0
    assert "BASIC_SIMD: expected what this processor has (scalar" in result.stderr


def test_crc32c():
    """The check value of the CRC catalogue, and RFC 3720, B.4."""
    assert _ans.crc32c(b"123456789") == 0xE3069283
    assert _ans.crc32c(bytes(32)) == 0x8A9136AA
    assert _ans.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert _ans.crc32c(b"") == 0


@given(st.binary(max_size=200), st.integers(0, 200))
def test_crc32c_continues(data, cut):
    assert _ans.crc32c(data[cut:], _ans.crc32c(data[:cut])) == _ans.crc32c(data)
    assert _ans.crc32c(memoryview(bytearray(data))) == _ans.crc32c(data)
