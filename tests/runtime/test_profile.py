"""Laws of the profile: parts add up, and glue is what is left."""

import time

import pytest

from basic.runtime.profile import Profile, measure


def test_parts_and_glue_add_up_to_the_whole() -> None:
    profile = Profile()
    start = time.perf_counter()
    for _ in range(2):
        with profile.whole():
            with measure(profile, "hyper"):
                time.sleep(0.02)
            time.sleep(0.01)
    elapsed = time.perf_counter() - start
    assert profile.wall_s["hyper"] >= 0.04
    assert profile.wall_s["glue"] >= 0.02
    assert sum(profile.wall_s.values()) == pytest.approx(elapsed, abs=0.005)
    assert set(profile.cpu_s) == {"hyper", "glue"}


def test_measuring_nothing_costs_nothing() -> None:
    with measure(None, "hyper"):
        pass
