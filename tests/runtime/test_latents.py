"""Whatever windows see, it is what tiles were decoded to; memory is used again, and what is too much is not kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime.latents import Latents, empty_latents, whole_image
from basic.runtime.room import MAX_KEPT_BYTES, Room
from basic.runtime.tiles import UNIT, padded, tiles, windows

SIDES = st.integers(1, 900)
TILE_SIZES, WINDOW_SIZES = st.sampled_from((64, 128, 192, 320)), st.sampled_from((64, 128, 256, 2048))


def whole_latents(height: int, width: int) -> np.ndarray:
    size = (3, padded(height) // 16, padded(width) // 16)
    return np.arange(np.prod(size), dtype=np.float32).reshape(size)


def fill(found: Latents, height: int, width: int, tile_size: int) -> None:
    whole = whole_latents(height, width)
    for tile in tiles(height, width, tile_size):
        target = found.target(tile)
        target[:] = whole[:, *tile.scaled(1, 16).slices]
        found.share(tile, target)


@given(
    SIDES, SIDES, st.sampled_from((64, 128, 192, 320)), st.sampled_from((64, 128, 256, 2048)), st.sampled_from((0, 96))
)
@settings(deadline=None)
def test_windows_see_the_tiles(height: int, width: int, tile_size: int, window_size: int, margin: int) -> None:
    for unit in (UNIT, tile_size):
        (found,) = empty_latents(Room(), 3, [windows(height, width, window_size, margin, unit)])
        for seen in found.seen:
            seen[:] = np.nan
        fill(found, height, width, tile_size)
        for window, seen in zip(found.windows, found.seen, strict=True):
            assert seen.flags.c_contiguous
            assert np.array_equal(seen, whole_latents(height, width)[:, *window.outer.scaled(1, 16).slices])


def test_images_lie_side_by_side() -> None:
    sizes = [(100, 200), (64, 64), (300, 70)]
    found = empty_latents(Room(), 3, [whole_image(*size) for size in sizes])
    for latents, size in zip(found, sizes, strict=True):
        fill(latents, *size, 64)
    for latents, size in zip(found, sizes, strict=True):
        assert np.array_equal(latents.seen[0], whole_latents(*size))


def test_a_room_is_the_same_memory_until_it_must_grow() -> None:
    room = Room()
    first = room.array((4, 5), np.float32)
    assert room.array((3, 2), np.float32).base is first.base
    assert room.array((3, 2), np.uint8).base is not first.base
    assert room.array((9, 9), np.float32).shape == (9, 9)
    assert room.arrays([], np.float32) == []


@pytest.mark.parametrize(("size", "is_kept"), [(MAX_KEPT_BYTES, True), (MAX_KEPT_BYTES + 1, False)])
def test_a_room_keeps_no_more_than_it_says(size: int, is_kept: bool) -> None:
    room = Room()
    first = room.array((size,), np.uint8)
    assert np.may_share_memory(room.array((1,), np.uint8), first) == is_kept
