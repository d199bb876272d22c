"""`Codec`: images to bitstreams and back with one bundle and one engine.

What a newcomer gets wrong: there are three levels. `encode(level=)` chooses what the encoder computes and the entropy
level that the stream needs from then on (`entropy_level=` chooses that apart); `decode(level=)` the synthesis alone.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import bitstream
from .arguments import several, whole
from .bitstream import DEFAULT_MAX_PIXELS, MAX_QUALITY, MAX_TILE_SIZE, Stream
from .budget import LatencyProfile, Slowness
from .bundle import Bundle
from .conformance import require_exact
from .device_image import fetch, is_on_device, put
from .engine import DEFAULT_ENGINE, Engine, open_engine
from .entropy import EntropyPath, Floats
from .errors import ArgumentError, BitstreamError, BudgetError
from .image import ImageLike, Picture, from_any, to_pillow
from .latents import Latents, empty_latents, whole_image
from .networks import Networks
from .overlap import divided
from .picture_file import empty_picture, write_file
from .profile import Profile, measure, measure_whole
from .tiles import UNIT, TileBatch, Window, num_tiles, padded, tile_batches
from .transforms import Piece, analyse, cut, synthesis_windows, synthesise

T = TypeVar("T")
BytesLike = bytes | bytearray | memoryview
DEFAULT_QUALITY = 32
DEFAULT_TILE_SIZE = 1024
MIN_OVERLAP_PIXELS = 1 << 18
"""Less than this in all is not worth dividing a batch of tiles."""


class Codec:
    """A bundle made ready on an engine. Safe to share between threads: what it keeps is read, or made under a lock.

    Networks are opened when first needed and kept until `close`, which `with` calls.

    >>> with Codec.open() as codec:
    ...     data = codec.encode("photo.png", level=3, quality=40)
    ...     codec.decode(data).save("photo_decoded.png")
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        window_size: int | None = None,
    ) -> None:
        """For a bundle and an engine that are open already; `Codec.open` opens both."""
        self._networks = Networks(bundle, engine, window_size)
        self._overlap = self._networks.overlap
        self.bundle = bundle
        self.max_pixels = whole("max_pixels", max_pixels, 1)
        self.window_size = self._networks.window_size
        self._latency: LatencyProfile | None = None
        self._slowness = Slowness()

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle | None = None,
        engine: str = DEFAULT_ENGINE,
        num_threads: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        window_size: int | None = None,
        verify: bool = False,
        latency_profile: str | Path | LatencyProfile | None = None,
    ) -> Self:
        """Open a bundle (None: the one that comes with the package) on an engine.

        `num_threads`: what the engine may use; None leaves it to the latency profile or the engine. `max_pixels`:
        larger images and files that ask for more are refused before anything is allocated for them. `window_size`: the
        largest side in pixels that analysis and synthesis see at once, margins apart; smaller takes less memory and
        more time, the result is equal; None is the engine's choice (on a CPU 4096, and 6 Mpixel at most). `verify`:
        run the bundle's conformance vectors of every level first. `latency_profile`: what basic-bench --save-profile
        wrote for this bundle and engine; `budget_ms` of encoding and decoding needs it.

        Raises:
            BundleError: the bundle or the latency profile is missing or damaged.
            BudgetError: the latency profile is of another bundle, engine or number of threads.
            EngineError: the engine is unknown, does not work here, or (with `verify`) is not exact.
            ArgumentError: an argument is of another type or out of its range.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        if latency_profile is not None and not isinstance(latency_profile, LatencyProfile):
            latency_profile = LatencyProfile.load(latency_profile)
        if latency_profile is not None:
            latency_profile.check_for(opened, engine, num_threads)
            num_threads = latency_profile.threads
        started = open_engine(engine, num_threads)
        if verify:
            for level in opened.levels:
                require_exact(started, opened, level)
        codec = cls(opened, started, max_pixels, window_size)
        codec._latency = latency_profile
        return codec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise TypeError("a Codec holds networks and cannot be copied or pickled; open one in each process")

    def close(self) -> None:
        """Give back the networks and the engine; the codec cannot be used afterwards."""
        self._networks.close()

    @property
    def num_levels(self) -> int:
        """Of the whole level table; a bundle may hold a part of it (`bundle.levels`)."""
        return self.bundle.num_levels

    def encode(
        self,
        image: ImageLike,
        *,
        level: int | None = None,
        entropy_level: int | None = None,
        quality: int = DEFAULT_QUALITY,
        tile_size: int = DEFAULT_TILE_SIZE,
        budget_ms: float | None = None,
        profile: Profile | None = None,
        stream: int | None = None,
    ) -> bytes:
        """One image -> bitstream.

        image: Pillow image, numpy array or path, see `image.from_any`; or an array on a GPU, see `device_image.fetch`,
        ready on the CUDA stream with the handle `stream`. level: of analysis and entropy, 0 the lightest,
        None the heaviest of the bundle; entropy_level overrides the latter. quality: a whole number, 0..63. tile_size:
        the largest tile's side in pixels, a multiple of 64. budget_ms: instead of a level, the heaviest whose encoding
        takes no longer by the codec's latency profile.

        Raises:
            ImageError: the image is unreadable, unsupported or too large.
            BundleError: the bundle has no such level.
            BudgetError: no level is quick enough, or the codec has no latency profile.
            ArgumentError: one is of another type or out of range, or both level and budget_ms are given.
        """
        if is_on_device(image):
            image = fetch(image, self._networks.device(), stream)
        if budget_ms is not None:
            latency, start = self._latency_for(level), time.perf_counter()
            image = from_any(image, self.max_pixels)
            num_pixels = _num_pixels(image.height, image.width)
            entropy_level = None if entropy_level is None else self._networks.level(entropy_level)
            level = latency.encode_level(budget_ms, num_pixels, entropy_level, self._slowness.factor)
            foretold_ms = latency.encode_ms(level, level if entropy_level is None else entropy_level, num_pixels)
            with self._watched(start, foretold_ms):
                return self.encode(
                    image,
                    level=level,
                    entropy_level=entropy_level,
                    quality=quality,
                    tile_size=tile_size,
                    profile=profile,
                )
        files = self.encode_batch(
            [image], level=level, entropy_level=entropy_level, quality=quality, tile_size=tile_size, profile=profile
        )
        return files[0]

    def encode_batch(
        self,
        images: Sequence[ImageLike],
        *,
        level: int | None = None,
        entropy_level: int | None = None,
        quality: int = DEFAULT_QUALITY,
        tile_size: int = DEFAULT_TILE_SIZE,
        profile: Profile | None = None,
    ) -> list[bytes]:
        """Several images -> bitstreams, as from `encode`; windows of equal shape run through analysis together."""
        images = several("images", images, "images")
        quality = whole("quality", quality, 0, MAX_QUALITY)
        tile_size = whole("tile_size", tile_size, UNIT, MAX_TILE_SIZE, UNIT)
        with measure_whole(profile):
            level = self._networks.level(level)
            path_level = level if entropy_level is None else self._networks.level(entropy_level)
            with measure(profile, "image"):
                pictures = [from_any(image, self.max_pixels) for image in images]
            transform = self._networks.transform("analysis", level, self.bundle.gain(quality))
            latents = analyse(transform, pictures, tile_size, profile)
            payloads = self._code(pictures, latents, path_level, tile_size, profile)
            entropy_id = self.bundle.level(path_level).entropy_id
            with measure(profile, "file"):
                return [
                    write_file(picture, tiles, path_level, quality, entropy_id, tile_size)
                    for picture, tiles in zip(pictures, payloads, strict=True)
                ]

    @overload
    def decode(
        self,
        data: BytesLike,
        *,
        level: int | None = None,
        budget_ms: float | None = None,
        profile: Profile | None = None,
    ) -> Image.Image: ...

    @overload
    def decode(
        self,
        data: BytesLike,
        *,
        level: int | None = None,
        budget_ms: float | None = None,
        profile: Profile | None = None,
        out: T,
        stream: int | None = None,
    ) -> T: ...

    def decode(
        self,
        data: BytesLike,
        *,
        level: int | None = None,
        budget_ms: float | None = None,
        profile: Profile | None = None,
        out: Any = None,
        stream: int | None = None,
    ) -> Any:
        """Bitstream -> Pillow image of mode L, LA, RGB or RGBA, as it was encoded.

        Colours are lent to the image, not copied: whoever writes single pixels through `load()` takes a `copy()` first.

        level: of the synthesis; None takes the stream's entropy level. budget_ms: instead of a level, the heaviest
        synthesis with which decoding takes no longer by the codec's latency profile; the least that a file allows is
        its entropy level and the lightest synthesis. out: a numpy array, or an array on a GPU, that takes the pixels
        and is given back instead, see `device_image.put`; the CUDA stream with the handle `stream` waits for it.

        Raises:
            BitstreamError: the data is damaged, asks for too many pixels or needs another bundle.
            BundleError: the bundle has no such level.
            ImageError: out is of another type or shape.
            BudgetError: the file cannot be decoded as quickly, or the codec has no latency profile.
            ArgumentError: data is no bytes, or both level and budget_ms are given.
        """
        if budget_ms is not None:
            latency, start = self._latency_for(level), time.perf_counter()
            header = bitstream.read(data, self.max_pixels).header
            num_pixels, path_level = _num_pixels(header.height, header.width), self._networks.entropy_level(header)
            level = latency.decode_level(budget_ms, num_pixels, path_level, self._slowness.factor)
            with self._watched(start, latency.decode_ms(path_level, level, num_pixels)):
                return self.decode(data, level=level, profile=profile, out=out, stream=stream)
        if out is None:
            return self.decode_batch([data], level=level, profile=profile)[0]
        (picture,) = self._pictures([data], level, profile)
        put(picture, out, self._networks.device() if is_on_device(out) else None, stream)
        return out

    def decode_batch(
        self, files: Sequence[BytesLike], *, level: int | None = None, profile: Profile | None = None
    ) -> list[Image.Image]:
        """Several bitstreams -> images; windows of equal shape, level and quality run through synthesis together."""
        files = several("files", files, "bitstreams as bytes")
        with measure_whole(profile):
            pictures = self._pictures(files, level, profile)
            with measure(profile, "image"):
                return [to_pillow(picture) for picture in pictures]

    def _pictures(self, files: Sequence[BytesLike], level: int | None, profile: Profile | None) -> list[Picture]:
        with measure(profile, "file"):
            streams = [bitstream.read(data, self.max_pixels) for data in files]
        found = [self._networks.entropy_level(stream.header) for stream in streams]
        together: dict[tuple[int, int, int], list[int]] = {}
        for number, (stream, path_level) in enumerate(zip(streams, found, strict=True)):
            synthesis_level = path_level if level is None else self._networks.level(level)
            together.setdefault((path_level, synthesis_level, stream.header.quality), []).append(number)
        with measure(profile, "file"):
            interleaved = self._networks.traits.block_images
            pictures = [empty_picture(stream, interleaved) for stream in streams]
        for (path_level, synthesis_level, quality), numbers in together.items():
            transform = self._networks.transform("synthesis", synthesis_level, self.bundle.inverse_gain(quality))
            chosen = [streams[number] for number in numbers]
            seen = [synthesis_windows(transform, stream.header) for stream in chosen]
            latents = self._latents(chosen, seen, path_level, profile)
            synthesise(transform, latents, [pictures[number] for number in numbers], profile)
        return pictures

    def decode_latents(self, data: BytesLike) -> NDArray[np.int32]:
        """Bitstream -> y_hat in eighths, int32 (M, ceil64(H) / 16, ceil64(W) / 16): what every engine must agree on."""
        stream = bitstream.read(data, self.max_pixels)
        seen = [whole_image(stream.header.height, stream.header.width)]
        (latents,) = self._latents([stream], seen, self._networks.entropy_level(stream.header), None)
        return np.multiply(latents.seen[0], 8, dtype=np.float32).astype(np.int32)

    def _code(
        self,
        pictures: Sequence[Picture],
        latents: Sequence[Sequence[Piece]],
        level: int,
        tile_size: int,
        profile: Profile | None,
    ) -> list[list[bytes]]:
        """The payloads of each picture's tiles; tiles of equal shape run through the entropy networks together."""
        sizes = [(picture.height, picture.width) for picture in pictures]
        found = [[b""] * num_tiles(*size, tile_size) for size in sizes]
        batches, alone = self._batches(sizes, [tile_size] * len(sizes), profile)
        path = self._networks.path(level, alone)

        def code(batch: TileBatch) -> None:
            with measure(profile, "latents"):
                parts = [cut(latents[number], tile) for number, _, tile in batch]
            for (number, place, _), payload in zip(batch, path.encode(parts, profile), strict=True):
                found[number][place] = payload

        self._overlap.run(code, batches, one_by_one=profile is not None)
        return found

    def _latents(
        self, streams: Sequence[Stream], seen: Sequence[Sequence[Window]], level: int, profile: Profile | None
    ) -> list[Latents]:
        """y_hat of each image, as `seen` by its windows."""
        sizes = [(stream.header.height, stream.header.width) for stream in streams]
        found = empty_latents(self._networks.rooms["latents"], self.bundle.latent_channels, seen)
        tile_sizes = [stream.header.tile_size for stream in streams]
        batches, alone = self._batches(sizes, tile_sizes, profile)
        path = self._networks.path(level, alone)

        def decode(batch: TileBatch) -> None:
            payloads = [streams[number].tiles[place] for number, place, _ in batch]
            places = [place for _, place, _ in batch]
            parts = [found[number].target(tile) for number, _, tile in batch]
            _decode_tiles(path, payloads, places, parts, profile)
            with measure(profile, "latents"):
                for (number, _, tile), part in zip(batch, parts, strict=True):
                    found[number].share(tile, part)

        try:
            self._overlap.run(decode, batches, one_by_one=profile is not None)
        except BaseException:  # a second interruption leaves jobs behind that still write
            self._networks.rooms["latents"].forget()
            raise
        return found

    def _batches(
        self, sizes: Sequence[tuple[int, int]], tile_sizes: Sequence[int], profile: Profile | None
    ) -> tuple[list[TileBatch], bool]:
        """Tiles of equal shape together, in as many batches as are under way at once, if there are as many tiles; and
        whether each takes networks of one thread."""
        found = list(tile_batches(sizes, tile_sizes, self._networks.traits.entropy_batch_pixels))
        if sum(height * width for height, width in sizes) < MIN_OVERLAP_PIXELS:
            return found, False
        shared = None if profile is not None else self._overlap.shared_out(found)
        return (divided(found, self._overlap.num_jobs), False) if shared is None else (shared, True)

    def _latency_for(self, level: int | None) -> LatencyProfile:
        if level is not None:
            raise ArgumentError(f"expected level or budget_ms, got both (level {level})")
        if self._latency is None:
            raise BudgetError(
                "budget_ms: this codec has no latency profile; measure one with basic-bench --save-profile FILE and "
                "open with latency_profile=FILE"
            )
        return self._latency

    @contextmanager
    def _watched(self, start: float, foretold_ms: float) -> Iterator[None]:
        """Compare what runs inside, begun at `start`, with what was foretold; calls that open networks do not count."""
        num_opened = len(self._networks.opened)
        yield
        if len(self._networks.opened) == num_opened:
            self._slowness.add(1e3 * (time.perf_counter() - start), foretold_ms)


def _decode_tiles(
    path: EntropyPath,
    payloads: Sequence[memoryview],
    places: Sequence[int],
    ys: Sequence[Floats],
    profile: Profile | None,
) -> None:
    """Tiles of one shape; an error names the tile, which takes decoding them one by one."""
    try:
        path.decode(payloads, ys, profile)
    except BitstreamError as error:
        if len(payloads) == 1:
            raise BitstreamError(f"tile {places[0]}: {error}") from error
        for payload, place, y in zip(payloads, places, ys, strict=True):
            _decode_tiles(path, [payload], [place], [y], profile)
        raise


def _num_pixels(height: int, width: int) -> int:
    """Of the padded image, which is what the networks see."""
    return padded(height) * padded(width)
