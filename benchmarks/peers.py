"""Other codecs, measured in the same run on the same images.

What a newcomer gets wrong: Pillow decodes lazily. `Image.open` alone reads a header, so times include the pixels.
"""

import io
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
from PIL import AvifImagePlugin, Image, features

from .images import Photo
from .quality import ms_ssim, psnr_db
from .rate import mean_or_none
from .results import BenchError, PeerRow

T = TypeVar("T")

COMPRESSAI_SCRIPT = Path(__file__).parent / "compressai_peer.py"
MBT2018_MEAN = "CompressAI mbt2018-mean"


@dataclass(frozen=True, slots=True)
class PillowPeer:
    """A codec that Pillow writes, with the qualities that span about 0.1 to 1.6 bpp on photographs."""

    name: str
    format: str
    feature: str | None
    qualities: tuple[int, ...]
    options: tuple[tuple[str, int | str], ...] = ()

    @property
    def available(self) -> bool:
        return self.feature is None or bool(features.check(self.feature))

    def encode(self, image: Image.Image, quality: int) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, self.format, quality=quality, **dict(self.options))
        return buffer.getvalue()


PILLOW_PEERS = (
    PillowPeer("JPEG", "JPEG", None, (5, 10, 25, 50, 75, 90)),
    PillowPeer("WebP", "WEBP", "webp", (1, 10, 30, 60, 80, 90), (("method", 4),)),
    PillowPeer("AVIF", "AVIF", "avif", (10, 25, 40, 55, 70), (("speed", 6), ("max_threads", 1))),
)


def measure_pillow(photos: Sequence[Photo], step: Callable[[str], None]) -> list[PeerRow]:
    """Every peer that this Pillow has, at each of its qualities, one thread; `step` is called with a peer's name."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # Pillow takes the decoder's number of threads from here
    rows = []
    for peer in PILLOW_PEERS:
        if peer.available:
            decode_pixels(peer.encode(Image.fromarray(photos[0].pixels), peer.qualities[0]))  # warm-up
            for quality in peer.qualities:
                step(f"{peer.name} q{quality}")
                rows.append(_measure_peer(peer, quality, photos))
    return rows


def decode_pixels(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pixels (H, W, 3) of any file that Pillow reads."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _measure_peer(peer: PillowPeer, quality: int, photos: Sequence[Photo]) -> PeerRow:
    files, encode_s = zip(
        *(_timed(partial(peer.encode, Image.fromarray(p.pixels), quality)) for p in photos), strict=True
    )
    decoded, decode_s = zip(*(_timed(partial(decode_pixels, data)) for data in files), strict=True)
    rates = [8 * len(data) / photo.num_pixels for data, photo in zip(files, photos, strict=True)]
    psnr = [psnr_db(photo.pixels, pixels) for photo, pixels in zip(photos, decoded, strict=True)]
    ssim = [ms_ssim(photo.pixels, pixels) for photo, pixels in zip(photos, decoded, strict=True)]
    encode_ms, decode_ms = 1e3 * np.median(encode_s, axis=0), 1e3 * np.median(decode_s, axis=0)
    return PeerRow(
        peer=peer.name,
        setting=", ".join([f"quality {quality}", *(f"{key} {value}" for key, value in peer.options)]),
        num_images=len(photos),
        bpp=float(np.mean(rates)),
        psnr_db=float(np.mean(psnr)),
        ms_ssim=mean_or_none(ssim),
        encode_p50_ms=float(encode_ms[0]),
        decode_p50_ms=float(decode_ms[0]),
        encode_cpu_p50_ms=float(encode_ms[1]),
        decode_cpu_p50_ms=float(decode_ms[1]),
    )


def _timed(call: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, (time.perf_counter() - wall, time.process_time() - cpu)


class CompressAI:
    """CompressAI's mbt2018-mean (random weights) under the interpreter that has it; takes turns with what we measure.

    Raises BenchError with the script's last words where it fails.
    """

    def __init__(self, python: Path, photo: Photo, threads: int, warmup: int) -> None:
        self._python = python
        self._folder = TemporaryDirectory()
        image = Path(self._folder.name) / "photo.png"
        Image.fromarray(photo.pixels).save(image)
        found = python.absolute() if python.is_file() else python  # a bare name is looked for along PATH
        command = [str(found), str(COMPRESSAI_SCRIPT), str(image), f"--threads={threads}", f"--warmup={warmup}"]
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self._process = subprocess.Popen(command, text=True, **pipes)
        except OSError as error:
            self._folder.cleanup()
            raise BenchError(f"CompressAI: cannot run {python}: {error}") from error
        self._samples: dict[str, list[tuple[float, float]]] = {"encode": [], "decode": []}
        self.about = self._answer()

    def __enter__(self) -> "CompressAI":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def turn(self) -> None:
        """Encode and decode once."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: then there is no answer, and its last words say why
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        for task, spent in self._answer().items():
            self._samples[task].append(spent)

    def row(self) -> PeerRow:
        """Medians over the turns so far."""
        encode_ms, decode_ms = (1e3 * np.median(self._samples[task], axis=0) for task in ("encode", "decode"))
        return PeerRow(
            peer=MBT2018_MEAN,
            setting=f"{self.about['setting']}, {len(self._samples['encode'])} runs",
            num_images=1,
            bpp=None,
            psnr_db=None,
            ms_ssim=None,
            encode_p50_ms=float(encode_ms[0]),
            decode_p50_ms=float(decode_ms[0]),
            encode_cpu_p50_ms=float(encode_ms[1]),
            decode_cpu_p50_ms=float(decode_ms[1]),
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        _, said = self._process.communicate()
        self._folder.cleanup()
        last_words = (said.strip().splitlines() or ["no message"])[-1]
        raise BenchError(
            f"CompressAI: {self._python} cannot measure it ({last_words}); give --compressai-python an interpreter "
            "with torch and `pip install --no-deps compressai`"
        )
