"""The photographs a benchmark runs on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..runtime.errors import ImageError
from .quality import Pixels

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph as (H, W, 3) 8-bit RGB, under its file name."""

    name: str
    pixels: Pixels

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def num_pixels(self) -> int:
        return int(self.pixels.shape[0] * self.pixels.shape[1])

    @property
    def size(self) -> str:
        """ "768x512": width x height, as people say it."""
        return f"{self.pixels.shape[1]}x{self.pixels.shape[0]}"


def load_photos(path: Path, limit: int | None = None) -> list[Photo]:
    """The images of a folder (or one file) in order of their names, at most `limit` of them.

    Raises ImageError where there is none, or one cannot be read: a benchmark that skips files measures something else.
    """
    if not path.exists():
        raise ImageError(f"images: expected a folder or a file, {path} does not exist")
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ImageError(f"images: {path} holds no image; expected files with one of {', '.join(sorted(SUFFIXES))}")
    return [_load(file) for file in files[:limit]]


def same_size(photos: Sequence[Photo], most: int) -> list[Photo]:
    """Photographs of the most frequent pixel count, at most `most`: times of different sizes have no percentiles."""
    counts = [photo.num_pixels for photo in photos]
    usual = max(counts, key=counts.count)
    return [photo for photo in photos if photo.num_pixels == usual][:most]


def _load(file: Path) -> Photo:
    try:
        with Image.open(file) as image:
            return Photo(file.name, np.asarray(image.convert("RGB")))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise ImageError(f"images: cannot read {file.name} ({error}); remove it or give another folder") from error
