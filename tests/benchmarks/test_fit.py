"""The fit finds what made the times, says how sure it is, and never a negative time."""

from dataclasses import replace

import numpy as np
import pytest

from basic.benchmarks.fit import GMAC, MIB, fit_parts, fitted_ms, least_squares, runs_in, shares
from basic.benchmarks.results import LevelRow, PartRow

CALL, PER_GMAC, PER_MIB = 0.05, 12.0, 0.03
PARTS = ("analysis", "hyper", "context_g0", "context_g1", "synthesis")


def made_up_parts(noise: float = 0.0, *, with_bytes: bool = True) -> list[PartRow]:
    rng = np.random.default_rng(3)
    rows = []
    for level in range(6):
        for part in PARTS:
            macs, traffic = int(10 ** rng.uniform(6, 9.5)), int(10 ** rng.uniform(5, 8))
            latency = CALL + PER_GMAC * macs / GMAC + PER_MIB * traffic / MIB
            latency *= 1 + noise * rng.standard_normal()
            rows.append(
                PartRow(
                    engine="ort", level=level, part=part, kmacs_per_pixel=macs / 4e8, num_macs=macs,
                    num_parameters=1, traffic_bytes=traffic if with_bytes else None, num_samples=1,
                    latency_p50_ms=latency, latency_p90_ms=latency, latency_p99_ms=latency, cpu_p50_ms=latency,
                    peak_memory_mib=None,
                )
            )  # fmt: skip
    return rows


def level_row(level: int, task: str, network_ms: float) -> LevelRow:
    return LevelRow(
        engine="ort", level=level, task=task, kmacs_per_pixel=1, num_parameters=1, num_groups=2, bpp=0.5,
        num_samples=1, latency_p50_ms=network_ms + 3, latency_p90_ms=1, latency_p99_ms=1, cpu_p50_ms=1,
        network_ms=network_ms, coder_ms=2, glue_ms=1, images_per_s=1, peak_memory_mib=None,
    )  # fmt: skip


def test_exact_times_are_explained_exactly() -> None:
    fit = fit_parts(made_up_parts(), with_bytes=True)
    assert fit is not None
    assert fit.call_ms == pytest.approx(CALL)
    assert fit.macs_ms_per_gmac == pytest.approx(PER_GMAC)
    assert fit.bytes_ms_per_mib == pytest.approx(PER_MIB)
    assert fit.part_max_error_percent < 1e-6
    assert fit.level_max_error_percent < 1e-6


def test_multiplications_in_int8_and_int16_have_prices_of_their_own() -> None:
    parts = []
    for part in made_up_parts():
        price, kind = {"synthesis": (PER_GMAC / 4, "int8"), "analysis": (PER_GMAC, "float")}.get(
            part.part, (PER_GMAC / 2, "int16")
        )
        traffic = 0.0 if kind == "int16" else PER_MIB * (part.traffic_bytes or 0) / MIB
        ms = CALL + price * part.num_macs / GMAC + traffic
        parts.append(replace(part, precision=kind, cpu_p50_ms=ms, latency_p50_ms=ms))
    fit = fit_parts(parts, with_bytes=True)
    assert fit is not None
    assert fit.macs_ms_per_gmac == pytest.approx(PER_GMAC)
    assert fit.int8_ms_per_gmac == pytest.approx(PER_GMAC / 4)
    assert fit.int16_ms_per_gmac == pytest.approx(PER_GMAC / 2)
    assert fit.bytes_ms_per_mib == pytest.approx(PER_MIB)
    assert fit.part_max_error_percent < 1e-6
    assert fitted_ms(fit, parts) == pytest.approx([part.latency_p50_ms for part in parts])
    assert fit.rates() == "12 ms/GMAC (3 ms/GMAC in int8, 6 ms/GMAC in int16)"
    assert replace(fit, macs_ms_per_gmac=0.0, int16_ms_per_gmac=None).rates() == "3 ms/GMAC in int8"


def test_macs_alone_explain_less_than_macs_and_bytes() -> None:
    alone, both = (fit_parts(made_up_parts(0.02), with_bytes=flag) for flag in (False, True))
    assert alone is not None and both is not None
    assert alone.bytes_ms_per_mib is None
    assert alone.part_mean_error_percent > both.part_mean_error_percent


def test_truth_lies_within_a_few_standard_errors() -> None:
    fit = fit_parts(made_up_parts(0.05), with_bytes=True)
    assert fit is not None
    assert abs(fit.macs_ms_per_gmac - PER_GMAC) < 4 * fit.macs_error_ms_per_gmac
    assert abs(fit.call_ms - CALL) < 4 * fit.call_error_ms


def test_no_coefficient_is_negative() -> None:
    macs = np.array([1.0, 2, 4, 8, 16])
    solution = least_squares([np.ones(5), macs], 3 * macs - 0.5)
    assert np.all(solution.coefficients >= 0)
    assert solution.coefficients[0] == 0
    assert solution.errors[0] == 0


def test_without_counted_bytes_there_is_no_fit_of_bytes() -> None:
    assert fit_parts(made_up_parts(with_bytes=False), with_bytes=True) is None
    assert fit_parts(made_up_parts()[:4], with_bytes=False) is None


def test_shares_add_up_to_the_whole() -> None:
    parts = made_up_parts()
    fit = fit_parts(parts, with_bytes=True)
    assert fit is not None
    network = sum(part.latency_p50_ms for part in parts if part.level == 2 and runs_in(part.part, "decode"))
    (row,) = shares(fit, parts, [level_row(2, "decode", network)])
    assert row.unexplained_ms == pytest.approx(0, abs=1e-9)
    total = row.macs_ms + row.bytes_ms + row.calls_ms + row.unexplained_ms + row.coder_ms + row.glue_ms
    assert total == pytest.approx(network + 3)


def test_parts_of_a_task() -> None:
    assert [part for part in PARTS if runs_in(part, "encode")] == ["analysis", "hyper", "context_g0", "context_g1"]
    assert [part for part in PARTS if runs_in(part, "decode")] == ["hyper", "context_g0", "context_g1", "synthesis"]
