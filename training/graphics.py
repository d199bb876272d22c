"""Drawn crops: what people also encode and no folder of photographs holds: text, flat shapes, patterns, noise.

What a newcomer gets wrong: a net that saw photographs alone does not lose a little on these. Full contrast at every
pixel is far outside of what its layers were balanced for, and a checkerboard came back with 3 dB.
"""

import string
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]
Kind = Callable[[np.random.Generator, int], Pixels]

LETTERS = string.ascii_letters + string.digits + string.punctuation


def graphic(rng: np.random.Generator, size: int) -> Pixels:
    """A crop (size, size, 3) uint8: one drawing, or parts of two in one crop."""
    crop = _one(rng, size)
    if rng.random() < 0.5:
        other, (top, left), (bottom, right) = _one(rng, size), *np.sort(rng.integers(size, size=(2, 2)), axis=0)
        crop[top:bottom, left:right] = other[top:bottom, left:right]
    return crop


def _one(rng: np.random.Generator, size: int) -> Pixels:
    return KINDS[int(rng.integers(len(KINDS)))](rng, size)


def _color(rng: np.random.Generator) -> Color:
    """Black, white, one of the other corners of the cube, a grey, or any."""
    kind = rng.random()
    if kind < 0.6:
        level = 255 * int(rng.integers(2))
        return (level, level, level) if kind < 0.4 else _rgb(255 * rng.integers(2, size=3))
    return _rgb(np.repeat(rng.integers(256), 3) if kind < 0.7 else rng.integers(256, size=3))


def _rgb(values: NDArray[np.int64]) -> Color:
    return int(values[0]), int(values[1]), int(values[2])


def _pair(rng: np.random.Generator) -> tuple[Color, Color]:
    """Two colours that differ; every second time opposite ones."""
    first = _color(rng)
    second = _rgb(255 - np.array(first)) if rng.random() < 0.5 else _color(rng)
    return first, second if second != first else _rgb(255 - np.array(first))


def pattern(rng: np.random.Generator, size: int) -> Pixels:
    """(size, size, 3): checkerboards, stripes in four directions, waves: squares and stripes of 1 to 31 pixels."""
    period = int(2 ** rng.uniform(0.0, 5.0))
    y, x = np.mgrid[:size, :size] + rng.integers(64, size=(2, 1, 1))
    along = (y, x, y + x, y - x)[int(rng.integers(4))]
    cells = y // period + x // period if rng.random() < 0.5 else along // period
    share = cells % 2.0
    if rng.random() < 0.25:
        share = 0.5 + 0.5 * np.sin(along * (np.pi / (period + 1.0)))
    return _mixed(share, *_pair(rng))


def noise(rng: np.random.Generator, size: int) -> Pixels:
    """(size, size, 3): of blocks of 1 to 16 pixels: two colours, or any."""
    block = int(2 ** rng.uniform(0.0, 4.0))
    cells = -(-size // block)
    if rng.random() < 0.5:
        return _mixed(_enlarged(rng.integers(2, size=(cells, cells)), block, size), *_pair(rng))
    return _enlarged(rng.integers(256, size=(cells, cells, 3)), block, size).astype(np.uint8)


def text(rng: np.random.Generator, size: int) -> Pixels:
    """(size, size, 3): lines of any letters, 8 to 45 pixels high, in one colour on another."""
    ink, paper = _pair(rng)
    image = Image.new("RGB", (size, size), paper)
    draw = ImageDraw.Draw(image)
    height = int(2 ** rng.uniform(3.0, 5.5))
    font = ImageFont.load_default(height)
    left, step = -int(rng.integers(height)), int(height * rng.uniform(1.0, 1.6))
    for top in range(-int(rng.integers(height)), size, step):
        words = rng.choice(np.array([*LETTERS, *" " * 14]), size=4 * size // height)
        draw.text((left, top), "".join(words), ink, font)
    return np.array(image)


def shapes(rng: np.random.Generator, size: int) -> Pixels:
    """(size, size, 3): flat rectangles, ellipses, lines and polygons, as charts and windows have."""
    image = Image.new("RGB", (size, size), _color(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 24))):
        (left, top), (right, bottom) = np.sort(rng.integers(-size // 4, size + size // 4, size=(2, 2)), axis=0)
        box, color, width = [int(v) for v in (left, top, right, bottom)], _color(rng), int(rng.integers(1, 6))
        kind = int(rng.integers(5))
        if kind == 0:
            draw.rectangle(box, color)
        elif kind == 1:
            draw.rectangle(box, None, color, width)
        elif kind == 2:
            draw.ellipse(box, color)
        elif kind == 3:
            draw.line(box, color, width)
        else:
            draw.polygon([tuple(int(v) for v in p) for p in rng.integers(size, size=(3, 2))], color)
    return np.array(image)


def _mixed(share: NDArray[np.float64] | NDArray[np.int64], first: Color, second: Color) -> Pixels:
    """share (S, S) in 0..1 -> (S, S, 3): 0 is the first colour, 1 the second."""
    colors = np.array([first, second], np.float64)
    mixed = colors[0] + np.asarray(share, np.float64)[..., None] * (colors[1] - colors[0])
    rounded: Pixels = np.rint(mixed).astype(np.uint8)
    return rounded


def _enlarged(cells: NDArray[np.int64], block: int, size: int) -> NDArray[np.int64]:
    return cells.repeat(block, axis=0).repeat(block, axis=1)[:size, :size]


KINDS: tuple[Kind, ...] = (pattern, text, shapes, noise)
