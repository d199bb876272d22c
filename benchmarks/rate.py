"""Rate and quality of real files, and how they compare with reference curves."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from ..runtime.codec import Codec
from .curves import bd_rate_percent
from .images import Photo
from .quality import ms_ssim, psnr_db
from .results import BdRow, Curve, PeerRow, QualityRow


def measure_rates(
    codec: Codec,
    engine: str,
    levels: Sequence[int],
    qualities: Sequence[int],
    photos: Sequence[Photo],
    step: Callable[[str], None],
) -> list[QualityRow]:
    """Encode and decode every photograph at every level and quality; `step` is told before each pair of them."""
    rows = []
    for level in levels:
        for quality in qualities:
            step(f"level {level}, quality {quality}")
            rows.append(_measure_rate(codec, engine, level, quality, photos))
    return rows


def _measure_rate(codec: Codec, engine: str, level: int, quality: int, photos: Sequence[Photo]) -> QualityRow:
    rates, psnr, ssim = [], [], []
    for photo in photos:
        data = codec.encode(Image.fromarray(photo.pixels), level=level, quality=quality)
        x_hat = np.asarray(codec.decode(data))
        rates.append(8 * len(data) / photo.num_pixels)
        psnr.append(psnr_db(photo.pixels, x_hat))
        ssim.append(ms_ssim(photo.pixels, x_hat))
    return QualityRow(
        engine=engine,
        level=level,
        quality=quality,
        num_images=len(photos),
        bpp=float(np.mean(rates)),
        psnr_db=float(np.mean(psnr)),
        ms_ssim=mean_or_none(ssim),
    )


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean, or None as soon as one value is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def bd_rows(qualities: Sequence[QualityRow], references: Sequence[Curve]) -> list[BdRow]:
    """BD-rate of every engine's every level against every reference."""
    rows = []
    for engine, level in dict.fromkeys((row.engine, row.level) for row in qualities):
        points = [row for row in qualities if (row.engine, row.level) == (engine, level)]
        for reference in references:
            value, note = bd_rate_percent(reference, [row.bpp for row in points], [row.psnr_db for row in points])
            rows.append(BdRow(engine, level, reference.name, value, note))
    return rows


def peer_curves(peers: Sequence[PeerRow]) -> list[Curve]:
    """The peers measured in this run as reference curves, those with rates."""
    curves = []
    for name in dict.fromkeys(row.peer for row in peers):
        points = sorted(
            (row.bpp, row.psnr_db)
            for row in peers
            if row.peer == name and row.bpp is not None and row.psnr_db is not None
        )
        if points:
            bpp, psnr = zip(*points, strict=True)
            curves.append(Curve(f"{name} here", "measured in this run", bpp, psnr))
    return curves
