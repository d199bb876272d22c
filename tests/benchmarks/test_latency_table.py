"""Laws of the latency table: layers add up to networks, and int8 parts have prices of their own."""

import json
from pathlib import Path

import numpy as np
import pytest

from basic.benchmarks import latency_check, latency_table
from basic.benchmarks.latency_check import random_levels, summary
from basic.benchmarks.latency_table import Builder, Plans, axes_of, measure_table
from basic.export.int8 import CHOICES
from basic.export.to_onnx import count_macs_per_pixel
from basic.runtime.groups import checkerboard
from basic.training.complexity import part_macs
from basic.training.nodes import Architecture
from basic.training.structure.latency import Grid, LatencyTable, kind_of, kinds

TINY = Architecture(
    name="tiny",
    latent_channels=32,
    hyper_channels=16,
    trunk8=112,
    trunk16=128,
    inner16=128,
    num_blocks8=4,
    num_blocks16=3,
    hyper_width=64,
    hyper_spread=80,
    state=112,
    context_inner=112,
)
STRIDES = {"analysis": 1, "synthesis": 16, "hyper": 64}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_table, "HEIGHT", 64)
    monkeypatch.setattr(latency_table, "WIDTH", 64)
    monkeypatch.setattr(latency_table, "ROUNDS", 1)


def table_of_macs(arch: Architecture) -> LatencyTable:
    """A table whose milliseconds are multiplications of its networks, counted in their graphs."""
    int8_from = {"synthesis": 96}
    axes = axes_of(arch, int8_from)
    plans = Plans(Builder(arch), axes)
    macs = {
        name: count_macs_per_pixel(make().data, STRIDES.get(name.split()[0].rstrip(":"), 32))
        for name, make in plans.makers.items()
    }
    grids = {}
    for kind, terms in plans.terms.items():
        values = [(macs[t.plus] - (macs[t.minus] if t.minus else 0.0)) / t.count for t in terms.values()]
        grids[kind] = Grid(axes[kind], np.array(values).reshape([len(axis) for axis in axes[kind]]))
    return LatencyTable(grids, int8_from, {})


@pytest.fixture(scope="module")
def macs() -> LatencyTable:
    return table_of_macs(TINY)


def test_layers_add_up_to_every_part(macs: LatencyTable) -> None:
    """With multiplications for milliseconds, which add up exactly: what is missing or counted twice would show."""
    for entry in random_levels(TINY, 6):
        told, real = macs.parts_ms(TINY, entry.widths, entry.plan), part_macs(TINY, entry.widths, entry.plan)
        assert list(told) == list(real)
        for part in told:  # products of three widths are not linear between grid points
            assert told[part] == pytest.approx(real[part], rel=0.03)
    at_grid_points = part_macs(TINY, TINY.full(), checkerboard())
    assert macs.parts_ms(TINY, TINY.full(), checkerboard()) == pytest.approx(at_grid_points, rel=1e-3)


def test_a_wide_synthesis_is_priced_in_int8(macs: LatencyTable) -> None:
    dear = {kind: Grid(g.axes, g.values + 1e6 * (kind == "synthesis int8 base")) for kind, g in macs.grids.items()}
    table = LatencyTable(dear, macs.int8_from, {})
    for width, is_int8 in ((80, False), (96, True), (112, True)):
        widths = TINY.full() | {"g_s.trunk8": width}
        assert (table.parts_ms(TINY, widths, checkerboard())["synthesis"] > 1e6) == is_int8
        assert table.parts_ms(TINY, widths, checkerboard())["analysis"] < 1e6


@pytest.mark.parametrize("int8", ["synthesis", "transforms"])
def test_a_measured_table_returns_from_its_file(small: None, int8: str, tmp_path: Path) -> None:
    table = measure_table(TINY, 1, lambda text: None, int8)
    assert set(table.grids) == kinds(dict.fromkeys(CHOICES[int8], 96))
    assert (kind_of("analysis", "int8", "base") in table.grids) == (int8 == "transforms")
    table.save(tmp_path / "latency.json")
    again = LatencyTable.load(tmp_path / "latency.json")
    parts = again.parts_ms(TINY, TINY.full(), checkerboard())
    assert list(parts) == ["analysis", "hyper", "context_g0", "context_g1", "synthesis"]
    assert parts == table.parts_ms(TINY, TINY.full(), checkerboard())


@pytest.mark.parametrize("damage", ["missing", "version", "kind", "shape"])
def test_a_damaged_table_is_refused(macs: LatencyTable, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    macs.save(path)
    content = json.loads(path.read_text())
    if damage == "version":
        content["format_version"] = 1
    elif damage == "kind":
        del content["grids"]["synthesis int8 ff8"]
    elif damage == "shape":
        content["grids"]["hyper"]["ms"] = [1.0]
    path.write_text(json.dumps(content))
    if damage == "missing":
        path.unlink()
    with pytest.raises(ValueError, match=r"basic\.benchmarks\.latency_table"):
        LatencyTable.load(path)


def test_the_check_times_a_bundle_and_structures_beside_the_table(
    small: None, macs: LatencyTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_check, "HEIGHT", 64)
    monkeypatch.setattr(latency_check, "WIDTH", 64)
    built = {"random 0": random_levels(TINY, 1)[0]}
    rows = latency_check.check(None, macs, built, 1, lambda text: None, TINY)
    assert [row.name for row in rows] == ["random 0"] and rows[0].measured_ms > 0
    assert rows[0].parts_ms.keys() == rows[0].parts_foretold_ms.keys()
    assert rows[0].error_percent == pytest.approx(100 * (rows[0].foretold_ms / rows[0].measured_ms - 1))
    assert summary(rows)["largest_error_percent"] == abs(rows[0].error_percent)
