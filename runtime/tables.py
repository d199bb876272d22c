"""CDF tables: built once at export from pmfs, stored in the bundle as integers, and only read by a decoder.

Never build tables where a file is decoded: a last digit of `erfc` that differs between machines ruins the file.
Every table ends in an escape, which codes any int32 that the table does not hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import ceil, erfc, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _ans
from .errors import BundleError

DEFAULT_PRECISION = 14
# A symbol below this share of one slot costs everyone more by its slot than it costs when it escapes.
ESCAPE_BELOW = 0.3
# log of the true scale over the predicted one: mean and standard deviation, fitted to symbols of held-out photographs
SCALE_SHIFT, SCALE_SPREAD = -0.13, 0.38
MIXTURE_NODES = 9
MAX_SILENT = 63
"""Of 64 scales at least one is coded."""


@dataclass(frozen=True, eq=False)
class TableArrays:
    """Tables as the integers a bundle stores; `to_coder` checks them.

    frequencies: uint16 (num_frequencies,), table after table, each summing to 2^precision, the escape last.
    lengths: int32 (num_tables,). offsets: int32 (num_tables,), the first symbol of each table. num_silent: symbols of
    tables below this are 0 and never coded.
    """

    frequencies: npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]
    precision: int
    num_silent: int = 0

    @property
    def num_tables(self) -> int:
        return len(self.lengths)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For numpy.savez."""
        found: dict[str, npt.NDArray[Any]] = {
            "frequencies": self.frequencies,
            "lengths": self.lengths,
            "offsets": self.offsets,
            "precision": np.array(self.precision, np.int32),
        }
        if self.num_silent:  # without it the entropy id is that of bundles that know of no such thing
            found["num_silent"] = np.array(self.num_silent, np.int32)
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "TableArrays":
        """From what `to_arrays` gave. Raises BundleError where an array is missing, of another type or out of range."""
        expected = {"frequencies": np.uint16, "lengths": np.int32, "offsets": np.int32, "precision": np.int32}
        for name, dtype in expected.items():
            if name not in arrays:
                raise BundleError(f"tables: array {name!r} is missing; export the bundle again")
            array = arrays[name]
            if array.dtype != dtype or array.ndim != (name != "precision"):
                raise BundleError(f"tables: {name}: expected {np.dtype(dtype)}, got {array.dtype} of {array.shape}")
        silent = arrays.get("num_silent", np.array(0, np.int32))
        if silent.dtype != np.int32 or silent.ndim or not 0 <= silent <= MAX_SILENT:
            raise BundleError(
                f"tables: num_silent: expected one int32 in 0..{MAX_SILENT}, got {silent.dtype} of {silent.shape}"
                f"{'' if silent.ndim else f' with {silent}'}; export the bundle again"
            )
        contiguous = {name: np.ascontiguousarray(arrays[name]) for name in ("frequencies", "lengths", "offsets")}
        return cls(**contiguous, precision=int(arrays["precision"]), num_silent=int(silent))


def build_tables(
    pmfs: Sequence[npt.NDArray[np.float64]], offsets: Sequence[int], precision: int = DEFAULT_PRECISION
) -> TableArrays:
    """One table per pmf. pmfs[t][k]: probability of symbol offsets[t] + k; what lacks to 1 escapes."""
    if len(pmfs) != len(offsets) or not pmfs:
        raise ValueError(f"build_tables: expected as many offsets as pmfs, got {len(offsets)} and {len(pmfs)}")
    trimmed = [_trim(np.asarray(pmf, np.float64), precision) for pmf in pmfs]
    frequencies = [quantise(np.append(pmf, max(0.0, 1.0 - pmf.sum())), precision) for _, pmf in trimmed]
    return TableArrays(
        frequencies=np.concatenate(frequencies),
        lengths=np.array([len(row) for row in frequencies], np.int32),
        offsets=np.array([offset + first for offset, (first, _) in zip(offsets, trimmed, strict=True)], np.int32),
        precision=precision,
    )


def _trim(pmf: npt.NDArray[np.float64], precision: int) -> tuple[int, npt.NDArray[np.float64]]:
    """Leave rare symbols at the ends to the escape: (number cut in front, the rest)."""
    if pmf.ndim != 1 or not len(pmf) or not np.isfinite(pmf).all() or pmf.min() < 0 or pmf.sum() > 1 + 1e-6:
        raise ValueError("build_tables: expected non-empty pmfs of non-negative numbers with sum at most 1")
    kept = np.flatnonzero(pmf * (1 << precision) >= ESCAPE_BELOW)
    if not len(kept):
        kept = np.array([int(pmf.argmax())])
    return int(kept[0]), pmf[kept[0] : kept[-1] + 1]


def quantise(pmf: npt.NDArray[np.float64], precision: int) -> npt.NDArray[np.uint16]:
    """Frequencies >= 1 with sum 2^precision that cost the fewest bits: (n,) -> uint16 (n,), n >= 2.

    Start below, then give slot after slot to the symbol whose cost sinks most (or take them back likewise).
    """
    num_slots = 1 << precision
    if not 2 <= len(pmf) <= num_slots:
        raise ValueError(f"quantise: expected 2 to {num_slots} symbols, got {len(pmf)}")
    frequencies = np.maximum(np.floor(pmf * num_slots), 1).astype(np.int64)
    missing = num_slots - int(frequencies.sum())
    step = 1 if missing > 0 else -1

    def change(k: int) -> float:
        if step < 0 and frequencies[k] == 1:
            return np.inf
        return float(-pmf[k] * np.log2((frequencies[k] + step) / frequencies[k]))

    heap = [(change(k), k) for k in range(len(pmf))]
    heapify(heap)
    for _ in range(abs(missing)):
        k = heap[0][1]
        frequencies[k] += step
        heapreplace(heap, (change(k), k))
    return frequencies.astype(np.uint16)


def gaussian_tables(scales: npt.NDArray[np.float64], precision: int = DEFAULT_PRECISION) -> TableArrays:
    """One zero-mean Gaussian table per scale (standard deviation), integrated over unit intervals around integers."""
    radii = [ceil(8 * float(scale)) + 1 for scale in scales]
    pmfs = [_gaussian_pmf(float(scale), radius) for scale, radius in zip(scales, radii, strict=True)]
    return build_tables(pmfs, [-radius for radius in radii], precision)


def scale_mixture_tables(scales: npt.NDArray[np.float64], precision: int = DEFAULT_PRECISION) -> TableArrays:
    """One table per predicted scale: a Gaussian whose true scale is scattered about the predicted one, log-normally.

    No network knows the scale exactly, and the mixture over what it may be has heavier tails than the Gaussian
    (Gaussian scale mixture, Wainwright & Simoncelli 1999). SCALE_SPREAD and SCALE_SHIFT were fitted to held-out
    photographs; files come out 1.3 to 1.7 % smaller. The first table stands for all scales below its own too and stays
    a Gaussian.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(MIXTURE_NODES)
    weights = weights / weights.sum()
    factors = np.exp(SCALE_SHIFT + SCALE_SPREAD * nodes)
    radii = [ceil(16 * float(scale)) + 1 for scale in scales]
    pmfs = [_gaussian_pmf(float(scales[0]), radii[0])]
    for scale, radius in zip(scales[1:], radii[1:], strict=True):
        parts = [_gaussian_pmf(float(scale * factor), radius) for factor in factors]
        pmfs.append(np.tensordot(weights, np.stack(parts), axes=1))
    return build_tables(pmfs, [-radius for radius in radii], precision)


def _gaussian_pmf(scale: float, radius: int) -> npt.NDArray[np.float64]:
    """Mass of symbols -radius..radius, exact in the tails: (2 radius + 1,)."""
    upper = np.array([0.5 * erfc((k - 0.5) / (scale * sqrt(2))) for k in range(1, radius + 2)])
    side = upper[:-1] - upper[1:]
    return np.concatenate([side[::-1], [1 - 2 * upper[0]], side])


def join(*parts: TableArrays) -> TableArrays:
    """The tables of all parts, numbered on; the precision must be the same."""
    precisions = {part.precision for part in parts}
    if len(precisions) != 1:
        raise ValueError(f"join: expected tables of one precision, got {sorted(precisions)}")
    return TableArrays(
        frequencies=np.concatenate([part.frequencies for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        precision=precisions.pop(),
    )


def to_coder(tables: TableArrays) -> _ans.Tables:
    """What `_ans.encode` and `_ans.Decoder` take. Raises BundleError where a table is not one."""
    try:
        return _ans.Tables(tables.frequencies, tables.lengths, tables.offsets, tables.precision)
    except (ValueError, TypeError) as error:
        raise BundleError(f"tables: {error}; export the bundle again") from error
