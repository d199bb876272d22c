"""The entropy path of a level: z, then group after group (BITSTREAM.md, "A tile's payload").

What a newcomer gets wrong: encoder and decoder must compute the same means and indexes to the last bit, so both feed
the networks from the integers that are in the stream, one tile at a time, in the very same shapes: what differs between
a batch of one and a batch of eight in a floating point network is enough to ruin a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _ans
from .engine import Array, Session
from .errors import BitstreamError, EngineError
from .groups import NUM_PHASES, NUM_SLICES, Group, Plan
from .profile import Profile, measure
from .tables import TableArrays, to_coder

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

NUM_SCALES = 64
"""Tables 0..63 are the Gaussians of y; table 64 + c is channel c of z."""
MAX_SYMBOL = 1 << 20
"""Symbols and z_hat beyond this are refused; y_hat in eighths stays below 2^24, exact in float32."""
_EIGHTH = np.float32(0.125)


class EntropyPath:
    """hyper, contexts and tables of one level. Holds no state between calls: share it between threads."""

    def __init__(
        self, plan: Plan, tables: TableArrays, num_latents: int, hyper: Session, contexts: Sequence[Session]
    ) -> None:
        """For a level's plan and tables, M channels of y, and the networks: one context for each group."""
        self._tables = to_coder(tables)
        self._num_latents = num_latents
        self._num_hyper = tables.num_tables - NUM_SCALES
        self._hyper = hyper
        self._contexts = contexts
        self._places = [_places(group, num_latents // NUM_SLICES) for group in plan]

    def encode(self, y: Floats, z: Floats, profile: Profile | None = None) -> bytes:
        """One tile: y float32 (M, h/16, w/16), z float32 (C, h/64, w/64), both unrounded -> payload.

        Raises:
            EngineError: y or z holds something that is no number, or beyond all reason.
        """
        _check_range(y, "y")
        _check_range(z, "z")
        symbols = np.empty(z.size + y.size, np.int32)
        indexes = np.empty(z.size + y.size, np.uint8)
        end = z.size
        np.copyto(symbols[:end].reshape(z.shape), np.rint(z), casting="unsafe")
        indexes[:end] = self._z_indexes(z.shape[1] * z.shape[2])
        state = self._start(symbols[:end].reshape(1, *z.shape), profile)
        y_hat = None
        for group, places in enumerate(self._places):
            state, means, scales = self._context(group, state, y_hat, profile)
            run = slice(end, end + means.size)
            chosen = symbols[run].reshape(means.shape)
            _quantise(y, places, means, chosen)
            indexes[run] = scales.reshape(-1)
            y_hat = _real(chosen, means)
            end = run.stop
        with measure(profile, "coder"):
            return _ans.encode(symbols, indexes, self._tables)

    def decode(self, payload: bytes | memoryview, height: int, width: int, profile: Profile | None = None) -> Floats:
        """One tile of height x width pixels: payload -> y_hat float32 (M, height/16, width/16), exact eighths.

        Raises:
            BitstreamError: the payload is damaged or holds symbols out of range.
        """
        shape = (1, self._num_hyper, height // 64, width // 64)
        with measure(profile, "coder"):
            decoder = _ans.Decoder(payload, self._tables)
            z_hat = _checked(decoder.decode(self._z_indexes(shape[2] * shape[3])))
        state = self._start(z_hat.reshape(shape), profile)
        y, y_hat = np.empty((self._num_latents, height // 16, width // 16), np.float32), None
        for group, places in enumerate(self._places):
            state, means, scales = self._context(group, state, y_hat, profile)
            with measure(profile, "coder"):
                symbols = decoder.decode(scales.reshape(-1))
            y_hat = _real(_checked(symbols).reshape(means.shape), means)
            for place in places:
                y[place.latents] = y_hat[0, place.run]
        decoder.finish()
        return y

    def _z_indexes(self, num_positions: int) -> NDArray[np.uint8]:
        return np.repeat(np.arange(NUM_SCALES, NUM_SCALES + self._num_hyper, dtype=np.uint8), num_positions)

    def _start(self, z_hat: Ints, profile: Profile | None) -> Array:
        with measure(profile, "hyper"):
            return self._hyper.run({"z_hat": z_hat.astype(np.float32)})["state"]

    def _context(
        self, group: int, state: Array, y_hat: Floats | None, profile: Profile | None
    ) -> tuple[Array, NDArray[np.int16], NDArray[np.uint8]]:
        """State and the group before -> the new state, means in eighths and scale indexes, (1, n, h/32, w/32)."""
        inputs = {"state": state} if y_hat is None else {"state": state, "y_hat": y_hat}
        with measure(profile, f"context_g{group}"):
            outputs = self._contexts[group].run(inputs)
        return outputs.get("state_out", state), outputs["means"], outputs["indexes"]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run of a group's channels lies in the latent (M, h, w): one phase of consecutive channels."""

    run: slice
    latents: tuple[slice, slice, slice]


def _places(group: Group, slice_size: int) -> list[_Place]:
    """The runs of a group. Reading and writing them in place spares packing the latent and unpacking it."""
    found: list[_Place] = []
    start = 0
    for phase in range(NUM_PHASES):
        slices = [node % NUM_SLICES for node in group if node // NUM_SLICES == phase]
        while slices:
            length = next((i for i, s in enumerate(slices) if s != slices[0] + i), len(slices))
            channels = slice(slices[0] * slice_size, (slices[0] + length) * slice_size)
            stop = start + length * slice_size
            found.append(_Place(slice(start, stop), (channels, slice(phase // 2, None, 2), slice(phase % 2, None, 2))))
            start, slices = stop, slices[length:]
    return found


def _quantise(y: Floats, places: Sequence[_Place], means: NDArray[np.int16], symbols: Ints) -> None:
    """symbols (1, n, h/2, w/2) = round(y - means / 8) at a group's places in y (M, h, w)."""
    residual = np.multiply(means, _EIGHTH, dtype=np.float32)
    for place in places:
        part = residual[0, place.run]
        np.subtract(y[place.latents], part, out=part)
    np.rint(residual, out=residual)
    np.copyto(symbols, residual, casting="unsafe")


def _real(symbols: Ints, means: NDArray[np.int16]) -> Floats:
    """y_hat = symbols + means / 8, exact."""
    y_hat: Floats = np.multiply(means, _EIGHTH, dtype=np.float32)
    np.add(y_hat, symbols, out=y_hat, casting="unsafe", dtype=np.float32)
    return y_hat


def _check_range(values: Floats, name: str) -> None:
    low, high = values.min(), values.max()
    if not (low > -MAX_SYMBOL / 2 and high < MAX_SYMBOL / 2):
        raise EngineError(f"analysis gave {name} in {low}..{high}: expected numbers within +-{MAX_SYMBOL // 2}")


def _checked(symbols: Ints) -> Ints:
    low, high = symbols.min(), symbols.max()
    if low < -MAX_SYMBOL or high > MAX_SYMBOL:
        raise BitstreamError(f"symbols in {low}..{high}: expected within +-{MAX_SYMBOL}; the file is damaged")
    return symbols
