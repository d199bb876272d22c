"""Photographs to crops: a folder of images or a tar of crops, decoded once and held as 8-bit RGB in memory.

What a newcomer gets wrong: a batch is a pure function of (seed, step). That is what makes a resumed run equal to one
that was never stopped, with no state of a data loader to save.
"""

import io
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.errors import ImageError
from ..runtime.image import read_rgb
from .graphics import graphic

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
MEMORY_LIMIT_BYTES = 8 << 30
GRAPHICS = 3  # their random numbers are streams of their own: `draw` has the seed and step with 1 and 2

Pixels = NDArray[np.uint8]
Item = TypeVar("Item")


class Photographs:
    """All usable images of a source, each (H, W, 3) uint8 with both sides at least `crop_size`."""

    def __init__(
        self, source: str | Path, crop_size: int = 256, limit: int | None = None, skip: str | None = None
    ) -> None:
        """`limit`: at most so many, spread over the source, since neighbours by name are often of one kind; `skip`:
        leave out files whose names match, as in a shell ("bsds_*")."""
        self.crop_size = crop_size
        self.images: list[Pixels] = []
        num_bytes = num_small = num_skipped = 0
        for name, data in _open_files(Path(source), limit):
            if skip is not None and fnmatchcase(name, skip):
                num_skipped += 1
                continue
            pixels = read_one(name, data())
            if pixels is None:
                continue
            if min(pixels.shape[:2]) < crop_size:
                num_small += 1
                continue
            num_bytes += pixels.nbytes
            if num_bytes > MEMORY_LIMIT_BYTES:
                raise ValueError(
                    f"{source}: more than {MEMORY_LIMIT_BYTES >> 30} GiB of pixels by {name}; "
                    "reduce the photographs or cut them into a tar of crops"
                )
            self.images.append(pixels)
            if limit is not None and len(self.images) >= limit:
                break
        if skip is not None:
            print(f"skipped {num_skipped} files named {skip}", file=sys.stderr)
        if num_small:
            print(f"left out {num_small} images smaller than {crop_size}x{crop_size}", file=sys.stderr)
        if not self.images:
            raise ValueError(
                f"{source}: expected photographs of at least {crop_size}x{crop_size} pixels, "
                f"found none ({num_small} smaller, {num_skipped} skipped)"
            )
        # An image is drawn in proportion to its pixels, so that every region is seen equally often.
        areas = np.array([image.shape[0] * image.shape[1] for image in self.images], np.float64)
        self.cumulative = np.cumsum(areas / areas.sum())

    def batch(
        self, seed: int, step: int, batch_size: int, crop_size: int | None = None, graphics_share: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Crops (B, 3, crop, crop) float32 in 0..1, channels_last: random place, flip and transposition; which of them
        (B,) are drawings instead (`graphics`). The others are what they would be without drawings.
        """
        rng = np.random.default_rng((seed, step))
        size = crop_size or self.crop_size
        crops = [self._crop(rng, size) for _ in range(batch_size)]
        drawn = np.random.default_rng((seed, step, GRAPHICS)).random(batch_size) < graphics_share
        for i in np.flatnonzero(drawn):
            crops[i] = graphic(np.random.default_rng((seed, step, GRAPHICS, 1 + int(i))), size)
        return to_tensor(np.stack(crops)), torch.from_numpy(drawn)

    def _crop(self, rng: np.random.Generator, size: int) -> Pixels:
        image = self.images[min(int(np.searchsorted(self.cumulative, rng.random())), len(self.images) - 1)]
        top = int(rng.integers(image.shape[0] - size + 1))
        left = int(rng.integers(image.shape[1] - size + 1))
        crop = image[top : top + size, left : left + size]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.25:
            crop = crop.transpose(1, 0, 2)
        return crop

    def center_crops(self, count: int, size: int) -> Tensor:
        """The centres of the first `count` images, for choosing between candidates on equal terms."""
        found = []
        for image in self.images[:count]:
            top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
            found.append(image[top : top + size, left : left + size])
        return to_tensor(np.stack(found))


def to_tensor(pixels: Pixels) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in 0..1, channels_last."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(255.0)


def spread(items: Sequence[Item], count: int | None) -> list[Item]:
    """All items, but first `count` of them at equal distances; None: in their order."""
    if count is None or not 0 < count < len(items):
        return list(items)
    chosen = {i * len(items) // count for i in range(count)}
    return [items[i] for i in sorted(range(len(items)), key=lambda i: i not in chosen)]


def _open_files(source: Path, count: int | None) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names of images, and what reads each; as `spread` orders them."""
    if source.is_dir():
        for path in spread(sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES), count):
            yield path.name, path.read_bytes
    elif source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            files = [member for member in tar if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES]
            for member in spread(files, count):
                stream = tar.extractfile(member)
                assert stream is not None  # a regular file always has one
                yield Path(member.name).name, stream.read
    else:
        raise ValueError(f"{source}: expected a folder of photographs or a tar of crops, found neither")


def read_one(name: str, data: bytes) -> Pixels | None:
    """The image's pixels, or None with a line on stderr where it is damaged: one bad file must not end a long run."""
    try:
        return read_rgb(io.BytesIO(data), MEMORY_LIMIT_BYTES // 3)
    except ImageError as error:
        print(f"left out {name}: {str(error).removeprefix('image: ')}", file=sys.stderr)
        return None
