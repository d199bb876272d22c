"""Peaks are of one thing alone, in a process that dies without harm."""

from pathlib import Path

import numpy as np
import pytest

from basic.benchmarks import memory
from basic.benchmarks.images import Photo
from basic.benchmarks.results import BenchError

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
PHOTO = Photo("a.png", np.zeros((64, 64, 3), np.uint8))


def target(bundle: Path | str, engine: str = "ort") -> memory.Target:
    return memory.Target(str(bundle), engine, 1, 32, (0,))


def test_a_process_knows_what_it_holds_and_held() -> None:
    before = memory.status_mib("VmRSS")
    block = np.ones(16 << 20)  # 128 MiB
    assert memory.status_mib("VmRSS") > before + 100
    del block
    assert memory.status_mib("VmHWM") > before + 100
    with pytest.raises(OSError, match="VmNothing"):
        memory.status_mib("VmNothing")


def test_parts_and_tasks_have_peaks_of_their_own(bundle_path: Path) -> None:
    if not bundle_path.exists():
        pytest.skip("no bundle")
    peaks = memory.peak_memory_mib(target(bundle_path), PHOTO)
    assert {name for _, name in peaks} == {"encode", "decode", "analysis", "hyper", "context_g0", "synthesis"}
    assert all(peak is not None and 0 < peak < 500 for peak in peaks.values())


def test_what_dies_has_no_peak_and_kills_nothing(bundle_path: Path) -> None:
    if not bundle_path.exists():
        pytest.skip("no bundle")
    peaks = memory.peak_memory_mib(target(bundle_path, engine="warp"), PHOTO)
    assert peaks and set(peaks.values()) == {None}


def test_a_failing_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"nothing.*--skip memory"):
        memory.peak_memory_mib(target(tmp_path / "nothing"), PHOTO)
