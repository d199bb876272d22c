"""The bitstream: header and segments. BITSTREAM.md specifies them, this file implements that page and nothing else.

What a newcomer gets wrong: the header has no checksum of its own; it is part of every segment's. So `read_header` alone
proves nothing, and nothing is allocated before `read` has compared the header's sizes with `max_pixels` and with the
number of bytes that are there, and verified every segment.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ._ans import crc32c
from .arguments import file_bytes
from .errors import ArgumentError, BitstreamError
from .tiles import UNIT, num_tiles

MAGIC = b"\xd3BSC"
VERSION = 1
MAX_SIDE = 1 << 20
MAX_TILE_SIZE = 4096
MAX_QUALITY = 63
DEFAULT_MAX_PIXELS = 1 << 27
"""Images of more pixels are refused unless the caller allows more (134 Mpixel)."""

_GREY, _ALPHA, _ICC = 1, 2, 4
_FIXED = struct.Struct("<4sBBBBB8s")  # magic, version, mode, level, quality, tile units, entropy id
_CRC = struct.Struct("<I")
_PLACE = struct.Struct("<BI")  # kind and number of a segment
_KIND_ICC, _KIND_ALPHA, _KIND_TILE = 0, 1, 2
_MIN_SEGMENT = 1 + _CRC.size + 1


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about itself; sizes in pixels."""

    width: int
    height: int
    grey: bool
    alpha: bool
    icc: bool
    level: int
    quality: int
    entropy_id: bytes
    tile_size: int

    @property
    def num_tiles(self) -> int:
        return num_tiles(self.height, self.width, self.tile_size)

    @property
    def mode(self) -> str:
        """The Pillow mode of the decoded image."""
        return ("L" if self.grey else "RGB") + ("A" if self.alpha else "")


@dataclass(frozen=True, slots=True)
class Stream:
    """A file whose checksums are right. The payloads are views of the caller's bytes."""

    header: Header
    icc: memoryview | None
    alpha: memoryview | None
    tiles: tuple[memoryview, ...]


def write(header: Header, icc: bytes | None, alpha: bytes | None, tiles: Sequence[bytes]) -> bytes:
    """Put a file together; `icc` and `alpha` are given exactly when the header says so, one payload for each tile."""
    if (icc is not None, alpha is not None, len(tiles)) != (header.icc, header.alpha, header.num_tiles):
        raise ArgumentError(f"segments do not match the header: {header.num_tiles} tiles expected, {len(tiles)} given")
    mode = _GREY * header.grey | _ALPHA * header.alpha | _ICC * header.icc
    head = _FIXED.pack(MAGIC, VERSION, mode, header.level, header.quality, header.tile_size // UNIT, header.entropy_id)
    head += _varint(header.width) + _varint(header.height)
    parts = [head]
    payloads = [side for side in (icc, alpha) if side is not None] + list(tiles)
    for (kind, number), payload in zip(_segments(header), payloads, strict=True):
        length = b"" if _is_last(header, kind, number) else _varint(len(payload))
        parts += [length, _CRC.pack(_checksum(crc32c(head), kind, number, payload)), payload]
    return b"".join(parts)


def read_header(data: bytes | bytearray | memoryview) -> Header:
    """Read the header alone; it may be damaged, which `read` would notice.

    Raises:
        BitstreamError: not a bitstream, another version, an impossible header.
    """
    return _Reader(data).header()


def read(data: bytes | bytearray | memoryview, max_pixels: int = DEFAULT_MAX_PIXELS) -> Stream:
    """Read a whole file and verify every checksum; allocates nothing that depends on what the header claims.

    Raises:
        BitstreamError: as `read_header`; an image of more than `max_pixels`; a damaged, cut or overlong file.
    """
    reader = _Reader(data)
    header = reader.header()
    num_pixels = header.width * header.height
    if num_pixels > max_pixels:
        raise BitstreamError(
            f"image of {header.width}x{header.height}: at most {max_pixels} pixels are allowed, the header asks for "
            f"{num_pixels}; raise max_pixels if you trust the file"
        )
    if header.num_tiles * _MIN_SEGMENT > reader.num_left + 1:
        raise BitstreamError(f"truncated: {header.num_tiles} tiles cannot fit in the {reader.num_left} bytes left")
    icc = alpha = None
    tiles: list[memoryview] = []
    for kind, number in _segments(header):
        payload = reader.segment(kind, number, _is_last(header, kind, number))
        if kind == _KIND_TILE:
            tiles.append(payload)
        elif kind == _KIND_ALPHA:
            alpha = payload
        else:
            icc = payload
    return Stream(header, icc, alpha, tuple(tiles))


class _Reader:
    """A cursor over the bytes; every read is bounded."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = file_bytes(data)
        self._at = 0
        self._check = 0

    @property
    def num_left(self) -> int:
        return len(self._data) - self._at

    def header(self) -> Header:
        start = bytes(self._data[: len(MAGIC) + 1])
        if start[: len(MAGIC)] != MAGIC:
            raise BitstreamError(f"not a BASIC bitstream: expected the first bytes {MAGIC!r}, got {start[:4]!r}")
        if start[len(MAGIC) :] not in (b"", bytes([VERSION])):
            raise BitstreamError(
                f"bitstream version {start[len(MAGIC)]}: this release reads version {VERSION}; "
                f"install the release of basic-nic that wrote the file"
            )
        fields = _FIXED.unpack(self._take(_FIXED.size, "header"))
        _, _, mode, level, quality, tile_units, entropy_id = fields
        width, height = self._varint("width"), self._varint("height")
        self._check = crc32c(self._data[: self._at])
        _check_ranges(mode, quality, tile_units, width, height)
        grey, alpha, icc = (bool(mode & flag) for flag in (_GREY, _ALPHA, _ICC))
        return Header(width, height, grey, alpha, icc, level, quality, entropy_id, tile_units * UNIT)

    def segment(self, kind: int, number: int, last: bool) -> memoryview:
        name = ("ICC profile", "alpha", f"tile {number}")[kind]
        length = 0 if last else self._varint(f"length of {name}")
        (stored,) = _CRC.unpack(self._take(_CRC.size, f"checksum of {name}"))
        payload = self._take(self.num_left if last else length, name)
        if not payload:
            raise BitstreamError(f"{name} is empty; the file is cut or damaged")
        found = _checksum(self._check, kind, number, payload)
        if found != stored:
            raise BitstreamError(
                f"{name} is damaged, or the header is, or the file was cut or appended to: the checksum is "
                f"{found:08x}, the file says {stored:08x}"
            )
        return payload

    def _take(self, count: int, what: str) -> memoryview:
        if count > self.num_left:
            raise BitstreamError(
                f"truncated: {what} needs {count} bytes at offset {self._at}, the file has {self.num_left} left"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def _varint(self, what: str) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self._take(1, what)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 32 or (byte == 0 and shift):
                    break
                return value
        raise BitstreamError(f"{what}: not a canonical number below 2**32 at offset {self._at}; the file is damaged")


def _check_ranges(mode: int, quality: int, tile_units: int, width: int, height: int) -> None:
    if mode & ~(_GREY | _ALPHA | _ICC):
        raise BitstreamError(f"mode byte {mode:#04x} has bits that version {VERSION} does not define")
    if quality > MAX_QUALITY:
        raise BitstreamError(f"quality {quality}: expected 0..{MAX_QUALITY}")
    if not 1 <= tile_units <= MAX_TILE_SIZE // UNIT:
        raise BitstreamError(f"tile size {tile_units * UNIT}: expected {UNIT}..{MAX_TILE_SIZE}")
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise BitstreamError(f"image of {width}x{height}: expected sides of 1..{MAX_SIDE}")


def _segments(header: Header) -> Iterator[tuple[int, int]]:
    """(kind, number) of each segment, in file order."""
    if header.icc:
        yield _KIND_ICC, 0
    if header.alpha:
        yield _KIND_ALPHA, 0
    for number in range(header.num_tiles):
        yield _KIND_TILE, number


def _is_last(header: Header, kind: int, number: int) -> bool:
    """The last tile ends with the file and needs no length."""
    return kind == _KIND_TILE and number == header.num_tiles - 1


def _checksum(header_check: int, kind: int, number: int, payload: bytes | memoryview) -> int:
    """CRC-32C of the header, the segment's place and its payload."""
    return crc32c(payload, crc32c(_PLACE.pack(kind, number), header_check))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
