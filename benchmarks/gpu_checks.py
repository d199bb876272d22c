"""Whether an engine is right: files cross between it and the CPU bit for bit, and its images lose nothing visible.

What a newcomer gets wrong: a GPU host may have no engine for its CPU. So what the CPU makes of some photographs is kept
as references (files, the hash of what they decode to, PSNR) and travels along; the other way round, the entropy path
of what the GPU encoded is decoded by the oracle, in numpy.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import Bundle
from ..runtime.codec import Codec
from ..runtime.engine import open_engine
from ..runtime.files import replacing
from .results import BenchError

Pixels = NDArray[np.uint8]
REFERENCES = "references.json"
QUALITIES = (8, 32, 56)
CROSS_HEIGHT, CROSS_WIDTH, CROSS_TILE = 190, 250, 128
"""Not multiples of 64, and four tiles of four shapes; small, because the oracle is slow."""
MAX_LOSS_DB = 0.02


@dataclass(frozen=True, slots=True)
class Reference:
    """What the CPU's engine makes of a photograph: `file` is the bitstream of its middle, `latents_sha256` what that
    decodes to; `psnr_db` and `bpp` are of the whole photograph, encoded and decoded."""

    image: str
    level: int
    quality: int
    file: str
    latents_sha256: str
    psnr_db: float
    bpp: float


def psnr_db(one: Pixels, other: Pixels) -> float:
    """Over all channels of 8-bit images."""
    error = float(np.mean((one.astype(np.int32) - other.astype(np.int32)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def middle(photo: Pixels) -> Pixels:
    """The part of a photograph that the oracle decodes."""
    top, left = max(0, (len(photo) - CROSS_HEIGHT) // 2), max(0, (photo.shape[1] - CROSS_WIDTH) // 2)
    return np.ascontiguousarray(photo[top : top + CROSS_HEIGHT, left : left + CROSS_WIDTH])


def latents_sha256(codec: Codec, data: bytes) -> str:
    """Of y_hat in eighths, little-endian int32."""
    return hashlib.sha256(codec.decode_latents(data).astype("<i4").tobytes()).hexdigest()


def make_references(
    codec: Codec, photos: Mapping[str, Pixels], levels: Sequence[int], qualities: Sequence[int], folder: Path
) -> list[Reference]:
    """Encode with an engine that is trusted, and keep the outcome in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, photo in photos.items():
        for level in levels:
            for quality in qualities:
                small = codec.encode(middle(photo), level=level, quality=quality, tile_size=CROSS_TILE)
                file = f"{Path(name).stem}_level{level}_q{quality}.bsc"
                with replacing(folder / file) as opened:
                    opened.write(small)
                whole = codec.encode(photo, level=level, quality=quality)
                decoded = np.asarray(codec.decode(whole))
                bpp = 8 * len(whole) / (photo.shape[0] * photo.shape[1])
                digest = latents_sha256(codec, small)
                found.append(Reference(name, level, quality, file, digest, psnr_db(photo, decoded), bpp))
    about = {"bundle": bundle_id(codec.bundle), "references": [asdict(reference) for reference in found]}
    with replacing(folder / REFERENCES) as opened:
        opened.write((json.dumps(about, indent=1) + "\n").encode())
    return found


def read_references(folder: Path, bundle: Bundle) -> list[Reference]:
    """References that were made with this bundle. Raises BenchError where there are none."""
    try:
        about = json.loads((folder / REFERENCES).read_text(encoding="utf-8"))
        found = [Reference(**reference) for reference in about["references"]]
        made_with = about["bundle"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{folder}: expected {REFERENCES} and its files ({error!r}); pack them again") from error
    if made_with != bundle_id(bundle):
        raise BenchError(f"{folder}: made with bundle {made_with}, this one is {bundle_id(bundle)}; pack them again")
    return found


def bundle_id(bundle: Bundle) -> str:
    """16 hex digits of the manifest."""
    return hashlib.sha256(json.dumps(bundle.manifest, sort_keys=True).encode()).hexdigest()[:16]


def check_cross(codec: Codec, references: Sequence[Reference], photos: Mapping[str, Pixels], folder: Path) -> Any:
    """Files of the CPU decode here to the same latents; files from here decode to the same latents on the oracle.

    Raises:
        BenchError: one differs; the message names it.
    """
    num_files, num_equal = 0, 0
    with Codec(codec.bundle, open_engine("oracle")) as oracle:
        for reference in references:
            data = (folder / reference.file).read_bytes()
            if latents_sha256(codec, data) != reference.latents_sha256:
                raise BenchError(f"{reference.file}: decodes to other latents here than on the CPU that wrote it")
            small = middle(photos[reference.image])
            here = codec.encode(small, level=reference.level, quality=reference.quality, tile_size=CROSS_TILE)
            if not np.array_equal(oracle.decode_latents(here), codec.decode_latents(here)):
                raise BenchError(f"{reference.file}: encoded here, it decodes to other latents on the oracle")
            num_files += 1
            num_equal += here == data
    return {"num_files": num_files, "num_files_equal_to_the_byte": num_equal}


def check_quality(codec: Codec, references: Sequence[Reference], photos: Mapping[str, Pixels]) -> Any:
    """PSNR and bpp of images encoded and decoded here, against the CPU in float32.

    Raises:
        BenchError: the mean loss at a quality is above MAX_LOSS_DB.
    """
    losses: dict[int, list[float]] = {}
    bpp_ratios = []
    for reference in references:
        photo = photos[reference.image]
        data = codec.encode(photo, level=reference.level, quality=reference.quality)
        found_db = psnr_db(photo, np.asarray(codec.decode(data)))
        losses.setdefault(reference.quality, []).append(reference.psnr_db - found_db)
        bpp_ratios.append(8 * len(data) / (photo.shape[0] * photo.shape[1]) / reference.bpp)
    means = {quality: float(np.mean(values)) for quality, values in losses.items()}
    found = {
        "mean_loss_db": {str(quality): round(loss, 5) for quality, loss in means.items()},
        "worst_loss_db": round(max(max(values) for values in losses.values()), 5),
        "bpp_change_percent": round(100 * (float(np.mean(bpp_ratios)) - 1), 4),
    }
    if max(means.values()) > MAX_LOSS_DB:
        raise BenchError(f"half precision loses more than {MAX_LOSS_DB} dB: {found}")
    return found
