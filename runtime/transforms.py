"""Analysis and synthesis of whole images, window by window; equal windows of several images run as one batch.

What a newcomer gets wrong: a window keeps only its inner part, where the network saw as much as it would have seen of
the whole image. So windows change the result by rounding at most, and memory depends on the size of a window alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Session
from .image import Picture, fill, store, store_blocks
from .ort_graph import BLOCK
from .profile import Profile, measure
from .tiles import UNIT, Box, Window, batches, windows

Floats = NDArray[np.float32]

LATENT = 16
"""Pixels to a latent."""


@dataclass(frozen=True, slots=True)
class Transform:
    """One transform of one level, with the gain of a quality: `gain` goes in with every window, (1, M, 1, 1).

    `margin`: how far its outputs can see, in pixels; `window_size`: the largest inner side of its windows; `as_bytes`:
    the session takes x as uint8; `in_blocks`: it has `run_blocks`; `batch_pixels`: a batch grows until it has so many.
    """

    session: Session
    gain: Floats
    margin: int
    window_size: int
    as_bytes: bool = False
    in_blocks: bool = False
    batch_pixels: int = 1 << 22


@dataclass(frozen=True, slots=True)
class Piece:
    """What a window gave, without what it sees of its neighbours: y (M, h/16, w/16), z (C, h/64, w/64) of `box`."""

    box: Box
    y: Floats
    z: Floats


def cut(pieces: Sequence[Piece], tile: Box) -> tuple[Floats, Floats]:
    """y and z of a tile, from the pieces that it meets: a view where it lies within one."""
    met = [piece for piece in pieces if not piece.box.clipped_to(tile).is_empty]
    first = met[0]
    if len(met) == 1:
        inside = tile.within(first.box)
        return first.y[:, *inside.scaled(1, LATENT).slices], first.z[:, *inside.scaled(1, UNIT).slices]
    y = np.empty((len(first.y), tile.height // LATENT, tile.width // LATENT), np.float32)
    z = np.empty((len(first.z), tile.height // UNIT, tile.width // UNIT), np.float32)
    for piece in met:
        common = piece.box.clipped_to(tile)
        source, target = common.within(piece.box), common.within(tile)
        y[:, *target.scaled(1, LATENT).slices] = piece.y[:, *source.scaled(1, LATENT).slices]
        z[:, *target.scaled(1, UNIT).slices] = piece.z[:, *source.scaled(1, UNIT).slices]
    return y, z


def analyse(
    transform: Transform, pictures: Sequence[Picture], tile_size: int = UNIT, profile: Profile | None = None
) -> list[list[Piece]]:
    """For each picture the pieces of y and z, made of whole tiles of `tile_size` where windows are as large."""
    margin = -(-transform.margin // UNIT) * UNIT
    sizes = [(picture.height, picture.width) for picture in pictures]
    found: list[list[Piece]] = [[] for _ in pictures]
    room: NDArray[Any] | None = None  # kept from batch to batch: fresh memory costs more than filling it
    for batch in _batches(sizes, transform, margin, tile_size):
        outer = batch[0][1].outer
        shape = (len(batch), 3, outer.height, outer.width)
        with measure(profile, "pixels"):
            if room is None or room.size < math.prod(shape):
                room = _empty_input(transform, (math.prod(shape),))
            x = room[: math.prod(shape)].reshape(shape)
            for i, (number, window) in enumerate(batch):
                fill(x[i], pictures[number].planes, window.outer)
        with measure(profile, "analysis"):
            outputs = transform.session.run({"x": x, "gain": transform.gain})
        for i, (number, window) in enumerate(batch):
            inner = window.inner.within(window.outer)
            y = outputs["y"][i][:, *inner.scaled(1, LATENT).slices]
            z = outputs["z"][i][:, *inner.scaled(1, UNIT).slices]
            found[number].append(Piece(window.inner, y, z))
    return found


def _empty_input(transform: Transform, shape: tuple[int, ...]) -> NDArray[Any]:
    """Memory for x; a GPU's session has some from where it uploads without another copy."""
    empty = getattr(transform.session, "empty", np.empty)
    found: NDArray[Any] = empty(shape, np.uint8 if transform.as_bytes else np.float32)
    return found


def synthesise(
    transform: Transform, latents: Sequence[Floats], pictures: Sequence[Picture], profile: Profile | None = None
) -> None:
    """Decode each latent y_hat float32 (M, H/16, W/16) into its picture, rounded."""
    margin = -(-transform.margin // LATENT) * LATENT
    sizes = [(LATENT * latent.shape[1], LATENT * latent.shape[2]) for latent in latents]
    kept: Floats | None = None  # from batch to batch: fresh memory costs more than filling it
    for batch in _batches(sizes, transform, margin):
        with measure(profile, "latents"):
            seen = [latents[number][:, *window.outer.scaled(1, LATENT).slices] for number, window in batch]
            if len(seen) == 1 and seen[0].flags.c_contiguous:
                y_hat = seen[0][None]
            else:
                size = len(seen) * seen[0].size
                if kept is None or kept.size < size:
                    kept = np.empty(size, np.float32)
                y_hat = np.stack(seen, out=kept[:size].reshape(len(seen), *seen[0].shape))
        inputs = {"y_hat": y_hat, "inverse_gain": transform.gain}
        session: Any = transform.session
        with measure(profile, "synthesis"):
            x_hat = session.run_blocks(inputs) if transform.in_blocks else session.run(inputs)["x_hat"]
        with measure(profile, "pixels"):
            for i, (number, window) in enumerate(batch):
                inner = window.inner.within(window.outer)
                if transform.in_blocks:
                    store_blocks(x_hat[i][*inner.scaled(1, BLOCK).slices], pictures[number], window.inner)
                else:
                    store(x_hat[i][:, *inner.slices], pictures[number].planes, window.inner)


def _batches(
    sizes: Sequence[tuple[int, int]], transform: Transform, margin: int, unit: int = UNIT
) -> Iterator[list[tuple[int, Window]]]:
    """(number of the image, window) in batches of equal outer shape and at most `transform.batch_pixels`."""
    size = transform.window_size
    found = ((number, window) for number, sides in enumerate(sizes) for window in windows(*sides, size, margin, unit))
    return batches((((w.outer.height, w.outer.width), (number, w)) for number, w in found), transform.batch_pixels)
