"""Pictures and files: what of a picture is written beside its tiles, and the picture that a file asks for."""

import numpy as np

from . import alpha, bitstream
from .bitstream import Header, Stream
from .image import Picture


def write_file(
    picture: Picture, payloads: list[bytes], level: int, quality: int, entropy_id: bytes, tile_size: int
) -> bytes:
    """The bitstream of a picture whose tiles are coded."""
    header = Header(
        width=picture.width,
        height=picture.height,
        grey=picture.grey,
        alpha=picture.alpha is not None,
        icc=picture.icc is not None,
        level=level,
        quality=quality,
        entropy_id=entropy_id,
        tile_size=tile_size,
    )
    icc = None if picture.icc is None else alpha.pack_icc(picture.icc)
    plane = None if picture.alpha is None else alpha.pack_alpha(picture.alpha)
    return bitstream.write(header, icc, plane, payloads)


def empty_picture(stream: Stream, interleaved: bool) -> Picture:
    """Pixels to fill, colours `interleaved` or in planes, and alpha and ICC profile as the file has them.

    Raises:
        BitstreamError: these are damaged.
    """
    header = stream.header
    plane = None if stream.alpha is None else alpha.unpack_alpha(stream.alpha, header.height, header.width)
    icc = None if stream.icc is None else alpha.unpack_icc(stream.icc)
    if interleaved and not header.grey:
        return Picture.interleaved(header.height, header.width, plane, icc)
    return Picture(np.empty((1 if header.grey else 3, header.height, header.width), np.uint8), plane, icc)
