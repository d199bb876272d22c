"""Analysis and synthesis of whole images, window by window; equal windows of several images run as one batch.

What a newcomer gets wrong: a window keeps only its inner part, where the network saw as much as it would have seen of
the whole image. So windows change the result by rounding at most, and memory depends on the size of a window alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .bitstream import Header
from .engine import Session
from .image import Picture, fill, store, store_blocks
from .latents import LATENT, Latents
from .ort_graph import BLOCK
from .overlap import Overlap
from .profile import Profile, measure
from .room import Room
from .tiles import UNIT, Box, Window, batches, windows

Floats = NDArray[np.float32]

Item = TypeVar("Item")
Batch = list[tuple[int, Window]]
"""(number of the image, window) of windows of one shape."""


@dataclass(frozen=True, slots=True)
class Transform:
    """One transform of one level, with the gain of a quality: `gain` goes in with every window, (1, M, 1, 1).

    `margin`: how far its outputs can see, in pixels; `window_size`, `window_pixels`: the largest inner side and
    area of its windows; `as_bytes`: the session takes x as uint8; `in_blocks`: it has `run_blocks`; `batch_pixels`: a
    batch grows until it has so many.
    `alone` gives a session of one thread, for work that `overlap` shares out. `room`: for what goes into the session.
    """

    session: Session
    gain: Floats
    margin: int
    window_size: int
    window_pixels: int
    as_bytes: bool = False
    in_blocks: bool = False
    batch_pixels: int = 1 << 22
    overlap: Overlap | None = None
    alone: Callable[[], Session] | None = None
    room: Room = field(default_factory=Room)

    def windows(self, height: int, width: int, unit: int, tile_size: int) -> tuple[Window, ...]:
        """What it sees of an image at once, with margins of whole `unit`s; made of whole tiles where windows
        are as large."""
        margin = -(-self.margin // unit) * unit
        return windows(height, width, self.window_size, margin, tile_size, self.window_pixels)

    def each(self, work: Callable[[list[Item], Session], None], batches: list[list[Item]], one_by_one: bool) -> None:
        """`work` of every batch, side by side where that keeps all threads busy."""
        shared = None if one_by_one or self.overlap is None else self.overlap.shared_out(batches)
        if shared is None or self.overlap is None or self.alone is None:
            for batch in batches:
                work(batch, self.session)
            return
        session = self.alone()
        self.overlap.run(lambda batch: work(batch, session), shared)


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
    seen = (
        (_size(window), (number, window))
        for number, picture in enumerate(pictures)
        for window in transform.windows(picture.height, picture.width, UNIT, tile_size)
    )
    found: list[list[Piece]] = [[] for _ in pictures]
    pinned = Room()

    def work(batch: Batch, session: Session) -> None:
        outer = batch[0][1].outer
        with measure(profile, "pixels"):
            dtype = np.uint8 if transform.as_bytes else np.float32
            shape = (len(batch), 3, outer.height, outer.width)
            empty = getattr(session, "empty", None)  # a GPU's, from where it uploads without another copy
            x = transform.room.array(shape, dtype) if empty is None else pinned.array(shape, dtype, empty)
            for i, (number, window) in enumerate(batch):
                fill(x[i], pictures[number].planes, window.outer)
        with measure(profile, "analysis"):
            outputs = session.run({"x": x, "gain": transform.gain})
        for i, (number, window) in enumerate(batch):
            inner = window.inner.within(window.outer)
            y = outputs["y"][i][:, *inner.scaled(1, LATENT).slices]
            z = outputs["z"][i][:, *inner.scaled(1, UNIT).slices]
            found[number].append(Piece(window.inner, y, z))

    transform.each(work, list(batches(seen, transform.batch_pixels)), one_by_one=profile is not None)
    return found


def synthesis_windows(transform: Transform, header: Header) -> tuple[Window, ...]:
    """What a synthesis sees of an image at once."""
    return transform.windows(header.height, header.width, LATENT, header.tile_size)


def synthesise(
    transform: Transform, latents: Sequence[Latents], pictures: Sequence[Picture], profile: Profile | None = None
) -> None:
    """Decode the latents of each image into its picture, rounded."""

    def work(batch: list[tuple[Floats, tuple[Picture, Window]]], session: Any) -> None:
        with measure(profile, "latents"):
            seen = [y_hat for y_hat, _ in batch]
            alone = len(seen) == 1
            room = None if alone else transform.room.array((len(seen), *seen[0].shape), np.float32)
            y_hat = seen[0][None] if alone else np.stack(seen, out=room)
        inputs = {"y_hat": y_hat, "inverse_gain": transform.gain}
        with measure(profile, "synthesis"):
            x_hat, bias = session.run_blocks(inputs) if transform.in_blocks else (session.run(inputs)["x_hat"], None)
        with measure(profile, "pixels"):
            for i, (_, (picture, window)) in enumerate(batch):
                inner = window.inner.within(window.outer)
                if transform.in_blocks:
                    store_blocks(x_hat[i][*inner.scaled(1, BLOCK).slices], picture, window.inner, bias)
                else:
                    store(x_hat[i][:, *inner.slices], picture.planes, window.inner)

    found = [
        (_size(window), (seen, (picture, window)))
        for latent, picture in zip(latents, pictures, strict=True)
        for window, seen in zip(latent.windows, latent.seen, strict=True)
    ]
    transform.each(work, list(batches(found, transform.batch_pixels)), one_by_one=profile is not None)


def _size(window: Window) -> tuple[int, int]:
    return window.outer.height, window.outer.width
