"""Tables are integers that every machine reads alike, and cost almost nothing over the densities they stand for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime import _ans
from basic.runtime.errors import BundleError
from basic.runtime.tables import (
    TableArrays,
    build_tables,
    gaussian_tables,
    join,
    quantise,
    scale_mixture_tables,
    to_coder,
)

SCALES = np.geomspace(0.11, 64, 64)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=300), st.integers(11, 15))
@settings(deadline=None)
def test_quantise_sums_up_and_leaves_no_zero(weights, precision):
    pmf = np.array(weights) / max(sum(weights), 1e-9)
    frequencies = quantise(pmf, precision)
    assert frequencies.min() >= 1
    assert frequencies.sum(dtype=np.int64) == 1 << precision


def test_quantise_is_the_best_there_is():
    """No single slot moved from one symbol to another makes it cheaper."""
    pmf = np.array([0.5, 0.2, 0.1, 0.05, 0.1, 0.0499, 0.0001])
    frequencies = quantise(pmf, 10).astype(np.float64)
    best = -(pmf * np.log2(frequencies)).sum()
    for source in range(7):
        for target in range(7):
            moved = frequencies.copy()
            moved[source] -= 1
            moved[target] += 1
            if moved.min() >= 1:
                assert -(pmf * np.log2(moved)).sum() >= best - 1e-12


def test_gaussian_tables_cost_almost_nothing():
    rng = np.random.default_rng(1)
    indexes = rng.integers(0, 64, 400_000).astype(np.uint8)
    symbols = np.rint(SCALES[indexes] * rng.standard_normal(400_000)).astype(np.int32)
    tables = gaussian_tables(SCALES)
    finer = gaussian_tables(SCALES, precision=15)
    ratio = _ans.bits(symbols, indexes, to_coder(tables)) / _ans.bits(symbols, indexes, to_coder(finer))
    assert ratio < 1.0002


@pytest.mark.parametrize(("scatter", "low", "high"), [(0.0, 1.0, 1.02), (0.4, 0.93, 0.99)])
def test_mixture_tables_win_where_scales_are_not_known_exactly(scatter, low, high):
    rng = np.random.default_rng(2)
    indexes = rng.integers(8, 40, 400_000).astype(np.uint8)
    true_scales = SCALES[indexes] * np.exp(scatter * (rng.standard_normal(400_000) - 0.3))
    symbols = np.rint(true_scales * rng.standard_normal(400_000)).astype(np.int32)
    bits = [_ans.bits(symbols, indexes, to_coder(make(SCALES))) for make in (scale_mixture_tables, gaussian_tables)]
    assert low < bits[0] / bits[1] < high


@pytest.mark.parametrize("make", [gaussian_tables, scale_mixture_tables])
def test_tables_are_symmetric_and_end_in_an_escape(make):
    tables = make(SCALES)
    assert tables.num_tables == 64
    for row, offset in zip(np.split(tables.frequencies, np.cumsum(tables.lengths)[:-1]), tables.offsets, strict=True):
        assert len(row) == 2 - 2 * offset
        assert np.abs(row[:-1].astype(int) - row[:-1][::-1]).max() <= 1


def test_offsets_move_with_what_is_cut():
    tables = build_tables([np.array([0.0, 1e-9, 0.5, 0.5, 0.0])], [-10])
    assert tables.offsets.tolist() == [-8]
    assert tables.lengths.tolist() == [3]


def test_join_numbers_on():
    first, second = gaussian_tables(SCALES[:3]), gaussian_tables(SCALES[5:7])
    both = join(first, second)
    assert both.num_tables == 5
    assert to_coder(both).num_tables == 5
    with pytest.raises(ValueError, match="one precision"):
        join(first, gaussian_tables(SCALES, precision=12))


@pytest.mark.parametrize("num_silent", [0, 1, 63])
def test_arrays_round_trip(tmp_path, num_silent):
    tables = replace(gaussian_tables(SCALES), num_silent=num_silent)
    np.savez(tmp_path / "tables.npz", **tables.to_arrays())
    with np.load(tmp_path / "tables.npz") as arrays:
        again = TableArrays.from_arrays(arrays)
    np.testing.assert_array_equal(again.frequencies, tables.frequencies)
    assert (again.precision, again.num_silent) == (tables.precision, num_silent)
    assert ("num_silent" in tables.to_arrays()) == (num_silent > 0), "older entropy ids know of no such array"
    assert to_coder(again).num_bytes == to_coder(tables).num_bytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frequencies": None}, "'frequencies' is missing"),
        ({"lengths": np.zeros(3)}, "lengths: expected int32, got float64"),
        ({"offsets": np.zeros((1, 3), np.int32)}, "offsets: expected int32, got int32 of"),
        ({"precision": np.zeros(2, np.int32)}, "precision: expected int32"),
        ({"num_silent": np.array(64, np.int32)}, "num_silent: expected one int32 in 0..63, got int32 .* with 64"),
        ({"num_silent": np.array(-1, np.int32)}, "num_silent: expected one int32 in 0..63, got int32 .* with -1"),
        ({"num_silent": np.array(1)}, "num_silent: expected one int32 in 0..63, got int64"),
        ({"num_silent": np.zeros(1, np.int32)}, r"num_silent: expected one int32 in 0..63, got int32 of \(1,\)"),
    ],
)
def test_wrong_arrays_are_refused(change, message):
    arrays = {**gaussian_tables(SCALES).to_arrays(), **change}
    with pytest.raises(BundleError, match=message):
        TableArrays.from_arrays({name: array for name, array in arrays.items() if array is not None})


def test_hostile_tables_are_refused():
    tables = gaussian_tables(SCALES)
    for broken in (
        TableArrays(tables.frequencies[:-1], tables.lengths, tables.offsets, tables.precision),
        TableArrays(tables.frequencies, tables.lengths[::-1].copy(), tables.offsets, tables.precision),
        TableArrays(tables.frequencies, tables.lengths, tables.offsets, 13),
    ):
        with pytest.raises(BundleError, match="export the bundle again"):
            to_coder(broken)


@pytest.mark.parametrize("pmf", [[], [[0.5]], [np.nan], [-0.1, 0.5], [0.8, 0.9]])
def test_wrong_pmfs_are_refused(pmf):
    with pytest.raises(ValueError, match="non-empty pmfs"):
        build_tables([np.array(pmf)], [0])
