"""Tiles and windows: how a large image is cut, for coding and for the networks.

What a newcomer gets wrong: tiles and windows are two different cuts. A *tile* is what the entropy coder codes by
itself; tiles never overlap, and where they lie is part of the bitstream (BITSTREAM.md). A *window* is what a transform
sees at once to keep memory bounded; windows overlap by the transform's receptive field, so the result does not depend
on them, and every reader chooses its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

UNIT = 64
"""Pixels: images are padded to a multiple of this, tiles start and end on one (the hyper-latent's stride)."""
_KEPT = 4
"""Cuts of the last images that are kept: images often come in one size."""


class Box(NamedTuple):
    """Rows top..bottom and columns left..right, ends excluded, in whatever unit the caller counts."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index the last two axes of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def scaled(self, times: int, over: int = 1) -> "Box":
        """Every edge times `times` / `over`; exact for the multiples of UNIT that it is used on."""
        top, left, bottom, right = self
        return Box(top * times // over, left * times // over, bottom * times // over, right * times // over)

    def grown(self, margin: int, height: int, width: int) -> "Box":
        """Larger by `margin` on every side, clipped to an area of (height, width)."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        return Box(top, left, min(height, self.bottom + margin), min(width, self.right + margin))

    def within(self, outer: "Box") -> "Box":
        """The same box, counted from the corner of `outer`."""
        top, left = outer.top, outer.left
        return Box(self.top - top, self.left - left, self.bottom - top, self.right - left)

    def clipped_to(self, other: "Box") -> "Box":
        """The part inside another box; `is_empty` where they do not meet."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(top, left, min(self.bottom, other.bottom), min(self.right, other.right))

    @property
    def is_empty(self) -> bool:
        return self.bottom <= self.top or self.right <= self.left

    def clipped(self, height: int, width: int) -> "Box":
        """The part inside an area of (height, width)."""
        return self.grown(0, height, width)


@dataclass(frozen=True, slots=True)
class Window:
    """A transform reads `outer` and its result is kept inside `inner`; both in pixels of the padded image."""

    inner: Box
    outer: Box


def padded(length: int) -> int:
    """A side in pixels, rounded up to a multiple of UNIT."""
    return -(-length // UNIT) * UNIT


def split(length: int, most: int) -> list[int]:
    """Edges that cut a padded side into the fewest runs of at most `most`, balanced, all multiples of UNIT.

    Runs differ by at most one UNIT, longer ones first: split(1088, 1024) == [0, 576, 1088].
    """
    return _balanced(length, -(-length // (most // UNIT * UNIT)))


def _balanced(length: int, count: int) -> list[int]:
    """Edges of `count` runs that differ by at most one UNIT, longer ones first."""
    size, longer = divmod(length // UNIT, count)
    return [UNIT * (i * size + min(i, longer)) for i in range(count + 1)]


def num_tiles(height: int, width: int, tile_size: int) -> int:
    """How many tiles `tiles` would give, without making them."""
    rows, columns = (-(-padded(side) // tile_size) for side in (height, width))
    return rows * columns


@lru_cache(maxsize=_KEPT)
def tiles(height: int, width: int, tile_size: int) -> tuple[Box, ...]:
    """Tiles of an image in raster order, in pixels of the padded image; `tile_size` is a multiple of UNIT."""
    rows, columns = split(padded(height), tile_size), split(padded(width), tile_size)
    return tuple(Box(a, c, b, d) for a, b in pairwise(rows) for c, d in pairwise(columns))


def batches(items: Iterable[tuple[tuple[int, int], Item]], max_pixels: int) -> Iterator[list[Item]]:
    """From ((height, width), item): items of equal shape together, as long as they have at most `max_pixels` in all."""
    waiting: dict[tuple[int, int], list[Item]] = {}
    for shape, item in items:
        batch = waiting.setdefault(shape, [])
        batch.append(item)
        if (len(batch) + 1) * shape[0] * shape[1] > max_pixels:
            yield waiting.pop(shape)
    yield from waiting.values()


TileBatch = list[tuple[int, int, Box]]
"""(number of the image, number of the tile, tile) of tiles of one shape."""


def tile_batches(sizes: Sequence[tuple[int, int]], tile_sizes: Sequence[int], max_pixels: int) -> Iterator[TileBatch]:
    """The tiles of images (height, width), in batches of equal shape and at most so many pixels."""
    found = (
        (number, place, tile)
        for number, (size, tile_size) in enumerate(zip(sizes, tile_sizes, strict=True))
        for place, tile in enumerate(tiles(*size, tile_size))
    )
    return batches((((each[2].height, each[2].width), each) for each in found), max_pixels)


@lru_cache(maxsize=_KEPT)
def windows(
    height: int, width: int, size: int, margin: int, tile_size: int = UNIT, max_pixels: int | None = None
) -> tuple[Window, ...]:
    """Windows of an image: inner boxes, grown by `margin` pixels and clipped at the padded border.

    No inner box has a side above `size` or more than `max_pixels` (default: the square of `size`); of the cuts that
    allow that, the one whose outer boxes have the fewest pixels in all, since margins are computed twice. Inner boxes
    are made of whole tiles of `tile_size` where that takes no larger ones.
    """
    bottom, right = padded(height), padded(width)
    limit = size**2 if max_pixels is None else max_pixels
    best: tuple[int, list[int], list[int]] | None = None
    for num_rows in range(-(-bottom // size), bottom // UNIT + 1):
        cuts = _cuts(bottom, num_rows, size, tile_size)
        if best is not None and _num_seen(cuts[0], margin) * right >= best[0]:
            break  # more rows only add margins
        for rows in cuts:
            widest = min(size, limit // _longest(rows) // UNIT * UNIT)
            if widest < UNIT:
                continue
            columns = _cuts(right, -(-right // widest), widest, tile_size)[0]
            num_pixels = _num_seen(rows, margin) * _num_seen(columns, margin)
            if best is None or num_pixels < best[0]:
                best = num_pixels, rows, columns
    assert best is not None  # boxes of one UNIT always do
    inner = [Box(a, c, b, d) for a, b in pairwise(best[1]) for c, d in pairwise(best[2])]
    return tuple(Window(box, box.grown(margin, bottom, right)) for box in inner)


def _cuts(length: int, count: int, most: int, tile_size: int) -> list[list[int]]:
    """Edges of `count` runs of at most `most`: made of as many tiles each, if that can be, and balanced ones."""
    balanced, edges = _balanced(length, count), split(length, tile_size)
    of_tiles = [edges[(i * (len(edges) - 1) + count - 1) // count] for i in range(count + 1)]
    fits = len(edges) > count and _longest(of_tiles) <= most
    return [of_tiles, balanced] if fits else [balanced]


def _longest(edges: list[int]) -> int:
    return max(b - a for a, b in pairwise(edges))


def _num_seen(edges: list[int], margin: int) -> int:
    """How much all runs between `edges` see of a side, with their margins."""
    return sum(min(edges[-1], b + margin) - max(0, a - margin) for a, b in pairwise(edges))
