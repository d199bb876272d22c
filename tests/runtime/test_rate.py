"""Laws of the search: the best quality within a target, the nearest where none is."""

import numpy as np
import pytest
from fakes import fake_codec

from basic.runtime import rate

IMAGE = np.random.default_rng(1).integers(0, 256, (192, 256, 3), dtype=np.uint8)


def bpp_at(quality: int) -> float:
    return rate.encode_at(fake_codec(), IMAGE, quality=quality).bpp


def test_the_best_quality_within_a_rate() -> None:
    target = bpp_at(41)
    found = rate.encode_at(fake_codec(), IMAGE, target_bpp=target)
    assert found.reached and found.bpp <= target and found.quality >= 41
    assert found.quality == 63 or bpp_at(found.quality + 1) > target
    assert found.data == fake_codec().encode(IMAGE, quality=found.quality)


@pytest.mark.parametrize(("target", "quality", "reached"), [(1e-6, 0, False), (1e6, 63, True)])
def test_rates_out_of_reach(target: float, quality: int, reached: bool) -> None:
    found = rate.encode_at(fake_codec(), IMAGE, target_bpp=target)
    assert (found.quality, found.reached) == (quality, reached)


def test_the_lowest_quality_with_a_psnr() -> None:
    flat = np.full((256, 256, 3), (90, 120, 200), np.uint8)
    psnr = {q: rate.encode_at(fake_codec(), flat, target_psnr_db=1e9).psnr_db for q in (63,)}
    found = rate.encode_at(fake_codec(), flat, target_psnr_db=psnr[63] - 3)
    assert found.reached and found.psnr_db is not None and found.psnr_db >= psnr[63] - 3
    assert rate.encode_at(fake_codec(), flat, target_psnr_db=0).quality == 0
    beyond = rate.encode_at(fake_codec(), flat, target_psnr_db=1e9)
    assert (beyond.quality, beyond.reached) == (63, False)


def test_one_target_at_a_time() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        rate.encode_at(fake_codec(), IMAGE)
    with pytest.raises(ValueError, match="exactly one"):
        rate.encode_at(fake_codec(), IMAGE, quality=1, target_bpp=1)


@pytest.mark.parametrize("target", [{"target_bpp": 0}, {"target_bpp": -1}, {"target_bpp": float("nan")}])
def test_a_rate_that_none_can_have_is_refused(target: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="target_bpp: expected a positive number"):
        rate.encode_at(fake_codec(), IMAGE, **target)


@pytest.mark.parametrize("target", [-1, float("nan"), float("inf")])
def test_a_psnr_that_none_can_have_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target_psnr_db: expected a number of at least 0"):
        rate.encode_at(fake_codec(), IMAGE, target_psnr_db=target)
