"""Laws of the codec, on networks of numpy: whatever comes in comes back, tiles and batches change nothing."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fakes import FakeBundle, FakeEngine, M, fake_codec
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basic.runtime import bitstream
from basic.runtime.codec import Codec
from basic.runtime.engine import Traits
from basic.runtime.errors import ArgumentError, BitstreamError, BundleError, EngineError, ImageError
from basic.runtime.profile import GLUE, Profile

RNG = np.random.default_rng(11)


def scene(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Something smooth that fills every block."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(rows / (17 + 9 * c)) + np.cos(columns / (23 - 5 * c)) for c in range(channels)]
    return np.stack([(wave * 63 + 128) for wave in waves], -1).astype(np.uint8)


def distance(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from(["L", "LA", "RGB", "RGBA"]), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_every_size_and_mode_comes_back(height: int, width: int, mode: str, level: int) -> None:
    image = Image.fromarray(scene(height, width, 4)).convert(mode)
    codec = fake_codec()
    back = codec.decode(codec.encode(image, level=level, quality=63))
    assert (back.mode, back.size) == (mode, image.size)
    if mode.endswith("A"):
        assert np.array_equal(np.asarray(back.getchannel("A")), np.asarray(image.getchannel("A")))


@pytest.mark.parametrize("level", range(3))
def test_the_decoder_finds_the_symbols_of_the_encoder(level: int) -> None:
    codec, image = fake_codec(), scene(190, 260)
    data = codec.encode(image, level=level, quality=40)
    latents = codec.decode_latents(data)
    assert latents.dtype == np.int32 and latents.shape == (M, 192 // 16, 320 // 16)
    y = codec._networks.opened[level, "analysis"].run({"x": padded_input(image), "gain": codec.bundle.gain(40)})["y"][0]
    assert np.abs(latents / 8 - y).max() <= 0.5


def padded_input(image: np.ndarray) -> np.ndarray:
    wide = np.pad(image, ((0, -image.shape[0] % 64), (0, -image.shape[1] % 64), (0, 0)), "edge")
    return np.ascontiguousarray(wide.transpose(2, 0, 1)[None] * np.float32(1 / 255))


def test_a_good_rate_gives_a_near_image() -> None:
    codec, flat = fake_codec(), np.full((230, 250, 3), (10, 100, 250), np.uint8)
    decoded = np.asarray(codec.decode(codec.encode(flat, quality=63))).astype(int)
    assert np.abs(decoded - flat)[64:-64, 64:-64].max() <= 3


@pytest.mark.parametrize("tile_size", [64, 128, 192])
def test_tiles_change_no_pixel_beyond_their_symbols(tile_size: int) -> None:
    codec, image = fake_codec(), scene(330, 450)
    whole = codec.encode(image, level=2, quality=63)
    tiled = codec.encode(image, level=2, quality=63, tile_size=tile_size)
    assert bitstream.read(tiled).header.num_tiles > 1
    assert distance(codec.decode(whole), codec.decode(tiled)) <= 3


@pytest.mark.parametrize("window_size", [64, 128, 320])
def test_windows_change_nothing(window_size: int) -> None:
    codec, windowed, image = fake_codec(), fake_codec(window_size=window_size), scene(330, 450)
    data = codec.encode(image, quality=63)
    assert windowed.encode(image, quality=63) == data
    assert distance(windowed.decode(data), codec.decode(data)) == 0
    with pytest.raises(ValueError, match="window_size"):
        fake_codec(window_size=100)


def test_levels_are_free_of_each_other() -> None:
    codec, image = fake_codec(), scene(100, 100)
    for level in range(3):
        for entropy_level in range(3):
            data = codec.encode(image, level=level, entropy_level=entropy_level)
            assert bitstream.read_header(data).level == entropy_level
            for synthesis_level in (None, 0, 1, 2):
                assert codec.decode(data, level=synthesis_level).size == (100, 100)
    assert bitstream.read_header(codec.encode(image)).level == 2
    codec.decode(codec.encode(image, level=1), level=0)
    assert {(0, "synthesis"), (1, "hyper")} <= set(codec._networks.opened)


def test_batches_equal_single_runs_and_share_networks() -> None:
    engine = FakeEngine()
    codec = Codec(FakeBundle(), engine)  # type: ignore[arg-type]
    images = [scene(100, 130), scene(128, 192), scene(64, 64), scene(100, 129)[..., 0]]
    together = codec.encode_batch(images, level=1, quality=50)
    assert ("analysis", 3) in engine.batches and ("analysis", 1) in engine.batches
    assert ("hyper", 3) in engine.batches and ("context_g1", 3) in engine.batches
    assert together == [codec.encode(image, level=1, quality=50) for image in images]
    decoded = codec.decode_batch(together)
    assert ("synthesis", 3) in engine.batches
    for one, data in zip(decoded, together, strict=True):
        assert distance(one, codec.decode(data)) == 0
    assert codec.encode_batch([]) == [] and codec.decode_batch([]) == []


def test_batches_of_several_qualities_and_levels() -> None:
    codec, image = fake_codec(), scene(64, 64)
    files = [codec.encode(image, level=level, quality=quality) for level in range(3) for quality in (10, 60)]
    for one, data in zip(codec.decode_batch(files), files, strict=True):
        assert distance(one, codec.decode(data)) == 0


def test_large_batches_are_cut() -> None:
    engine = FakeEngine()
    engine.traits = Traits(batch_pixels=2 * 64 * 64)
    codec = Codec(FakeBundle(), engine)  # type: ignore[arg-type]
    codec.encode_batch([scene(64, 64)] * 5)
    assert [size for part, size in engine.batches if part == "analysis"] == [2, 2, 1]


def test_threads_share_a_codec() -> None:
    codec = fake_codec()
    images = [scene(60 + 7 * i, 200 - 5 * i) for i in range(12)]
    barrier = threading.Barrier(4)

    def work(number: int) -> list[bytes]:
        barrier.wait()
        files = [codec.encode(image, level=(number + i) % 3) for i, image in enumerate(images)]
        for data in files:
            codec.decode(data)
        return files

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    for number, files in enumerate(found):
        assert files == [fake_codec().encode(image, level=(number + i) % 3) for i, image in enumerate(images)]


def test_another_bundle_is_refused_with_both_ids() -> None:
    data = fake_codec().encode(scene(64, 64), level=1)
    other = Codec(FakeBundle((b"other--0", b"other--1")), FakeEngine())  # type: ignore[arg-type]
    with pytest.raises(BitstreamError) as caught:
        other.decode(data)
    assert b"level--1".hex() in str(caught.value) and b"other--1".hex() in str(caught.value)


def test_the_entropy_path_is_found_wherever_it_is() -> None:
    codec = fake_codec()
    data = codec.encode(scene(64, 64), level=0)
    moved = Codec(FakeBundle((b"level--0", b"level--0")), FakeEngine())  # type: ignore[arg-type]
    assert distance(moved.decode(data), codec.decode(data)) == 0


def test_every_cut_and_flip_is_refused_or_equal() -> None:
    codec = fake_codec()
    data = codec.encode(scene(40, 50), quality=20)
    expected = codec.decode(data)
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            codec.decode(data[:length])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            codec.decode(damaged)
    assert distance(codec.decode(data), expected) == 0


def test_payloads_with_right_checksums_and_wrong_content_are_refused() -> None:
    """What a hostile writer can do: damage inside the checksums. Never a crash, and nearly always an error."""
    codec = fake_codec()
    stream = bitstream.read(codec.encode(scene(64, 64), quality=30))
    payload = bytes(stream.tiles[0])
    num_refused = 0
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            codec.decode(bitstream.write(stream.header, None, None, [bytes(damaged)]))
        except BitstreamError:
            num_refused += 1
    assert num_refused > 7 * len(payload)
    for length in range(1, len(payload)):
        with pytest.raises(BitstreamError):
            codec.decode(bitstream.write(stream.header, None, None, [payload[:length]]))


def test_damage_names_the_tile() -> None:
    codec = fake_codec()
    stream = bitstream.read(codec.encode(scene(64, 192), tile_size=64))
    payloads = [bytes(stream.tiles[0]), bytes(stream.tiles[1])[:-2], bytes(stream.tiles[2])]
    with pytest.raises(BitstreamError, match="tile 1: "):
        codec.decode(bitstream.write(stream.header, None, None, payloads))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e7])
def test_latents_that_are_no_numbers_are_refused(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = fake_codec()
    monkeypatch.setattr(codec.bundle, "gain", lambda quality: np.full((1, M, 1, 1), value, np.float32))
    with pytest.raises(EngineError, match="analysis gave"), np.errstate(invalid="ignore"):
        codec.encode(scene(64, 64))


def test_options_out_of_range_are_refused() -> None:
    codec, image = fake_codec(max_pixels=5000), scene(64, 64)
    for quality in (-1, 64):
        with pytest.raises(ValueError, match="quality"):
            codec.encode(image, quality=quality)
    for tile_size in (0, 63, 100, 8192):
        with pytest.raises(ValueError, match="tile_size"):
            codec.encode(image, tile_size=tile_size)
    for level in (-1, 3):
        with pytest.raises(BundleError, match=f"level {level}"):
            codec.encode(image, level=level)
        with pytest.raises(BundleError, match=f"level {level}"):
            codec.decode(codec.encode(image), level=level)
    with pytest.raises(ImageError, match="max_pixels"):
        codec.encode(scene(64, 100))
    with pytest.raises(BitstreamError, match="max_pixels"):
        codec.decode(fake_codec().encode(scene(64, 100)))


def test_closing() -> None:
    engine = FakeEngine()
    with Codec(FakeBundle(), engine) as codec:  # type: ignore[arg-type]
        codec.encode(scene(64, 64))
    assert engine.closed
    with pytest.raises(EngineError, match="closed"):
        codec.encode(scene(64, 64))


def test_a_profile_has_every_part() -> None:
    codec, profile = fake_codec(), Profile()
    codec.decode(codec.encode(scene(64, 64), level=2, profile=profile), profile=profile)
    parts = {"analysis", "hyper", "coder", "synthesis", *GLUE} | {f"context_g{group}" for group in range(4)}
    assert set(profile.wall_s) == set(profile.cpu_s) == parts
    assert all(seconds >= 0 for seconds in profile.wall_s.values())


@pytest.mark.parametrize("profile", [3, "run.json", {}])
def test_a_profile_of_another_type_is_refused(profile: Any) -> None:
    codec = fake_codec()
    data = codec.encode(scene(64, 64))
    out = np.empty((64, 64, 3), np.uint8)
    for call in (
        lambda: codec.encode(scene(64, 64), profile=profile),
        lambda: codec.decode(data, profile=profile),
        lambda: codec.decode(data, profile=profile, out=out),
    ):
        with pytest.raises(ArgumentError, match=r"^profile: expected a basic\.runtime\.profile\.Profile, got "):
            call()


def test_icc_profile_survives() -> None:
    image = Image.fromarray(scene(64, 64))
    image.info["icc_profile"] = b"a profile" * 40
    codec = fake_codec()
    assert codec.decode(codec.encode(image)).info["icc_profile"] == b"a profile" * 40


@given(
    mode=st.integers(0, 7),
    quality=st.integers(0, 63),
    units=st.integers(1, 4),
    sides=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_hostile_files_with_right_checksums_are_errors_or_images(
    mode: int, quality: int, units: int, sides: tuple[int, int], data: st.DataObject
) -> None:
    flags = (bool(mode & 1), bool(mode & 2), bool(mode & 4))
    header = bitstream.Header(*sides, *flags, 1, quality, b"level--1", 64 * units)
    payloads = st.binary(min_size=1, max_size=60) | st.binary(max_size=60).map(lambda tail: b"\0" + tail)
    sections = [data.draw(payloads) for _ in range(2 + header.num_tiles)]
    file = bitstream.write(header, sections[0] if flags[2] else None, sections[1] if flags[1] else None, sections[2:])
    with contextlib.suppress(BitstreamError):
        assert fake_codec().decode(file).size == sides


def test_a_small_file_that_asks_for_a_huge_image_fails_at_once() -> None:
    header = bitstream.Header(1 << 14, 1 << 13, False, False, False, 1, 3, b"level--1", 4096)
    file = bitstream.write(header, None, None, [b"\0\0\0\1\0"] * header.num_tiles)
    start = time.monotonic()
    with pytest.raises(BitstreamError, match="tile 0"):
        fake_codec().decode(file)
    assert len(file) < 110 and time.monotonic() - start < 2
