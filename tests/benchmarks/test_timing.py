"""Every call is counted once, warm-up never, and a whole is the sum of its parts."""

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeBundle, fake_codec

from basic.benchmarks.images import Photo
from basic.benchmarks.rate import mean_or_none, measure_rates, peer_curves
from basic.benchmarks.results import PeerRow
from basic.benchmarks.timing import Clock, Costs, Plan, level_rows, part_rows, time_levels

PHOTOS = [Photo(f"{i}.png", np.random.default_rng(i).integers(0, 256, (64, 128, 3), np.uint8)) for i in range(2)]


def bundle_with_parts() -> FakeBundle:
    bundle = FakeBundle()
    for level in bundle.levels.values():
        names = ["analysis", "hyper", *(f"context_g{g}" for g in range(len(level.plan))), "synthesis"]
        level.parts = {
            name: SimpleNamespace(kmacs_per_pixel=0.5, num_parameters=7, precision="float") for name in names
        }
    return bundle


def test_percentiles_are_of_the_samples_given() -> None:
    clock = Clock()
    for milliseconds in range(1, 102):
        clock.add(milliseconds / 1000, milliseconds / 2000)
    latency = clock.latency()
    found = (latency.latency_p50_ms, latency.latency_p90_ms, latency.latency_p99_ms, latency.cpu_p50_ms)
    assert found == pytest.approx((51, 91, 100, 25.5))
    assert latency.num_samples == 101


def test_warm_up_is_not_counted_and_levels_take_turns() -> None:
    steps: list[str] = []
    with fake_codec() as codec:
        plan = Plan(quality=32, warmup=2, repeats=3)
        clocks = time_levels(codec, (0, 2), PHOTOS, plan, steps.append, lambda: steps.append("rival"))
    assert steps == ["timing level 0", "timing level 2", "rival"] * 3
    for level, num_groups in ((0, 1), (2, 4)):
        measured = clocks[level]
        assert len(measured.bpp) == 6
        assert len(measured.tasks["encode"].wall_s) == len(measured.tasks["decode"].wall_s) == 6
        assert len(measured.parts["synthesis"].wall_s) == len(measured.parts["analysis"].wall_s) == 6
        assert len(measured.parts["hyper"].wall_s) == 12  # encoder and decoder run it
        assert f"context_g{num_groups - 1}" in measured.parts


def test_network_coder_and_glue_are_the_whole() -> None:
    with fake_codec() as codec:
        clocks = time_levels(codec, (1,), PHOTOS, Plan(32, 1, 1), lambda _: None)[1]
    for task in ("encode", "decode"):
        sums = np.sum([clocks.sums_s[task, name] for name in ("network", "coder", "glue")], axis=0)
        assert sums == pytest.approx(clocks.tasks[task].wall_s)
        assert min(clocks.sums_s[task, "coder"]) > 0


def test_rows_join_times_with_costs() -> None:
    bundle = bundle_with_parts()
    with fake_codec() as codec:
        clocks = time_levels(codec, (1,), PHOTOS, Plan(32, 1, 1), lambda _: None)
    costs = Costs(64 * 128, {(1, "hyper"): 99}, {(1, "hyper"): 5.0, (1, "decode"): 6.0})
    parts = {row.part: row for row in part_rows("ort", bundle, clocks, costs)}  # type: ignore[arg-type]
    assert list(parts) == ["analysis", "hyper", "context_g0", "context_g1", "synthesis"]
    assert parts["hyper"].num_macs == 500 * 64 * 128 and parts["hyper"].precision == "float"
    assert (parts["hyper"].traffic_bytes, parts["hyper"].peak_memory_mib) == (99, 5.0)
    assert parts["synthesis"].traffic_bytes is None
    encode, decode = level_rows("ort", bundle, clocks, costs)  # type: ignore[arg-type]
    assert (encode.task, decode.task, decode.num_groups) == ("encode", "decode", 2)
    assert decode.kmacs_per_pixel == encode.kmacs_per_pixel == 2.0
    assert (encode.peak_memory_mib, decode.peak_memory_mib) == (None, 6.0)
    assert decode.images_per_s > 0


def test_rates_are_of_whole_files() -> None:
    with fake_codec() as codec:
        rows = measure_rates(codec, "fake", (0, 1), (10, 50), PHOTOS, lambda _: None)
        sizes = [len(codec.encode(photo.pixels, level=1, quality=50)) for photo in PHOTOS]
    assert [(row.level, row.quality) for row in rows] == [(0, 10), (0, 50), (1, 10), (1, 50)]
    assert rows[-1].bpp == pytest.approx(8 * np.mean(sizes) / (64 * 128))
    assert rows[-1].ms_ssim is None  # too small for five scales


def test_a_mean_needs_all_of_its_values() -> None:
    assert mean_or_none([1.0, 3.0]) == 2
    assert mean_or_none([1.0, None]) is None
    assert mean_or_none([]) is None


def test_peers_without_rates_have_no_curve() -> None:
    rated = [PeerRow("A", str(i), 1, bpp, psnr, None, 1, 1, 1, 1) for i, bpp, psnr in ((0, 0.9, 33.0), (1, 0.3, 30.0))]
    unrated = PeerRow("B", "random weights", 1, None, None, None, 1, 1, 1, 1)
    (curve,) = peer_curves([*rated, unrated])
    assert (curve.name, curve.bpp, curve.psnr_db) == ("A here", (0.3, 0.9), (30.0, 33.0))
