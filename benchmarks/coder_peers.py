"""Entropy coders that others use, behind one face for benchmarks/coder.py; each is None where it is not installed."""

import importlib.machinery
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..runtime.tables import gaussian_tables

Symbols = npt.NDArray[np.int32]
Indexes = npt.NDArray[np.uint8]


class Peer(Protocol):
    """Whole calls, arrays in and arrays out, as a codec would make them."""

    def encode(self, symbols: Symbols, indexes: Indexes) -> Any: ...

    def decode(self, stream: Any, indexes: Indexes) -> Symbols: ...

    def num_bytes(self, stream: Any) -> int: ...


class CompressAI:
    """Its C++ coder, called as its entropy models do: everything as lists, tables with each call (1.2.8)."""

    def __init__(self, ans: Any, scales: npt.NDArray[np.float64]) -> None:
        self._ans = ans
        tables = gaussian_tables(scales, precision=15)  # its own are of 16 bits: twice these frequencies
        rows = np.split(tables.frequencies.astype(np.int64) * 2, np.cumsum(tables.lengths)[:-1])
        self._cdfs = np.zeros((len(rows), max(map(len, rows)) + 1), np.int32)
        for cdf, row in zip(self._cdfs, rows, strict=True):
            cdf[1 : len(row) + 1] = np.cumsum(row)
        self._lengths, self._offsets = tables.lengths + 1, tables.offsets

    def encode(self, symbols: Symbols, indexes: Indexes) -> bytes:
        encoded: bytes = self._ans.RansEncoder().encode_with_indexes(
            symbols.tolist(), indexes.tolist(), self._cdfs.tolist(), self._lengths.tolist(), self._offsets.tolist()
        )
        return encoded

    def decode(self, stream: bytes, indexes: Indexes) -> Symbols:
        symbols = self._ans.RansDecoder().decode_with_indexes(
            stream, indexes.tolist(), self._cdfs.tolist(), self._lengths.tolist(), self._offsets.tolist()
        )
        return np.array(symbols, np.int32)

    def num_bytes(self, stream: bytes) -> int:
        return len(stream)


class Constriction:
    """Its ANS coder with a Gaussian per symbol (0.5.0)."""

    def __init__(self, constriction: Any, scales: npt.NDArray[np.float64]) -> None:
        self._coder = constriction.stream.stack.AnsCoder
        self._family = constriction.stream.model.QuantizedGaussian(-1000, 1000)
        self._scales = scales

    def encode(self, symbols: Symbols, indexes: Indexes) -> npt.NDArray[np.uint32]:
        coder = self._coder()
        coder.encode_reverse(symbols, self._family, np.zeros(len(symbols)), self._scales[indexes])
        words: npt.NDArray[np.uint32] = coder.get_compressed()
        return words

    def decode(self, stream: npt.NDArray[np.uint32], indexes: Indexes) -> Symbols:
        symbols: Symbols = self._coder(stream).decode(self._family, np.zeros(len(indexes)), self._scales[indexes])
        return symbols

    def num_bytes(self, stream: npt.NDArray[np.uint32]) -> int:
        return stream.nbytes


def _make_compressai(scales: npt.NDArray[np.float64]) -> Peer | None:
    # The package itself imports much that its coder does not need: load the extension alone.
    package = importlib.util.find_spec("compressai")
    if package is None or package.origin is None:
        return None
    finder = importlib.machinery.FileFinder(
        str(Path(package.origin).parent),
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    spec = finder.find_spec("ans")
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return CompressAI(module, scales)


def _make_constriction(scales: npt.NDArray[np.float64]) -> Peer | None:
    if importlib.util.find_spec("constriction") is None:
        return None
    import constriction

    return Constriction(constriction, scales)


PEERS: dict[str, Callable[[npt.NDArray[np.float64]], Peer | None]] = {
    "compressai": _make_compressai,
    "constriction": _make_constriction,
}
