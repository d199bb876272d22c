"""Write the golden streams of the coder. Run it only when the stream format changes, and say so in CHANGELOG.md.

usage: python tests/golden/make_coder.py
"""

from pathlib import Path

import numpy as np

from basic.runtime import _ans
from basic.runtime.tables import build_tables, gaussian_tables, join, to_coder

FOLDER = Path(__file__).parent


def make(num_lanes: int, num_symbols: int) -> dict[str, np.ndarray]:
    """Symbols of every kind: likely, rare, and escapes of each length."""
    rng = np.random.default_rng(num_lanes)
    scales = np.geomspace(0.11, 64, 12)
    skewed = build_tables([np.array([0.02, 0.9, 0.05, 0.01])], [-3])
    tables = join(gaussian_tables(scales), skewed)
    indexes = rng.integers(0, 13, num_symbols).astype(np.uint8)
    symbols = np.rint(np.append(scales, 1)[indexes] * rng.standard_normal(num_symbols)).astype(np.int32)
    symbols[[3, 9, num_symbols - 2]] = [2**31 - 1, -(2**31), 300]
    stream = np.frombuffer(_ans.encode(symbols, indexes, to_coder(tables), num_lanes), np.uint8)
    return {"stream": stream, "symbols": symbols, "indexes": indexes, **tables.to_arrays()}


if __name__ == "__main__":
    for num_lanes, num_symbols in ((1, 60), (2, 400), (8, 1500), (16, 2500), (32, 4000)):
        np.savez_compressed(FOLDER / f"coder_{num_lanes}.npz", **make(num_lanes, num_symbols))
