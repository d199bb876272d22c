"""Laws of the frame: what is written is read; every cut, flip, splice and impossible field has its error."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime import bitstream
from basic.runtime._ans import crc32c
from basic.runtime.bitstream import Header
from basic.runtime.errors import BitstreamError

ID = bytes(range(1, 9))


def header(**changes: object) -> Header:
    fields = {"width": 100, "height": 70, "grey": False, "alpha": False, "icc": False}
    fields |= {"level": 3, "quality": 32, "entropy_id": ID, "tile_size": 1024}
    return Header(**(fields | changes))  # type: ignore[arg-type]


def head_bytes(
    version: int = 1,
    mode: int = 0,
    quality: int = 32,
    units: int = 16,
    sides: bytes = b"\x64\x46",
    magic: bytes = bitstream.MAGIC,
) -> bytes:
    """A header of any fields."""
    return struct.pack("<4sBBBBB8s", magic, version, mode, 3, quality, units, ID) + sides


SIX_TILES = header(width=300, height=130, alpha=True, icc=True, tile_size=128)
SAMPLE = bitstream.write(SIX_TILES, b"icc", b"alpha", [b"one", b"two", b"3", b"4", b"5", b"6"])


def test_crc32c_is_castagnoli() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283


@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    grey=st.booleans(),
    level=st.integers(0, 255),
    quality=st.integers(0, 63),
    tile_size=st.integers(1, 64).map(lambda units: 64 * units),
    icc=st.none() | st.binary(min_size=1, max_size=300),
    alpha=st.none() | st.binary(min_size=1, max_size=300),
    data=st.data(),
)
@settings(max_examples=50)
def test_what_is_written_is_read(width, height, grey, level, quality, tile_size, icc, alpha, data) -> None:  # type: ignore[no-untyped-def]
    head = Header(width, height, grey, alpha is not None, icc is not None, level, quality, ID, tile_size)
    payload = data.draw(st.binary(min_size=1, max_size=300))
    payloads = [payload + bytes([number % 256]) for number in range(head.num_tiles)]
    file = bitstream.write(head, icc, alpha, payloads)
    stream = bitstream.read(file)
    assert stream.header == head == bitstream.read_header(file)
    assert [bytes(tile) for tile in stream.tiles] == payloads
    assert (stream.icc and bytes(stream.icc), stream.alpha and bytes(stream.alpha)) == (icc, alpha)


def test_golden_bytes() -> None:
    file = bitstream.write(header(), None, None, [b"payload"])
    assert file.hex() == "d342534301000320100102030405060708644619ca38ac7061796c6f6164"


def test_fixed_cost_of_one_tile() -> None:
    largest = header(width=4096, height=4096, tile_size=4096)
    assert len(bitstream.write(largest, None, None, [bytes(2_000_000)])) - 2_000_000 == 25


@pytest.mark.parametrize("length", range(len(SAMPLE)))
def test_every_cut_is_refused(length: int) -> None:
    with pytest.raises(BitstreamError):
        bitstream.read(SAMPLE[:length])


def test_every_flipped_bit_is_refused() -> None:
    for bit in range(8 * len(SAMPLE)):
        damaged = bytearray(SAMPLE)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            bitstream.read(damaged)


def test_damage_is_located() -> None:
    damaged = bytearray(SAMPLE)
    damaged[-1] ^= 1
    with pytest.raises(BitstreamError, match="tile 5 is damaged"):
        bitstream.read(damaged)


def test_exchanged_tiles_are_refused() -> None:
    one = bitstream.write(header(width=192, tile_size=64, height=64), None, None, [b"aaaa", b"bbbb", b"cccc"])
    first, second, third = one[-26:-17], one[-17:-8], one[-8:]
    assert len(bitstream.read(one[:-26] + first + second + third).tiles) == 3
    with pytest.raises(BitstreamError, match="tile 0 is damaged"):
        bitstream.read(one[:-26] + second + first + third)


def test_a_tile_of_another_file_is_refused() -> None:
    one = bitstream.write(header(quality=1), None, None, [b"aaaa"])
    two = bitstream.write(header(quality=2), None, None, [b"aaaa"])
    with pytest.raises(BitstreamError, match="tile 0 is damaged"):
        bitstream.read(two[:-8] + one[-8:])


def test_appended_bytes_are_refused() -> None:
    with pytest.raises(BitstreamError, match="tile 5 is damaged"):
        bitstream.read(SAMPLE + b"xx")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a BASIC bitstream"),
        (b"\x89PNG\r\n", "not a BASIC bitstream"),
        (head_bytes(magic=b"BSC1"), "not a BASIC bitstream"),
        (head_bytes(version=2), "version 2: this release reads version 1"),
        (head_bytes(mode=8), "mode byte 0x08"),
        (head_bytes(quality=64), "quality 64: expected 0..63"),
        (head_bytes(units=0), "tile size 0: expected 64..4096"),
        (head_bytes(units=65), "tile size 4160"),
        (head_bytes(sides=b"\x00\x46"), "image of 0x70"),
        (head_bytes(sides=b"\x46\x81\x80\x40"), "image of 70x1048577"),
        (head_bytes(sides=b"\xe4\x00\x46"), "width: not a canonical number"),
        (head_bytes(sides=b"\x46\xff\xff\xff\xff\x1f"), "height: not a canonical number"),
        (head_bytes(sides=b"\xff\xff\xff\xff\xff\xff"), "width: not a canonical number"),
        (head_bytes(sides=b"\x80\x80\x40\x80\x80\x40"), "at most 134217728 pixels are allowed"),
        (head_bytes(sides=b"\x80\x80\x04\x80\x10"), "128 tiles cannot fit"),
        (head_bytes() + b"\x00\x00\x00\x00", "1 tiles cannot fit in the 4 bytes left"),
        (head_bytes(mode=2) + bytes(6), "alpha is empty"),
        (head_bytes(mode=2) + b"\xff\xff\xff\xff\x0f\x00\x00\x00\x00\x00", "alpha needs 4294967295 bytes"),
        (head_bytes(mode=6) + b"\x05\x00\x00\x00\x00\x00", "ICC profile needs 5 bytes"),
    ],
)
def test_each_impossible_field_has_its_error(data: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        bitstream.read(data)


def test_the_caller_bounds_the_pixels() -> None:
    file = bitstream.write(header(), None, None, [b"payload"])
    bitstream.read(file, max_pixels=7000)
    with pytest.raises(BitstreamError, match="raise max_pixels"):
        bitstream.read(file, max_pixels=6999)


def test_writing_refuses_the_wrong_number_of_segments() -> None:
    with pytest.raises(ValueError, match="1 tiles expected, 2 given"):
        bitstream.write(header(), None, None, [b"one", b"two"])
