"""Inputs that the tests of the coder share. As a script: codes them all and prints the digest of the streams."""

from hashlib import sha256

import numpy as np

from basic.runtime import _ans
from basic.runtime.tables import TableArrays, gaussian_tables, to_coder

SCALES = np.geomspace(0.11, 64, 64)


def gaussian(num_symbols: int, seed: int = 1, escapes: int = 0, tables: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(symbols int32, indexes uint8) as latents are, with this many far escapes among them."""
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, tables, num_symbols).astype(np.uint8)
    symbols = np.rint(SCALES[indexes % 64] * rng.standard_normal(num_symbols)).astype(np.int32)
    where = rng.integers(0, max(num_symbols, 1), escapes)
    symbols[where] = rng.integers(-(2**31), 2**31, escapes)
    return symbols, indexes


def coder(copies: int = 1) -> _ans.Tables:
    """64 Gaussian tables, and the same again `copies` times."""
    one = gaussian_tables(SCALES)
    many = {name: np.tile(array, copies) for name, array in one.to_arrays().items() if array.ndim}
    return to_coder(TableArrays(**many, precision=one.precision))


def extreme(precision: int) -> tuple[np.ndarray, np.ndarray, _ans.Tables]:
    """Symbols uniform, whatever their frequencies: states go to the ends of their range. (symbols, indexes, tables)."""
    rng = np.random.default_rng(precision)
    rows = [[1, (1 << precision) - 1], [(1 << precision) - 9, *[1] * 9], [3] * 40 + [(1 << precision) - 120]]
    lengths = np.array([len(row) for row in rows], np.int32)
    tables = _ans.Tables(np.concatenate(rows).astype(np.uint16), lengths, np.zeros(3, np.int32), precision)
    indexes = rng.integers(0, 3, 40_000).astype(np.uint8)
    return (rng.random(40_000) * (lengths[indexes] - 1)).astype(np.int32), indexes, tables


def digest() -> str:
    """Digest of the streams of all shapes and types; each is decoded again in uneven chunks."""
    total = sha256()
    few, many = coder(), coder(3)
    for size in (0, 1, 7, 8, 100, 4101):
        total.update(_ans.crc32c((bytes(range(256)) * 17)[:size], size).to_bytes(4, "little"))
    for precision in (11, 12, 15):
        symbols, indexes, tables = extreme(precision)
        for num_lanes in (1, 8, 16, 32):
            total.update(_ans.encode(symbols, indexes, tables, num_lanes))
    for num_symbols in (0, 1, 7, 255, 256, 257, 1000, 4097, 20011):
        for num_lanes in (0, 1, 2, 4, 8, 16, 32):
            for tables, count in ((few, 64), (many, 192)):
                symbols, indexes = gaussian(num_symbols, seed=num_symbols, escapes=num_symbols // 200, tables=count)
                stream = _ans.encode(symbols, indexes, tables, num_lanes)
                assert stream == _ans.encode(symbols, indexes.astype(np.uint16), tables, num_lanes)
                small = np.clip(symbols, -(2**15), 2**15 - 1)
                assert _ans.encode(small, indexes, tables) == _ans.encode(small.astype(np.int16), indexes, tables)
                total.update(stream)
                decoder = _ans.Decoder(stream, tables)
                parts = np.array_split(indexes, [3, 40, 300, 301, 5000])
                np.testing.assert_array_equal(np.concatenate([decoder.decode(part) for part in parts]), symbols)
                decoder.finish()
    return total.hexdigest()


if __name__ == "__main__":
    print(_ans.simd(), digest())
