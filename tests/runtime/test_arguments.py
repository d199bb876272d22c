"""Laws of arguments: what is wrong is refused by name, as a BasicError and ValueError; numpy's integers fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import fake_codec

from basic.runtime import bitstream
from basic.runtime.arguments import whole
from basic.runtime.codec import Codec
from basic.runtime.engine import open_engine
from basic.runtime.errors import ArgumentError, BasicError, ImageError

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
NO_WHOLE_NUMBERS = (3.5, 3.0, np.float32(5), "3", "a", None, True, np.True_, [3], b"3", np.arange(2))


@pytest.mark.parametrize("value", NO_WHOLE_NUMBERS, ids=repr)
@pytest.mark.parametrize("name", ["quality", "tile_size", "level", "entropy_level"])
def test_encoding_takes_whole_numbers_alone(name: str, value: Any) -> None:
    if value is None and "level" in name:
        return  # the heaviest
    with pytest.raises(ArgumentError, match=f"^{'level' if 'level' in name else name}: expected a .*, got "):
        fake_codec().encode(IMAGE, **{name: value})


@pytest.mark.parametrize("value", NO_WHOLE_NUMBERS, ids=repr)
def test_opening_takes_whole_numbers_alone(value: Any, bundle_path: Path) -> None:
    for name in ("num_threads", "max_pixels", "window_size"):
        if value is None and name != "max_pixels":
            continue  # the engine's choice
        with pytest.raises(ArgumentError, match=f"^{name}: expected a .*, got "):
            Codec.open(bundle_path, **{name: value})


@pytest.mark.parametrize("kind", [np.uint8, np.int64, int])
def test_integers_of_numpy_are_whole_numbers(kind: Callable[[int], Any]) -> None:
    codec = fake_codec(max_pixels=np.int64(10000))
    data = codec.encode(IMAGE, quality=kind(40), tile_size=kind(64), level=kind(1), entropy_level=kind(0))
    assert data == codec.encode(IMAGE, quality=40, tile_size=64, level=1, entropy_level=0)
    codec.decode(data, level=kind(2))
    assert isinstance(whole("quality", kind(3)), int)


def test_ranges_end_where_they_say() -> None:
    assert [whole("n", value, 64, 192, 64) for value in (64, 128, 192)] == [64, 128, 192]
    for value in (0, 63, 100, 256, -64):
        with pytest.raises(ArgumentError, match=rf"^n: expected a multiple of 64 in 64\.\.192, got {value}$"):
            whole("n", value, 64, 192, 64)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda codec: codec.encode(IMAGE, quality=64), "quality: expected a whole number in 0..63, got 64"),
        (lambda codec: codec.decode("file.bsc"), r"data: expected the bytes .*got 'file.bsc' \(str\); .*read_bytes"),
        (lambda codec: codec.decode(Path("file.bsc")), "data: expected the bytes .*read_bytes"),
        (lambda codec: codec.decode(3), r"data: expected the bytes of a file, got 3$"),
        (lambda codec: codec.decode_latents("file.bsc"), "data: expected the bytes"),
        (lambda codec: codec.decode_batch("file.bsc"), "files: expected a list of bitstreams"),
        (lambda codec: codec.decode_batch(codec.encode(IMAGE)), "files: expected a list of bitstreams"),
        (lambda codec: codec.encode_batch("photo.png"), r"images: expected a list of images, got 'photo.png' \(str\)"),
        (lambda codec: codec.encode_batch(Path("photo.png")), "images: expected a list"),
        (lambda codec: codec.encode_batch(3), "images: expected a list"),
        (lambda codec: bitstream.read_header("file.bsc"), "data: expected the bytes"),
        (lambda codec: Codec.open(b"abc"), "bundle: expected a path, str or Path, or a Bundle, got bytes"),
        (lambda codec: open_engine("oracle", 0), r"num_threads: expected a whole number in 1\.\.1024, got 0"),
    ],
)
def test_an_argument_error_is_a_basic_error_and_a_value_error(refused: Callable[[Codec], Any], message: str) -> None:
    for kind in (ArgumentError, BasicError, ValueError):
        with pytest.raises(kind, match=message):
            refused(fake_codec())


def test_any_buffer_of_bytes_is_a_file() -> None:
    codec = fake_codec()
    data = codec.encode(IMAGE)
    expected = codec.decode(data).tobytes()
    for buffer in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert codec.decode(buffer).tobytes() == expected
    with pytest.raises(ArgumentError, match="data: expected the bytes"):
        codec.decode(np.repeat(np.frombuffer(data, np.uint8), 2)[::2])


@pytest.mark.parametrize("out", [[1], "x", 3, object()], ids=repr)
def test_what_cannot_take_pixels_is_an_image_error(out: Any) -> None:
    codec = fake_codec()
    with pytest.raises(ImageError, match=f"out: expected a numpy array, .*got {type(out).__name__}"):
        codec.decode(codec.encode(IMAGE), out=out)
