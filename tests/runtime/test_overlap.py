"""Laws of overlapping: the same bytes as one batch after the other, coding beside networks, networks one at a time."""

import concurrent.futures
import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBundle, FakeEngine

from basic.runtime import codec as codec_module
from basic.runtime import overlap as overlap_module
from basic.runtime.codec import Codec
from basic.runtime.engine import Traits
from basic.runtime.errors import BitstreamError
from basic.runtime.overlap import MAX_SIDE_BY_SIDE, InTurn, Overlap, divided
from basic.runtime.profile import Profile


def image(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, x + y], -1).astype(np.uint8)


def overlapping(kind: str) -> tuple[Codec, FakeEngine]:
    engine = FakeEngine()
    engine.traits = Traits(overlap=kind)
    return Codec(FakeBundle(), engine), engine


@pytest.mark.parametrize("kind", ["turns", "queue"])
def test_files_and_images_do_not_depend_on_it(kind: str) -> None:
    (one_by_one, _), (codec, engine) = overlapping("none"), overlapping(kind)
    pixels = image(700, 900)
    data = codec.encode(pixels, tile_size=256)
    assert data == one_by_one.encode(pixels, tile_size=256)
    assert np.array_equal(np.asarray(codec.decode(data)), np.asarray(one_by_one.decode(data)))
    assert sum(part == "hyper" for part, _ in engine.batches) >= 4
    codec.close()


def test_nothing_of_a_failed_run_goes_on() -> None:
    """Jobs write into the caller's memory, which the next call uses again."""
    overlap, begun, waited, ended = Overlap(Traits(overlap="queue")), threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        if number == 0:
            assert begun.wait(20)
            raise BitstreamError("damaged")
        begun.set()
        assert waited.wait(20), "the run has ended, this job has not"
        ended.append(number)

    def waiting(futures: list) -> None:
        waited.set()
        concurrent.futures.wait(futures)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(BitstreamError):
        patch.setattr(overlap_module, "wait", waiting)
        overlap.run(work, [0, 1])
    assert ended == [1]
    overlap.close()


def test_memory_of_a_failed_decode_is_not_used_again() -> None:
    codec, _ = overlapping("queue")
    pixels = image(700, 900)
    data = codec.encode(pixels, tile_size=256)
    expected = codec.decode_latents(data)
    room = codec._networks.rooms["latents"]
    before = room.array((8,), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec_module, "_decode_tiles", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            codec.decode_latents(data)
    assert not np.shares_memory(room.array((8,), np.float32), before)
    assert np.array_equal(codec.decode_latents(data), expected)
    codec.close()


def test_coding_and_networks_run_side_by_side() -> None:
    """A network that waits for another batch's coding would wait for ever if they took turns."""
    overlap = Overlap(Traits(overlap="turns"))
    coding, coded = threading.Event(), threading.Event()

    class Networks:
        def run(self, inputs: dict) -> dict:
            if inputs:
                assert coding.wait(20), "the first batch is not being coded while this network runs"
                coded.set()
            return {}

    networks = overlap.session(Networks())

    def work(number: int) -> int:
        networks.run({"second": np.zeros(1)} if number else {})
        if not number:
            coding.set()
            assert coded.wait(20), "the second batch's network does not run while this one is coded"
        return number

    assert overlap.run(work, [0, 1]) == [0, 1]
    overlap.close()


def test_networks_in_turn_are_never_two_at_once() -> None:
    running, most = [0], [0]

    class Networks:
        def run(self, inputs: dict) -> dict:
            running[0] += 1
            most[0] = max(most[0], running[0])
            np.linalg.svd(np.ones((60, 60)))  # lets go of the interpreter
            running[0] -= 1
            return {}

    overlap = Overlap(Traits(overlap="turns"))
    session = overlap.session(Networks())
    assert isinstance(session, InTurn)
    overlap.run(lambda _: session.run({}), range(60))
    overlap.close()
    assert most == [1]


def test_the_first_error_in_order_is_raised() -> None:
    overlap = Overlap(Traits(overlap="queue"))

    def work(number: int) -> int:
        if number in (2, 5):
            raise BitstreamError(f"tile {number}")
        return number

    with pytest.raises(BitstreamError, match="tile 2"):
        overlap.run(work, range(8))
    assert overlap.run(work, [0, 1]) == [0, 1]  # and it goes on working
    overlap.close()


def test_a_damaged_tile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, _ = overlapping("turns")
    data = codec.encode(image(512, 512), tile_size=128)
    path = codec._networks.path(max(codec.bundle.levels))
    decode: Callable = path.decode

    def broken(payloads: list, *rest: object) -> list:
        if any(bytes(payload) == broken_payload for payload in payloads):
            raise BitstreamError("damaged")
        return decode(payloads, *rest)

    broken_payload = bytes(codec_module.bitstream.read(data, 1 << 20).tiles[9])
    monkeypatch.setattr(path, "decode", broken)
    with pytest.raises(BitstreamError, match="tile"):
        codec.decode(data)
    codec.close()


def test_a_profile_sees_one_thing_after_the_other() -> None:
    codec, _ = overlapping("queue")
    profile = Profile()
    codec.encode(image(700, 900), tile_size=256, profile=profile)
    assert codec._overlap._pool is None and profile.wall_s["glue"] >= 0


@pytest.mark.parametrize(("sizes", "at_least"), [([5], 4), ([1, 1], 4), ([8, 1, 2], 3), ([3, 9], 6), ([], 2)])
def test_dividing_keeps_order_and_tiles(sizes: list[int], at_least: int) -> None:
    batches = [[(i, j) for j in range(size)] for i, size in enumerate(sizes)]
    found = divided(batches, at_least)
    assert [tile for batch in found for tile in batch] == [tile for batch in batches for tile in batch]
    assert len(found) == max(len(sizes), min(at_least, sum(sizes)))
    assert all(len({i for i, _ in batch}) == 1 for batch in found)


def test_a_photograph_in_tiles_on_the_cpu_engine(data_folder: Path, bundle_path: Path) -> None:
    with Codec.open(bundle_path, num_threads=2) as codec, Codec.open(bundle_path, num_threads=1) as alone:
        assert codec._overlap.num_jobs == 2 and alone._overlap.num_jobs == 1
        photo = data_folder / "kodim23.png"
        data = codec.encode(photo, level=0, tile_size=256)
        assert data == alone.encode(photo, level=0, tile_size=256)
        assert np.array_equal(np.asarray(codec.decode(data)), np.asarray(alone.decode(data)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_codec_that_has_worked_works_on_in_a_forked_process(data_folder: Path, bundle_path: Path) -> None:
    code = f"""
import os, signal
from basic.runtime.codec import Codec
with Codec.open({str(bundle_path)!r}, num_threads=2) as codec:
    work = lambda: codec.encode({str(data_folder / "kodim23.png")!r}, level=0, tile_size=256)
    data = work()
    child = os.fork()
    if not child:
        signal.alarm(60)  # ends a child that waits for threads of its parent
        os._exit(0 if work() == data else 1)
    assert os.waitpid(child, 0)[1] == 0
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_codec_is_not_copied(duplicate: Callable[[Codec], object]) -> None:
    with pytest.raises(TypeError, match="open one in each process"):
        duplicate(overlapping("none")[0])


class TwoThreads(FakeEngine):
    """Networks of two threads, or of one thread that run side by side."""

    traits = Traits(overlap="turns", num_threads=2, window_size=256)

    def __init__(self) -> None:
        super().__init__()
        self.lone = FakeEngine()

    def alone(self) -> FakeEngine:
        return self.lone


def test_work_is_shared_out_to_networks_of_one_thread() -> None:
    engine, single = TwoThreads(), overlapping("none")[0]
    codec = Codec(FakeBundle(), engine)  # type: ignore[arg-type]
    pixels = image(700, 900)
    data = codec.encode(pixels, tile_size=256)
    assert data == single.encode(pixels, tile_size=256)
    assert np.array_equal(np.asarray(codec.decode(data)), np.asarray(single.decode(data)))
    assert {part for part, _ in engine.lone.batches} == {
        "analysis",
        "hyper",
        *(f"context_g{g}" for g in range(4)),
        "synthesis",
    }
    assert not engine.batches
    codec.close()


def test_small_and_single_work_keeps_all_threads_in_one_network() -> None:
    engine = TwoThreads()
    codec = Codec(FakeBundle(), engine)  # type: ignore[arg-type]
    data = codec.encode(image(100, 200))
    codec.decode(data)
    codec.decode(codec.encode(image(700, 900), tile_size=256, profile=Profile()), profile=Profile())
    assert not engine.lone.batches
    assert engine.batches
    codec.close()


def test_more_threads_than_may_run_side_by_side_share_networks() -> None:
    batches = [[number] for number in range(100)]
    assert Overlap(Traits(num_threads=MAX_SIDE_BY_SIDE)).shared_out(batches) == batches
    assert Overlap(Traits(num_threads=MAX_SIDE_BY_SIDE + 1)).shared_out(batches) is None
    assert Overlap(Traits(num_threads=3)).shared_out([[1, 2], [3]]) == [[1], [2], [3]]
    assert Overlap(Traits(num_threads=3)).shared_out([[1], [2]]) is None


def test_windows_run_at_once() -> None:
    """Each of two analyses waits for the other to begin."""
    engine, both = TwoThreads(), threading.Barrier(2)
    codec = Codec(FakeBundle(), engine)  # type: ignore[arg-type]
    opened = FakeEngine.open

    def open_waiting(self: FakeEngine, bundle: FakeBundle, level: int, part: str) -> object:
        session = opened(self, bundle, level, part)
        run = session.run

        def wait_and_run(inputs: dict) -> dict:
            if part == "analysis":
                both.wait(20)
            return run(inputs)

        session.run = wait_and_run
        return session

    engine.lone.open = open_waiting.__get__(engine.lone)
    codec.encode(image(512, 512))
    codec.close()
