"""The lossless side chunks: the alpha plane and the ICC profile (BITSTREAM.md, "Alpha" and "ICC profile").

What a newcomer gets wrong: zlib happily inflates a kilobyte into a megabyte. Every stream here is read with the exact
or largest size that it may have, and one byte more or less is an error.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from .errors import BitstreamError

Bytes = NDArray[np.uint8]
MAX_ICC_BYTES = 1 << 24

_NONE, _LEFT, _UP, _BOTH = range(4)
_SAMPLE_ROWS = 256


def pack_alpha(alpha: Bytes) -> bytes:
    """Alpha plane uint8 (H, W) -> payload: the filter that suits a sample of rows best, then zlib."""
    middle = max(0, (alpha.shape[0] - _SAMPLE_ROWS) // 2)
    sample = alpha[middle : middle + _SAMPLE_ROWS]
    best = min(range(4), key=lambda kind: len(zlib.compress(_filter(sample, kind).data, 6)))
    return bytes([best]) + zlib.compress(_filter(alpha, best).data, 6)


def unpack_alpha(payload: bytes | memoryview, height: int, width: int) -> Bytes:
    """Payload -> alpha plane uint8 (H, W).

    Raises:
        BitstreamError: an unknown filter, a damaged zlib stream, or one that does not hold exactly H x W bytes.
    """
    kind = payload[0]
    if kind > _BOTH:
        raise BitstreamError(f"alpha filter {kind}: expected 0..{_BOTH}")
    data = _inflate(payload[1:], height * width, "alpha")
    if len(data) != height * width:
        raise BitstreamError(f"alpha: expected {height * width} bytes for {width}x{height} pixels, got {len(data)}")
    alpha = np.frombuffer(data, np.uint8).reshape(height, width)
    if kind in (_LEFT, _BOTH):
        alpha = np.add.accumulate(alpha, axis=1, dtype=np.uint8)
    if kind in (_UP, _BOTH):
        alpha = np.add.accumulate(alpha, axis=0, dtype=np.uint8)
    return alpha


def pack_icc(profile: bytes) -> bytes:
    """ICC profile -> payload."""
    return zlib.compress(profile, 9)


def unpack_icc(payload: bytes | memoryview) -> bytes:
    """Payload -> ICC profile.

    Raises:
        BitstreamError: a damaged zlib stream, or one that holds nothing or more than MAX_ICC_BYTES.
    """
    profile = _inflate(payload, MAX_ICC_BYTES, "ICC profile")
    if not profile:
        raise BitstreamError("ICC profile: empty")
    return profile


def _filter(alpha: Bytes, kind: int) -> Bytes:
    """Residuals modulo 256; outside the plane counts as 0."""
    if kind in (_LEFT, _BOTH):
        alpha = np.diff(alpha, axis=1, prepend=np.uint8(0))
    if kind in (_UP, _BOTH):
        alpha = np.diff(alpha, axis=0, prepend=np.uint8(0))
    return np.ascontiguousarray(alpha)


def _inflate(payload: bytes | memoryview, limit: int, what: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(payload, limit + 1)
    except zlib.error as error:
        raise BitstreamError(f"{what}: damaged zlib stream: {error}") from error
    if len(data) > limit or (inflater.unconsumed_tail and not inflater.eof):
        raise BitstreamError(f"{what}: inflates to more than {limit} bytes")
    if not inflater.eof or inflater.unused_data:
        raise BitstreamError(f"{what}: its zlib stream is cut or followed by other bytes")
    return data
