"""rANS coder in C++; docs/coder.md specifies the stream. No function here copies its arrays or holds the GIL for long."""

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

_Array = npt.NDArray[Any]

class Tables:
    """Quantised CDFs, checked and laid out for coding. Immutable; share it between threads.

    frequencies: uint16 (num_frequencies,), table after table, each summing to 2^precision, the last of each for escapes.
    lengths: int32 (num_tables,), frequencies per table, at least 2. offsets: int32 (num_tables,), the first symbol.
    precision: 11..15. Raises ValueError or TypeError naming the argument, the table and the fault.
    """

    def __init__(self, frequencies: _Array, lengths: _Array, offsets: _Array, precision: int) -> None: ...
    @property
    def num_tables(self) -> int: ...
    @property
    def precision(self) -> int: ...
    @property
    def num_bytes(self) -> int:
        """Memory of the tables and their look-up."""

class Decoder:
    """Reads one stream in any number of calls, in the order of encoding. One thread at a time."""

    def __init__(self, data: Buffer, tables: Tables) -> None:
        """Raises BitstreamError where the header is damaged."""

    def decode(self, indexes: _Array, out: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int32]:
        """indexes: uint8 or uint16, any shape -> symbols int32 of that shape. Raises BitstreamError, and then always.

        out: where to put them, contiguous: fresh memory for many symbols takes a third of the time.
        """

    def decode_latents(
        self, indexes: _Array, means: _Array, y: _Array, y_hat: _Array | None = None, num_silent: int = 0
    ) -> None:
        """Write symbols + means / 8, exact, into y: float32 (n, h, w) with any strides, and y_hat: contiguous.

        indexes: uint8 or uint16, means: int16 in eighths, both of that shape and contiguous. Symbols whose index is
        below num_silent (0..255) are 0 and not in the stream. Raises BitstreamError, also where a symbol is beyond 2^20.
        """

    def finish(self) -> None:
        """Raises BitstreamError unless the stream ends exactly here."""

    @property
    def position(self) -> int:
        """Symbols decoded so far."""

def encode(symbols: _Array, indexes: _Array, tables: Tables, num_lanes: int = 0, max_overhead: int = 0) -> bytes:
    """symbols: int16 or int32, indexes: uint8 or uint16, one shape -> one stream.

    num_lanes: 1, 2, 4, 8, 16 or 32 (fewer where the stream is too short for them); 0 takes what suits the size.
    max_overhead: bytes that header, states and termination may take, at least 5; fewer lanes keep it. 0: any.
    Raises TypeError, ValueError or IndexError naming the argument.

    >>> stream = encode(symbols, indexes, tables)
    >>> Decoder(stream, tables).decode(indexes)
    """

def quantise(
    y: _Array,
    means: _Array,
    indexes: _Array,
    symbols: _Array,
    coded: _Array,
    y_hat: _Array | None = None,
    num_silent: int = 0,
) -> int:
    """y: float32 (n, h, w) with any strides; means: int16 in eighths, indexes: uint8, y_hat: float32, contiguous.

    Symbols are round(y - means / 8), ties to even; 0, whatever y is, where the index is below num_silent (0..255).
    Those that are not are written to the front of symbols (int32), their indexes to the front of coded (uint8), both
    contiguous and as large as y at least; returns their number. y_hat = symbols + means / 8, exact, of all. Raises
    ValueError where y is NaN or further than 2^20 from the mean; the arrays then hold rubbish.
    """

def floors(source: _Array, target: _Array) -> None:
    """source float32 -> target int16 or uint8 of the same shape, both contiguous: the whole numbers below, cut to what
    the type holds; NaN becomes the least of them."""

def arrow_bytes(capsule: Any, size: int) -> npt.NDArray[np.uint8]:
    """The bytes that Pillow's `__arrow_c_array__` shares of an RGB or RGBA image, four a pixel: a view, not writable.

    capsule: the second that it gives. Raises TypeError or ValueError where it is another thing, or not of this size.
    """

def arrow_capsules(bytes: npt.NDArray[np.uint8]) -> tuple[object, object]:
    """Contiguous uint8 as Arrow's C data interface lends it: the capsules "arrow_schema" and "arrow_array" of a flat
    array of bytes, which keep `bytes` alive."""

def blocks_to_bytes(source: _Array, target: _Array, bias: _Array | None = None) -> None:
    """source float32 (h, w, 192), blocks of 8x8 pixels -> target uint8 (c, height, width) = source * 255 rounded half
    up, cut to 0..255; h and w are height / 8 and width / 8 rounded up.

    Channel of source = plane * 64 + 8 * row + column. The blocks of a row must be contiguous; target may lie in any
    order. c is 3; 1 for grey, the mean of the three; or 4, of which the last becomes 255. `bias`, float32 (192,), is
    added to every block first, the sum cut to 0..1. Raises ValueError where source holds NaN; target then holds
    rubbish.
    """

def to_floats(source: _Array, target: _Array) -> None:
    """source uint8 (c, h, w) -> target float32 (c, h, w) = source / 255.

    The rows of target must be contiguous, nothing else need; three planes that are interleaved are fast.
    """

def to_bytes(source: _Array, target: _Array) -> None:
    """source float32 (c, h, w) -> target uint8 (c, h, w) = source * 255 rounded half up, cut to 0..255.

    Rows must be contiguous, the rest need not. Raises ValueError where source holds NaN; target then holds rubbish.
    """

def bits(symbols: _Array, indexes: _Array, tables: Tables) -> float:
    """What the symbols cost in bits, escapes included; a stream adds about 5 bytes, and 5 bits a lane."""

def crc32c(data: Buffer, value: int = 0) -> int:
    """CRC-32C of the bytes, continued from `value`."""

def simd() -> str:
    """"scalar", "avx2", "avx512" or "neon": what runs here. The environment variable BASIC_SIMD forces one."""

def integer_kernels() -> list[str]:
    """The loops for integer networks that run here, the best last: "scalar", "avx2", "avx512", "avx512_vnni"."""

class Pointwise:
    """A 1x1 convolution in integers: (sum + 2^(shift-1)) >> shift, or, unless it `rounds`, the sum.

    weight: int16 (o, i), bias: int32 (o,), shift: uint8 (o,), 1 to 30, all contiguous; |input| is at most `limit`, up to
    255. kernels: of `integer_kernels()`, the best for "". Raises TypeError or ValueError, also where a sum could be
    beyond 31 bits. Immutable; share it between threads.
    """

    def __init__(
        self, weight: _Array, bias: _Array, shift: _Array, limit: int, rounds: bool = True, kernels: str = ""
    ) -> None: ...

class Depthwise:
    """A depthwise 3x3 convolution in integers with zeros around, weight int16 (c, 3, 3), the rest as `Pointwise`."""

    def __init__(self, weight: _Array, bias: _Array, shift: _Array, limit: int, kernels: str = "") -> None: ...

def run_hyper(
    spread: Pointwise, spatial: Depthwise, up: Pointwise, z_hat: _Array, num_threads: int = 1
) -> npt.NDArray[np.float32]:
    """z_hat float32 (B, C, h, w), integers -> the state (B, S, 2h, 2w), see docs/architecture.md.

    Every float gives a state: what is beyond the clamps counts as the clamp, NaN as the lower one. Raises TypeError or
    ValueError naming the argument.
    """

def run_context(
    read: Depthwise | None,
    write: Pointwise | None,
    first: Pointwise,
    spatial: Depthwise,
    second: Pointwise,
    mean: Pointwise,
    scale: Pointwise,
    state: _Array,
    y_hat: _Array | None = None,
    keeps_state: bool = False,
    num_threads: int = 1,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]:
    """state float32 (B, S, h, w) and, with `read` and `write`, y_hat float32 (B, n, h, w) of the group before -> means in
    eighths and scale indexes, (B, n, h, w) each, and the state after that group if it is to be kept. NaN, infinities and
    errors as `run_hyper`."""
