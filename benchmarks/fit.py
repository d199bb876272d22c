"""Latency as a + b MACs + c bytes: what of the time is arithmetic, and what is not.

What a newcomer gets wrong: parts differ a thousandfold in MACs, so plain least squares fits the largest and nothing
else. Here every part's *relative* error counts the same. Coefficients are times and cannot be negative: where least
squares wants one below zero it is left out, and the others are fitted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .results import FitRow, LevelRow, PartRow, ShareRow

GMAC = 1e9
MIB = 2.0**20
OWN_RATES = ("int8", "int16")
"""Precisions whose MACs have a rate of their own beside that of float32, where there are any."""

_Vector = NDArray[np.float64]
NETWORK_TASKS = {"encode": ("analysis", "hyper", "context"), "decode": ("hyper", "context", "synthesis")}
"""Which parts run in a task, by the beginning of their name."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Coefficients and their standard errors, one per column (0 and 0 for a column left out)."""

    coefficients: _Vector
    errors: _Vector


def least_squares(columns: Sequence[_Vector], measured: _Vector) -> Solution:
    """Minimise sum(((columns @ c - measured) / measured)^2) over c >= 0, trying every subset of the columns.

    columns: (n,) each, measured: (n,) positive. The errors come from the residuals: n must exceed the columns used.
    """
    design = np.stack(columns, axis=1) / measured[:, None]  # (n, columns), target 1
    scale = np.abs(design).max(axis=0)
    scale[scale == 0] = 1
    target = np.ones(len(measured))
    best: tuple[float, Solution] | None = None
    numbers = range(design.shape[1])
    for subset in (c for size in range(design.shape[1], 0, -1) for c in combinations(numbers, size)):
        chosen = list(subset)
        used = design[:, chosen] / scale[chosen]
        solved, _, rank, _ = np.linalg.lstsq(used, target, rcond=None)
        if rank < len(subset) or np.any(solved < 0):
            continue
        loss = float(np.sum((used @ solved - target) ** 2))
        if best is None or loss < best[0] - 1e-12:
            freedom = max(len(measured) - len(subset), 1)
            variance = loss / freedom * np.diag(np.linalg.inv(used.T @ used))
            coefficients, errors = np.zeros(len(columns)), np.zeros(len(columns))
            coefficients[chosen] = solved / scale[chosen]
            errors[chosen] = np.sqrt(variance) / scale[chosen]
            best = loss, Solution(coefficients, errors)
    if best is None:
        raise ValueError(f"latency fit: expected positive times over rising costs, got {measured}")
    return best[1]


def fit_parts(parts: Sequence[PartRow], *, with_bytes: bool, clock: str = "wall") -> FitRow | None:
    """Fit one engine's parts; None where there are too few of them, or bytes are asked for and were not counted."""
    if len(parts) < 5 or (with_bytes and any(part.traffic_bytes is None for part in parts)):
        return None
    measured = np.array([part.cpu_p50_ms if clock == "cpu" else part.latency_p50_ms for part in parts])
    columns = _columns(parts, with_bytes)
    solution = least_squares(columns, measured)
    predicted = np.stack(columns, axis=1) @ solution.coefficients
    part_errors = 100 * np.abs(predicted / measured - 1)
    level_errors = 100 * np.abs(_level_errors(parts, predicted, measured))
    call, macs = solution.coefficients[:2]
    call_error, macs_error = solution.errors[:2]
    own = _own_rates(parts) if with_bytes else []
    rates = dict(zip(own, zip(solution.coefficients[3:], solution.errors[3:], strict=True), strict=True))
    int8, int16 = (rates.get(precision) for precision in OWN_RATES)
    return FitRow(
        engine=parts[0].engine,
        clock=clock,
        model="call + macs + bytes" if with_bytes else "call + macs",
        num_points=len(parts),
        call_ms=float(call),
        call_error_ms=float(call_error),
        macs_ms_per_gmac=float(macs),
        macs_error_ms_per_gmac=float(macs_error),
        bytes_ms_per_mib=float(solution.coefficients[2]) if with_bytes else None,
        bytes_error_ms_per_mib=float(solution.errors[2]) if with_bytes else None,
        part_mean_error_percent=float(part_errors.mean()),
        part_max_error_percent=float(part_errors.max()),
        level_mean_error_percent=float(level_errors.mean()),
        level_max_error_percent=float(level_errors.max()),
        int8_ms_per_gmac=float(int8[0]) if int8 else None,
        int8_error_ms_per_gmac=float(int8[1]) if int8 else None,
        int16_ms_per_gmac=float(int16[0]) if int16 else None,
        int16_error_ms_per_gmac=float(int16[1]) if int16 else None,
    )


def fitted_ms(fit: FitRow, parts: Sequence[PartRow]) -> list[float]:
    """What the fit says of each part, in milliseconds."""
    return [fit.call_ms + _macs_ms(fit, part) + _bytes_ms(fit, part) for part in parts]


def _macs_ms(fit: FitRow, part: PartRow) -> float:
    rates = {"int8": fit.int8_ms_per_gmac, "int16": fit.int16_ms_per_gmac}
    own = rates.get(part.precision)
    return (fit.macs_ms_per_gmac if own is None else own) * part.num_macs / GMAC


def _bytes_ms(fit: FitRow, part: PartRow) -> float:
    return (fit.bytes_ms_per_mib or 0.0) * _traffic(part) / MIB


def _traffic(part: PartRow) -> int:
    """Nothing for parts in int16: loops of our own run them, band by band; only state and latents leave the caches."""
    return 0 if part.precision == "int16" else part.traffic_bytes or 0


def _own_rates(parts: Sequence[PartRow]) -> list[str]:
    return [precision for precision in OWN_RATES if any(part.precision == precision for part in parts)]


def shares(fit: FitRow, parts: Sequence[PartRow], levels: Sequence[LevelRow]) -> list[ShareRow]:
    """Split the measured time of each task into what the fit explains by MACs, bytes and calls, and the rest."""
    rows = []
    for level in levels:
        used = [part for part in parts if part.level == level.level and runs_in(part.part, level.task)]
        macs = sum(_macs_ms(fit, part) for part in used)
        traffic = sum(_bytes_ms(fit, part) for part in used)
        calls = len(used) * fit.call_ms
        rows.append(
            ShareRow(
                engine=level.engine,
                level=level.level,
                task=level.task,
                macs_ms=macs,
                bytes_ms=traffic,
                calls_ms=calls,
                unexplained_ms=level.network_ms - macs - traffic - calls,
                coder_ms=level.coder_ms,
                glue_ms=level.glue_ms,
            )
        )
    return rows


def runs_in(part: str, task: str) -> bool:
    """Whether a part ("context_g3") runs in a task ("encode" or "decode")."""
    return part.startswith(NETWORK_TASKS[task])


def _columns(parts: Sequence[PartRow], with_bytes: bool) -> list[_Vector]:
    """Ones and MACs; with bytes those too, and MACs that have a rate of their own apart from the others."""
    macs = np.array([part.num_macs for part in parts]) / GMAC
    if not with_bytes:
        return [np.ones(len(parts)), macs]
    own = [np.array([part.precision == precision for part in parts]) for precision in _own_rates(parts)]
    others = np.where(np.any(own, axis=0), 0.0, macs) if own else macs
    traffic = np.array([_traffic(part) for part in parts]) / MIB
    return [np.ones(len(parts)), others, traffic, *(np.where(here, macs, 0.0) for here in own)]


def _level_errors(parts: Sequence[PartRow], predicted: _Vector, measured: _Vector) -> _Vector:
    """Relative error of the summed network time, for every level and task."""
    errors = []
    for level in sorted({part.level for part in parts}):
        for task in NETWORK_TASKS:
            chosen = [i for i, part in enumerate(parts) if part.level == level and runs_in(part.part, task)]
            errors.append(predicted[chosen].sum() / measured[chosen].sum() - 1)
    return np.array(errors)
