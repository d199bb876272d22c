"""A measured profile has every step of every level at rising sizes, and serves budgets."""

import numpy as np
import pytest
from fakes import FakeBundle, FakeEngine

from basic.benchmarks import latency_profile
from basic.benchmarks.images import Photo
from basic.benchmarks.latency_profile import check_profile, describe, measure_profile, tiled
from basic.runtime.budget import STEPS
from basic.runtime.codec import Codec

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
        assert 0 <= kept["encodes_in_budget"] <= kept["num_encodes"] <= 2


def test_a_photograph_is_repeated_to_a_size() -> None:
    image = tiled(PHOTO, 128, 192)
    assert image.size == (192, 128)
    np.testing.assert_array_equal(np.asarray(image)[:96, 64:128], PHOTO.pixels)
