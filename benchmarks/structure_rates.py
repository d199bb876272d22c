"""Rates and qualities of structures on photographs, image by image: real files of real bundles.

What a newcomer gets wrong: a structure is compared by what its files weigh, not by what a model estimates, and image by
image, so that the noise over images can be told from the difference.
"""

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


def measure_structures(
    checkpoint: Checkpoint,
    structures: Mapping[str, LevelEntry],
    photos: Sequence[Photo],
    qualities: Sequence[int],
    step: Callable[[str], None],
) -> dict[str, Curves]:
    """Export the structures as one bundle, then encode and decode every photograph at every quality with each."""
    names, entries = list(structures), list(structures.values())
    found = {}
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / "structures.bundle"
        step(f"exporting {len(entries)} structures")
        export(
            checkpoint, entries, list(range(len(entries))), bundle, load_images(None)[:2], Console(quiet=True), "none"
        )
        with Codec.open(bundle, num_threads=1) as codec:
            for level, (name, entry) in enumerate(zip(names, entries, strict=True)):
                step(f"{name}: {len(photos)} images at {len(qualities)} qualities")
                points = np.array([[_point(codec, photo, level, q) for q in qualities] for photo in photos])
                macs = total_macs(checkpoint.model.arch, entry.widths, entry.plan)
                found[name] = Curves(macs / 1000, len(entry.plan), points[:, :, 0], points[:, :, 1])
    return found


def _point(codec: Codec, photo: Photo, level: int, quality: int) -> tuple[float, float]:
    data = codec.encode(Image.fromarray(photo.pixels), level=level, quality=quality)
    return 8 * len(data) / photo.num_pixels, psnr_db(photo.pixels, np.asarray(codec.decode(data)))
