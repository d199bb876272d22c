"""A measured profile has every step of every level at rising sizes, and serves budgets."""

import json

import numpy as np
import pytest
from fakes import FakeBundle, FakeEngine

from basic.benchmarks import latency_profile
from basic.benchmarks.images import Photo
from basic.benchmarks.latency_profile import FEW_CHECKS, Kept, check_profile, describe, doubts, measure_profile, tiled
from basic.runtime.budget import STEPS, LatencyProfile
from basic.runtime.codec import Codec
from basic.runtime.errors import BudgetError

PHOTO = Photo("a.png", np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8))


def test_a_profile_is_measured_and_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_profile, "SIZES", ((64, 64), (128, 128)))
    monkeypatch.setattr(latency_profile, "ROUNDS", 2)
    with Codec(FakeBundle(), FakeEngine()) as codec:  # type: ignore[arg-type]
        found = measure_profile(codec, "fake", 1, [0, 1, 2], PHOTO, lambda text: None)
        assert set(found.curves) == {0, 1, 2}
        for steps in found.curves.values():
            assert set(steps) == set(STEPS)
            assert all([size for size, _ in curve] == [4096, 16384] for curve in steps.values())
        codec._latency = found
        kept = describe(check_profile(codec, [PHOTO], 2, lambda text: None))
        assert kept["encodes_in_budget"] <= kept["num_encodes"] <= 2  # type: ignore[operator]
        assert kept["num_encodes"] + kept["num_refused"] >= 2  # type: ignore[operator]


def test_shares_of_no_calls_are_null_and_named() -> None:
    profile = LatencyProfile("ort", 1, {}, {0: {"analysis": ((64, 1.0), (128, 1.0), (256, 2.0))}}, {})
    nothing = Kept(0, 0, 0, 0, num_refused=10)
    shown = json.loads(json.dumps(describe(nothing)))
    assert (shown["encode_share"], shown["decode_share"], shown["num_refused"]) == (None, None, 10)
    (doubt,) = doubts(profile, nothing)
    assert doubt.startswith("no encode and no decode was checked: 10 of the drawn budgets were refused")
    (doubt,) = doubts(profile, Kept(2, 0, 1, 0))
    assert doubt.startswith("no decode was checked")
    half = Kept(40, 20, 20, 20)
    assert (describe(half)["encode_share"], describe(half)["decode_share"]) == (0.5, 1.0)
    assert doubts(profile, half) == []


def test_shares_of_few_calls_are_doubted() -> None:
    profile = LatencyProfile("ort", 1, {}, {0: {"analysis": ((64, 1.0), (128, 2.0))}}, {})
    (doubt,) = doubts(profile, Kept(40, FEW_CHECKS - 1, 40, 1))
    assert doubt.startswith(f"only 40 encodes and {FEW_CHECKS - 1} decodes were checked, 0 budgets refused")
    assert doubts(profile, Kept(40, FEW_CHECKS, 40, 1)) == []


def test_times_that_fall_where_images_grow_are_named() -> None:
    rising, falling = ((64, 1.0), (128, 2.0)), ((64, 3.0), (128, 2.5))
    curves = {level: {"analysis": rising, "entropy_decode": falling} for level in range(5)}
    (doubt,) = doubts(LatencyProfile("ort", 1, {}, curves, {}), Kept(99, 99, 99, 99))
    assert "level 0 entropy decode (3.0 ms at 64 pixels, 2.5 at 128)" in doubt
    assert "analysis" not in doubt and "and 2 more; measure again" in doubt


def test_every_drawn_budget_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, budget_ms: float | None = None, **more: object) -> bytes:
        if budget_ms is not None:
            raise BudgetError("too slow")
        return b""

    with Codec(FakeBundle(), FakeEngine()) as codec:  # type: ignore[arg-type]
        monkeypatch.setattr(codec, "encode", refuse)
        kept = check_profile(codec, [PHOTO, PHOTO], 3, lambda text: None)
    assert kept == Kept(0, 0, 0, 0, num_refused=6)


def test_a_photograph_is_repeated_to_a_size() -> None:
    image = tiled(PHOTO, 128, 192)
    assert image.size == (192, 128)
    np.testing.assert_array_equal(np.asarray(image)[:96, 64:128], PHOTO.pixels)
