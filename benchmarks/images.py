"""The photographs a benchmark runs on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import ImageError
from ..runtime.image import read_rgb
from .quality import Pixels

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})


MAX_PIXELS = 1 << 30


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
        return Photo(file.name, read_rgb(file, MAX_PIXELS))
    except ImageError as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise ImageError(f"images: cannot read {file.name} ({reason}); remove it or give another folder") from error
