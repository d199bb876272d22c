"""Analysis and synthesis of whole images, window by window; equal windows of several images run as one batch.

What a newcomer gets wrong: a window keeps only its inner part, where the network saw as much as it would have seen of
the whole image. So windows change the result by rounding at most, and memory depends on the size of a window alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Session
from .image import Picture, fill, store, store_blocks
from .ort_graph import BLOCK
from .profile import Profile, measure
from .tiles import UNIT, Box, Window, batches, padded, windows

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


def analyse(
    transform: Transform, pictures: Sequence[Picture], profile: Profile | None = None
) -> list[tuple[Floats, Floats]]:
    """For each picture y float32 (M, H/16, W/16) and z float32 (C, H/64, W/64), H and W padded to multiples of 64."""
    margin = -(-transform.margin // UNIT) * UNIT
    sizes = [(padded(picture.height), padded(picture.width)) for picture in pictures]
    ys: list[Floats | None] = [None] * len(pictures)
    zs: list[Floats | None] = [None] * len(pictures)
    x: NDArray[Any] | None = None  # kept from batch to batch: fresh memory costs more than filling it
    for batch in _batches(sizes, transform, margin):
        outer = batch[0][1].outer
        shape = (len(batch), 3, outer.height, outer.width)
        with measure(profile, "pixels"):
            if x is None or x.shape != shape:
                x = _empty_input(transform, shape)
            for i, (number, window) in enumerate(batch):
                fill(x[i], pictures[number].planes, window.outer)
        with measure(profile, "analysis"):
            outputs = transform.session.run({"x": x, "gain": transform.gain})
        with measure(profile, "latents"):
            for i, (number, window) in enumerate(batch):
                ys[number] = _paste(ys[number], outputs["y"][i], window, sizes[number], LATENT)
                zs[number] = _paste(zs[number], outputs["z"][i], window, sizes[number], UNIT)
    return [(y, z) for y, z in zip(ys, zs, strict=True) if y is not None and z is not None]


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
    for batch in _batches(sizes, transform, margin):
        with measure(profile, "latents"):
            seen = [latents[number][:, *window.outer.scaled(1, LATENT).slices] for number, window in batch]
            y_hat = np.ascontiguousarray(seen[0][None]) if len(seen) == 1 else np.stack(seen)
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


def _batches(sizes: Sequence[tuple[int, int]], transform: Transform, margin: int) -> Iterator[list[tuple[int, Window]]]:
    """(number of the image, window) in batches of equal outer shape and at most `transform.batch_pixels`."""
    size = transform.window_size
    found = ((number, window) for number, sides in enumerate(sizes) for window in windows(*sides, size, margin))
    return batches((((w.outer.height, w.outer.width), (number, w)) for number, w in found), transform.batch_pixels)


def _paste(whole: Floats | None, part: Floats, window: Window, size: tuple[int, int], stride: int) -> Floats:
    """Put a window's output (C, outer / stride) where it belongs in that of the image, made when first needed."""
    if window.inner == Box(0, 0, *size):
        return part
    if whole is None:
        whole = np.empty((len(part), size[0] // stride, size[1] // stride), np.float32)
    source = window.inner.within(window.outer).scaled(1, stride)
    whole[:, *window.inner.scaled(1, stride).slices] = part[:, *source.slices]
    return whole
