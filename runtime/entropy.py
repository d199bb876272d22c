"""The entropy path of a level: z, then group after group (BITSTREAM.md, "A tile's payload").

What a newcomer gets wrong: encoder and decoder must compute the same means and indexes to the last bit, so both feed
the networks from the integers that are in the stream. Silent symbols, those of the least scales, are 0 and are not in
it. The networks are integer ones, exact on any engine and in any
batch (BUNDLE.md): so tiles of equal shape go through them together, each with a coder stream of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _ans
from .engine import Array, Session
from .errors import EngineError
from .groups import NUM_PHASES, NUM_SLICES, Group, Plan
from .profile import Profile, measure
from .tables import TableArrays, to_coder

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

NUM_SCALES = 64
"""Tables 0..63 are the Gaussians of y; table 64 + c is channel c of z."""
MAX_SYMBOL = 1 << 20
"""Symbols and z_hat beyond this are refused; y_hat in eighths stays below 2^24, exact in float32."""
MAX_OVERHEAD = 15
"""Bytes of a tile's stream that are no symbols: with 25 of the frame, 40 for an image of one tile."""


class EntropyPath:
    """hyper, contexts and tables of one level. Nothing of a call outlives it: share it between threads."""

    def __init__(
        self, plan: Plan, tables: TableArrays, num_latents: int, hyper: Session, contexts: Sequence[Session]
    ) -> None:
        """For a level's plan and tables, M channels of y, and the networks: one context for each group."""
        self._tables = to_coder(tables)
        self._num_silent = tables.num_silent
        self._num_hyper = tables.num_tables - NUM_SCALES
        self._hyper = hyper
        self._contexts = contexts
        self._places = [_places(group, num_latents // NUM_SLICES) for group in plan]
        self._last_z = _Indexes(np.empty((0, 0, 0), np.uint8), np.empty((0, 0, 0), np.int16))

    def encode(self, tiles: Sequence[tuple[Floats, Floats]], profile: Profile | None = None) -> list[bytes]:
        """Tiles of one shape -> a payload each; y float32 (M, h/16, w/16), z float32 (C, h/64, w/64), both unrounded.

        Raises:
            EngineError: y or z holds something that is no number, or beyond all reason.
        """
        with measure(profile, "latents"):
            ys = [y for y, _ in tiles]
            z_hat = np.empty((len(tiles), *tiles[0][1].shape), np.float32)
            for (_, z), rounded in zip(tiles, z_hat, strict=True):
                _round(z, rounded)
            num_z = z_hat[0].size
            symbols = np.empty((len(tiles), num_z + ys[0].size), np.int32)  # room; most of a light level is silent
            indexes = np.empty(symbols.shape, np.uint8)
            symbols[:, :num_z] = z_hat.reshape(len(tiles), -1)
            indexes[:, :num_z] = self._z_indexes(*z_hat.shape[2:]).indexes.reshape(-1)
            ends = [num_z] * len(tiles)
        state, y_hat = self._start(z_hat, profile), None
        for group, places in enumerate(self._places):
            state, means, scales = self._context(group, state, y_hat, profile)
            with measure(profile, "latents"):
                y_hat = self._group_result(group, means)
                for i, y in enumerate(ys):
                    for place in places:
                        at, rest = (i, place.run), (i, slice(ends[i], None))
                        wanted = None if y_hat is None else y_hat[at]
                        given = y[place.latents], means[at], scales[at]
                        ends[i] += _quantise(*given, symbols[rest], indexes[rest], wanted, self._num_silent)
        with measure(profile, "coder"):
            return [
                _ans.encode(symbols[i, :end], indexes[i, :end], self._tables, max_overhead=MAX_OVERHEAD)
                for i, end in enumerate(ends)
            ]

    def decode(
        self, payloads: Sequence[bytes | memoryview], ys: Sequence[Floats], profile: Profile | None = None
    ) -> None:
        """Payloads of tiles of one shape -> y_hat, exact eighths, into `ys`: float32 (M, h/16, w/16) each, any strides.

        Raises:
            BitstreamError: a payload is damaged or holds symbols out of range.
        """
        height, width = ys[0].shape[1] // 4, ys[0].shape[2] // 4  # of z
        with measure(profile, "coder"):
            of_z = self._z_indexes(height, width)
            decoders = [_ans.Decoder(payload, self._tables) for payload in payloads]
            z_hat = np.empty((len(decoders), self._num_hyper, height, width), np.float32)
            for decoder, z in zip(decoders, z_hat, strict=True):
                decoder.decode_latents(of_z.indexes, of_z.means, z)
        state = self._start(z_hat, profile)
        y_hat = None
        for group, places in enumerate(self._places):
            state, means, scales = self._context(group, state, y_hat, profile)
            with measure(profile, "coder"):
                y_hat = self._group_result(group, means)
                for i, decoder in enumerate(decoders):
                    for place in places:
                        at = (i, place.run)
                        wanted = None if y_hat is None else y_hat[at]
                        y = ys[i][place.latents]
                        decoder.decode_latents(scales[at], means[at], y, wanted, self._num_silent)
        for decoder in decoders:
            decoder.finish()

    def _z_indexes(self, height: int, width: int) -> "_Indexes":
        kept, shape = self._last_z, (self._num_hyper, height, width)
        if kept.indexes.shape != shape:
            channels = np.arange(NUM_SCALES, NUM_SCALES + self._num_hyper, dtype=np.uint8)
            indexes = np.repeat(channels, height * width).reshape(shape)
            kept = self._last_z = _Indexes(indexes, np.zeros(shape, np.int16))
        return kept

    def _group_result(self, group: int, means: NDArray[np.int16]) -> Floats | None:
        """Room for the y_hat of a group, as the next context takes it; None for the last."""
        return np.empty(means.shape, np.float32) if group + 1 < len(self._places) else None

    def _start(self, z_hat: Floats, profile: Profile | None) -> Array:
        with measure(profile, "hyper"):
            return self._hyper.run({"z_hat": z_hat})["state"]

    def _context(
        self, group: int, state: Array, y_hat: Floats | None, profile: Profile | None
    ) -> tuple[Array, NDArray[np.int16], NDArray[np.uint8]]:
        """State and the group before -> the new state, means in eighths and scale indexes, (1, n, h/32, w/32)."""
        inputs = {"state": state} if y_hat is None else {"state": state, "y_hat": y_hat}
        with measure(profile, f"context_g{group}"):
            outputs = self._contexts[group].run(inputs)
        return outputs.get("state_out", state), outputs["means"], outputs["indexes"]


@dataclass(frozen=True, slots=True)
class _Indexes:
    """What the coder takes for z, (C, h/64, w/64): table numbers, and means of 0. They depend on its size alone."""

    indexes: NDArray[np.uint8]
    means: NDArray[np.int16]


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


def _quantise(
    y: Floats,
    means: NDArray[np.int16],
    scales: NDArray[np.uint8],
    symbols: Ints,
    indexes: NDArray[np.uint8],
    y_hat: Floats | None,
    num_silent: int,
) -> int:
    """Symbols and indexes of what is coded of y (n, h/2, w/2), to the front of both; y_hat = symbols + means / 8 of
    all. Returns how many are coded."""
    try:
        return _ans.quantise(y, means, scales, symbols, indexes, y_hat, num_silent)
    except ValueError as error:
        raise EngineError(f"analysis gave a y that cannot be coded: {error}") from error


def _round(z: Floats, z_hat: Floats) -> None:
    """The nearest integers, where they are not beyond what a file may hold."""
    np.rint(z, out=z_hat)
    if not (z_hat.min() >= -MAX_SYMBOL and z_hat.max() <= MAX_SYMBOL):  # NaN is neither
        raise EngineError(f"analysis gave z in {z.min()}..{z.max()}: expected numbers within +-{MAX_SYMBOL}")
