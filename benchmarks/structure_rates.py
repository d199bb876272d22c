"""Rates and qualities of structures on photographs, image by image: real files of real bundles.

What a newcomer gets wrong: a structure is compared by what its files weigh, not by what a model estimates, and image by
image, so that the noise over images can be told from the difference. What was measured is kept beside the report: a run
that was cut off, or one with more suites, measures what is missing, and a structure of two suites is measured once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from ..export.cli import export
from ..export.verify import load_images
from ..runtime.codec import Codec
from ..training.checkpoint import Checkpoint
from ..training.complexity import total_macs
from ..training.structure.levels import LevelEntry
from ..training.structure.memo import Memo
from .images import Photo
from .quality import psnr_db

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """One structure: bpp and PSNR of every image at every quality, each (I, Q), its cost and number of groups."""

    kmacs_per_pixel: float
    num_groups: int
    bpp: Floats
    psnr_db: Floats


def open_measurements(path: Path, checkpoint: Path, photos: Sequence[Photo], qualities: Sequence[int]) -> Memo:
    """The state beside a report. Raises ValueError where it is of other weights, photographs or qualities."""
    pixels = hashlib.sha256()
    for photo in photos:
        pixels.update(np.ascontiguousarray(photo.pixels).tobytes())
    settings = {
        "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "photographs_sha256": pixels.hexdigest(),
        "qualities": list(qualities),
    }
    return Memo(path, settings)


def measure_structures(
    checkpoint: Checkpoint,
    structures: Mapping[str, LevelEntry],
    photos: Sequence[Photo],
    qualities: Sequence[int],
    step: Callable[[str], None],
    memo: Memo,
) -> dict[str, Curves]:
    """Export each structure as a bundle of its own, then encode and decode every photograph at every quality with it.

    Raises what export and codec do; what was measured before is in the memo.
    """
    found = {}
    try:
        for number, (name, entry) in enumerate(structures.items()):

            def measure(name: str = name, entry: LevelEntry = entry, number: int = number) -> tuple[float, ...]:
                step(f"{number + 1} of {len(structures)}, {name}: {len(photos)} images at {len(qualities)} qualities")
                return _points(checkpoint, entry, photos, qualities)

            points = np.array(memo.get(_key(entry), measure)).reshape(len(photos), len(qualities), 2)
            macs = total_macs(checkpoint.model.arch, entry.widths, entry.plan)
            found[name] = Curves(macs / 1000, len(entry.plan), points[:, :, 0], points[:, :, 1])
    finally:
        memo.save()
    return found


def _key(entry: LevelEntry) -> str:
    """Widths and plan, in one spelling."""
    groups = [sorted(group) for group in entry.plan]
    return json.dumps([sorted(entry.widths.items()), groups], separators=(",", ":"))


def _points(
    checkpoint: Checkpoint, entry: LevelEntry, photos: Sequence[Photo], qualities: Sequence[int]
) -> tuple[float, ...]:
    """bpp and PSNR of every photograph at every quality, one after the other."""
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / "structure"
        export(checkpoint, [entry], [0], bundle, load_images(None)[:2], Console(quiet=True), "none")
        with Codec.open(bundle, num_threads=1) as codec:
            return tuple(value for photo in photos for q in qualities for value in _point(codec, photo, q))


def _point(codec: Codec, photo: Photo, quality: int) -> tuple[float, float]:
    data = codec.encode(Image.fromarray(photo.pixels), quality=quality)
    return 8 * len(data) / photo.num_pixels, psnr_db(photo.pixels, np.asarray(codec.decode(data)))
