"""The quality that reaches a target: bits per pixel or PSNR, found by bisection.

What a newcomer gets wrong: both grow with quality, but only nearly; bisection finds a quality that meets the target and
whose neighbour does not, which is all that can be promised.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arguments import positive
from .bitstream import MAX_QUALITY
from .codec import DEFAULT_TILE_SIZE, Codec
from .errors import ArgumentError
from .image import ImageLike, Picture, from_any


@dataclass(frozen=True, slots=True)
class Encoded:
    """A bitstream with what was found on the way; `psnr_db` over all colour samples, None where nobody asked."""

    data: bytes
    quality: int
    bpp: float
    psnr_db: float | None
    reached: bool


def encode_at(
    codec: Codec,
    image: ImageLike,
    *,
    level: int | None = None,
    entropy_level: int | None = None,
    tile_size: int = DEFAULT_TILE_SIZE,
    quality: int | None = None,
    target_bpp: float | None = None,
    target_psnr_db: float | None = None,
    budget_ms: float | None = None,
) -> Encoded:
    """Encode at a quality, or at the best quality within `target_bpp`, or the lowest that has `target_psnr_db`.

    PSNR is that of decoding with the stream's own level. Out of reach, the nearest quality is taken, `reached` False.
    `budget_ms`: of the one encoding at a quality, as in `Codec.encode`.

    Raises:
        ArgumentError: not exactly one of quality and the targets, or a budget with a target.
        ImageError, BundleError, BudgetError: as `Codec.encode`.
    """
    if sum(choice is not None for choice in (quality, target_bpp, target_psnr_db)) != 1:
        raise ArgumentError("encode_at: expected exactly one of quality, target_bpp and target_psnr_db")
    if target_bpp is not None:
        target_bpp = positive("target_bpp", target_bpp, "bits per pixel")
    if target_psnr_db is not None:
        target_psnr_db = positive("target_psnr_db", target_psnr_db, "dB", zero=True)
    if budget_ms is not None and quality is None:
        raise ArgumentError("encode_at: budget_ms is of one encoding, a target takes several; give a quality")
    picture = from_any(image, codec.max_pixels)

    def attempt(at: int) -> Encoded:
        data = codec.encode(
            picture, level=level, entropy_level=entropy_level, quality=at, tile_size=tile_size, budget_ms=budget_ms
        )
        bpp = 8 * len(data) / (picture.width * picture.height)
        if target_psnr_db is None:
            return Encoded(data, at, bpp, None, target_bpp is None or bpp <= target_bpp)
        psnr_db = _psnr_db(picture, from_any(codec.decode(data), codec.max_pixels))
        return Encoded(data, at, bpp, psnr_db, psnr_db >= target_psnr_db)

    if quality is not None:
        return attempt(quality)
    return _bisect(attempt, up_when_reached=target_bpp is not None)


def _bisect(attempt: Callable[[int], Encoded], up_when_reached: bool) -> Encoded:
    """The last quality of 0..63 that reaches the target on the way up or down; else the end nearest to it."""
    best, low, high = None, 0, MAX_QUALITY
    while low <= high:
        middle = (low + high) // 2
        found = attempt(middle)
        best = found if found.reached else best
        if found.reached == up_when_reached:
            low = middle + 1
        else:
            high = middle - 1
    return best or found


def _psnr_db(one: Picture, other: Picture) -> float:
    difference = np.asarray(one.planes, np.int16) - np.asarray(other.planes)
    error = float(np.mean(np.square(difference, dtype=np.int32)))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
