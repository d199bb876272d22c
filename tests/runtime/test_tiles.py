"""Laws of tiles: they cover the padded image exactly, balanced; windows see their margin."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime import tiles

sides = st.integers(1, 5000)
sizes = st.integers(1, 20).map(lambda units: 64 * units)


@given(sides, sizes)
def test_runs_are_balanced_multiples_of_a_unit(side: int, most: int) -> None:
    edges = tiles.split(tiles.padded(side), most)
    runs = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == tiles.padded(side)
    assert runs.max() <= most and np.all(runs % 64 == 0)
    assert runs.max() - runs.min() <= 64
    assert np.all(np.diff(runs) <= 0)
    assert len(runs) == -(-tiles.padded(side) // most)


@pytest.mark.parametrize(
    ("side", "edges"),
    [(1, [0, 64]), (1024, [0, 1024]), (1025, [0, 576, 1088]), (2049, [0, 704, 1408, 2112])],
)
def test_one_pixel_more_does_not_leave_a_sliver(side: int, edges: list[int]) -> None:
    assert tiles.split(tiles.padded(side), 1024) == edges


@given(st.integers(1, 900), st.integers(1, 900), sizes)
def test_tiles_cover_every_pixel_once(height: int, width: int, tile_size: int) -> None:
    seen = np.zeros((tiles.padded(height), tiles.padded(width)), np.uint8)
    boxes = list(tiles.tiles(height, width, tile_size))
    for box in boxes:
        seen[box.slices] += 1
    assert np.all(seen == 1)
    assert len(boxes) == tiles.num_tiles(height, width, tile_size)
    assert boxes == sorted(boxes)
    assert len({(box.height, box.width) for box in boxes}) <= 4


@given(st.integers(1, 900), st.integers(1, 900), sizes, st.integers(0, 200))
@settings(deadline=None)  # a busy machine is no fault
def test_windows_see_their_margin_or_the_border(height: int, width: int, size: int, margin: int) -> None:
    bottom, right = tiles.padded(height), tiles.padded(width)
    for window in tiles.windows(height, width, size, margin):
        inner, outer = window.inner, window.outer
        assert outer.top == max(0, inner.top - margin) and outer.left == max(0, inner.left - margin)
        assert outer.bottom == min(bottom, inner.bottom + margin) and outer.right == min(right, inner.right + margin)
        area = np.arange(bottom * right).reshape(bottom, right)
        assert np.array_equal(area[outer.slices][inner.within(outer).slices], area[inner.slices])


@given(st.integers(1, 2000), st.integers(1, 2000), sizes, sizes)
@settings(deadline=None)
def test_windows_are_made_of_tiles_where_they_can_be(height: int, width: int, size: int, tile_size: int) -> None:
    inner = [window.inner for window in tiles.windows(height, width, size, 0, tile_size)]
    assert len(inner) <= len(list(tiles.tiles(height, width, size))), "no more windows for it"
    seen = np.zeros((tiles.padded(height), tiles.padded(width)), np.uint8)
    for box in inner:
        assert max(box.height, box.width) <= size
        seen[box.slices] += 1
    assert np.all(seen == 1)


@given(st.integers(1, 1200), st.integers(1, 1200), sizes, sizes, st.integers(0, 200), st.integers(1, 40))
@settings(deadline=None)
def test_windows_keep_their_limits_and_no_even_cut_sees_fewer_pixels(
    height: int, width: int, size: int, tile_size: int, margin: int, num_units: int
) -> None:
    limit, sides = num_units * tiles.UNIT**2, (tiles.padded(height), tiles.padded(width))
    found = tiles.windows(height, width, size, margin, tile_size, limit)
    for window in found:
        assert max(window.inner.height, window.inner.width) <= size
        assert window.inner.height * window.inner.width <= limit

    def evenly(length: int) -> list[tuple[int, int]]:
        """Of each number of runs: the longest run, and how much all see with their margins."""
        cuts = [tiles.split(length, tiles.UNIT * most) for most in range(1, length // tiles.UNIT + 1)]
        return [
            (cut[1] - cut[0], sum(min(length, b + margin) - max(0, a - margin) for a, b in pairwise(cut)))
            for cut in cuts
        ]

    rows, columns = (evenly(side) for side in sides)
    fewest = min(
        seen_rows * seen_columns
        for tallest, seen_rows in rows
        for widest, seen_columns in columns
        if max(tallest, widest) <= size and tallest * widest <= limit
    )
    seen = sum(window.outer.height * window.outer.width for window in found)
    assert seen <= fewest


def test_tiles_lie_within_windows_of_twice_their_size() -> None:
    boxes = [window.inner for window in tiles.windows(2928, 4096, 2048, 256, 1024)]
    assert len(boxes) == 4
    for tile in tiles.tiles(2928, 4096, 1024):
        assert sum(box.clipped_to(tile) == tile for box in boxes) == 1


def test_boxes_scale_and_clip() -> None:
    box = tiles.Box(64, 128, 192, 320)
    assert box.scaled(1, 16) == tiles.Box(4, 8, 12, 20)
    assert box.scaled(1, 16).scaled(16) == box
    assert box.clipped(100, 200) == tiles.Box(64, 128, 100, 200)
    assert (box.height, box.width) == (128, 192)
