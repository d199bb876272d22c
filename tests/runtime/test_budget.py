"""Laws of time budgets: the chosen level is the heaviest that fits, and what cannot fit is refused with the least."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeBundle, fake_codec

from basic.runtime.bitstream import read
from basic.runtime.budget import STEPS, LatencyProfile, Slowness
from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.errors import BudgetError, BundleError

IDS = (b"level--0", b"level--1", b"level--2")
SIZES = (4096, 16384)


def profile() -> LatencyProfile:
    """Level l: analysis 10 (l + 1) ms at the larger size, a quarter at the smaller; the others half of that."""
    curves = {
        level: {
            step: tuple(
                (size, 10.0 * (level + 1) * size / SIZES[-1] * (1.0 if step == "analysis" else 0.5)) for size in SIZES
            )
            for step in STEPS
        }
        for level in range(3)
    }
    return LatencyProfile("fake", 1, {level: each.hex() for level, each in enumerate(IDS)}, curves, {})


def codec_with_profile() -> Codec:
    codec = fake_codec()
    codec._latency = profile()
    return codec


IMAGE = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)


@pytest.mark.parametrize(("budget_ms", "level"), [(15.0, 0), (29.9, 0), (30.0, 1), (45.0, 2), (1e6, 2)])
def test_encoding_takes_the_heaviest_level_within_the_budget(budget_ms: float, level: int) -> None:
    with codec_with_profile() as codec:
        assert codec.encode(IMAGE, budget_ms=budget_ms) == codec.encode(IMAGE, level=level)


def test_an_entropy_level_of_its_own_counts_with_its_own_time() -> None:
    with codec_with_profile() as codec:
        data = codec.encode(IMAGE, entropy_level=0, budget_ms=26.0)  # analysis 2 takes 20 ms, entropy 0 takes 5
        assert read(data, 1 << 20).header.level == 0
        assert data == codec.encode(IMAGE, level=1, entropy_level=0)


@pytest.mark.parametrize(("budget_ms", "level"), [(15.0, 0), (20.0, 1), (30.0, 2)])
def test_decoding_chooses_the_synthesis_alone(budget_ms: float, level: int) -> None:
    with codec_with_profile() as codec:
        data = codec.encode(IMAGE, level=1)
        budgeted, plain = codec.decode(data, budget_ms=budget_ms), codec.decode(data, level=level)
        np.testing.assert_array_equal(np.asarray(budgeted), np.asarray(plain))


def test_what_cannot_fit_is_refused_with_the_least() -> None:
    with codec_with_profile() as codec:
        with pytest.raises(BudgetError, match=r"at least 15\.0 .*got 14"):
            codec.encode(IMAGE, budget_ms=14)
        data = codec.encode(IMAGE, level=2)
        with pytest.raises(BudgetError, match=r"at least 20\.0, the file's entropy level 2 plus synthesis 0"):
            codec.decode(data, budget_ms=19)


def test_budgets_are_checked() -> None:
    with codec_with_profile() as codec:
        for bad in (0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="positive number"):
                codec.encode(IMAGE, budget_ms=bad)
        with pytest.raises(ValueError, match="got both"):
            codec.encode(IMAGE, level=1, budget_ms=50)
    with fake_codec() as codec, pytest.raises(BudgetError, match="--save-profile"):
        codec.encode(IMAGE, budget_ms=50)


def test_time_is_flat_below_linear_between_and_proportional_beyond_the_sizes() -> None:
    found = profile()
    assert found.encode_ms(0, 0, 100) == found.encode_ms(0, 0, SIZES[0]) == pytest.approx(3.75)
    assert found.encode_ms(0, 0, (SIZES[0] + SIZES[1]) // 2) == pytest.approx((3.75 + 15) / 2)
    assert found.encode_ms(0, 0, 2 * SIZES[1]) == pytest.approx(30)


def test_a_profile_returns_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(profile().to_json())
    assert LatencyProfile.load(tmp_path / "p.json") == profile()


@pytest.mark.parametrize("damage", ["missing", "text", "version", "times", "no levels"])
def test_a_damaged_profile_is_refused(damage: str, tmp_path: Path) -> None:
    path, content = tmp_path / "p.json", json.loads(profile().to_json())
    if damage == "version":
        content["format_version"] = 9
    elif damage == "times":
        content["levels"]["0"]["steps"]["analysis"] = [[5, 1.0], [5, 1.0]]
    elif damage == "no levels":
        content["levels"] = {}
    if damage != "missing":
        path.write_text("text" if damage == "text" else json.dumps(content))
    with pytest.raises(BundleError, match="save-profile"):
        LatencyProfile.load(path)


def test_a_profile_of_another_bundle_or_engine_is_refused() -> None:
    bundle = FakeBundle()
    profile().check_for(bundle, "fake")  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match="engine other"):
        profile().check_for(bundle, "other")  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match="this codec has"):
        profile().check_for(FakeBundle((b"x" * 8, *IDS[1:])), "fake")  # type: ignore[arg-type]


def test_what_a_damaged_profile_lacks_is_told_in_words(tmp_path: Path) -> None:
    for text, words in ((None, r"\(No such file or directory\)"), ("{}", r"\('format' is missing\)")):
        path = tmp_path / "p.json"
        if text is not None:
            path.write_text(text)
        with pytest.raises(BundleError, match=rf"p\.json: expected basic-latency-profile version 1 {words}; make it"):
            LatencyProfile.load(path)


def test_a_profile_of_another_number_of_threads_is_refused() -> None:
    bundle: Any = FakeBundle()
    profile().check_for(bundle, "fake", 1)
    with pytest.raises(BudgetError, match="measured with num_threads 1, this codec was asked for 2"):
        profile().check_for(bundle, "fake", 2)
    with pytest.raises(BudgetError, match=r"measured with num_threads None, .* asked for 2"):
        replace(profile(), threads=None).check_for(bundle, "fake", 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_codec_takes_the_threads_of_its_profile(threads: int, bundle_path: Path) -> None:
    bundle = Bundle.open(bundle_path)
    ids = {level: entry.entropy_id.hex() for level, entry in bundle.levels.items()}
    curves = {level: dict.fromkeys(STEPS, ((4096, 10.0),)) for level in ids}
    found = LatencyProfile("ort", threads, ids, curves, {})
    with Codec.open(bundle, latency_profile=found) as codec:
        assert codec._networks.traits.num_threads == threads
    with pytest.raises(BudgetError, match=f"asked for {3 - threads}"):
        Codec.open(bundle, num_threads=3 - threads, latency_profile=found)


def test_a_slower_machine_is_noticed_and_forgotten_again() -> None:
    slowness = Slowness()
    assert slowness.factor == 1.0
    slowness.add(30.0, 10.0)
    assert slowness.factor == 3.0
    for _ in range(Slowness.REMEMBERED):
        slowness.add(1.0, 10.0)
    assert slowness.factor == Slowness.LEAST


def test_calls_after_slow_ones_take_lighter_levels() -> None:
    with codec_with_profile() as codec:
        codec._slowness.add(20.0, 10.0)
        assert codec.encode(IMAGE, budget_ms=45) == codec.encode(IMAGE, level=0)
        data = codec.encode(IMAGE, level=0)
        budgeted = codec.decode(data, budget_ms=40.0)
        np.testing.assert_array_equal(np.asarray(budgeted), np.asarray(codec.decode(data, level=2)))
        with pytest.raises(BudgetError, match=r"at least 30\.0"):
            codec.encode(IMAGE, budget_ms=29)


def test_calls_that_open_networks_are_not_counted() -> None:
    with codec_with_profile() as codec:
        codec.encode(IMAGE, budget_ms=1e6)
        assert codec._slowness.factor == 1.0
        codec.encode(IMAGE, budget_ms=1e6)
        assert codec._slowness.factor == Slowness.LEAST
