"""y_hat of an image as synthesis will see it: an array for each window, into which tiles are decoded.

What a newcomer gets wrong: windows overlap, tiles do not. A tile is decoded into one window and copied to the others
only where they see it too; cutting windows from an array of the whole image would copy everything once more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .room import Room
from .tiles import Box, Window, padded

Floats = NDArray[np.float32]

LATENT = 16
"""Pixels to a latent."""


@dataclass(frozen=True, slots=True)
class Latents:
    """For each window what it sees of y_hat: float32 (M, h/16, w/16) of `outer`, contiguous."""

    windows: Sequence[Window]
    seen: Sequence[Floats]

    def target(self, tile: Box) -> Floats:
        """Where to decode a tile: its place in the first window that holds all of it, or else an array of its own."""
        holder = self._holder(tile)
        if holder is None:
            return np.empty((len(self.seen[0]), tile.height // LATENT, tile.width // LATENT), np.float32)
        return self.seen[holder][:, *tile.within(self.windows[holder].outer).scaled(1, LATENT).slices]

    def share(self, tile: Box, y_hat: Floats) -> None:
        """Copy a tile from its target to all other windows that see some of it."""
        if len(self.windows) == 1:
            return  # it holds every tile
        holder = self._holder(tile)
        for number, (window, seen) in enumerate(zip(self.windows, self.seen, strict=True)):
            common = tile.clipped_to(window.outer)
            if common.is_empty or number == holder:
                continue
            source, target = common.within(tile), common.within(window.outer)
            seen[:, *target.scaled(1, LATENT).slices] = y_hat[:, *source.scaled(1, LATENT).slices]

    def _holder(self, tile: Box) -> int | None:
        held = (number for number, window in enumerate(self.windows) if tile.clipped_to(window.outer) == tile)
        return next(held, None)


def whole_image(height: int, width: int) -> list[Window]:
    """One window that sees everything."""
    box = Box(0, 0, padded(height), padded(width))
    return [Window(box, box)]


def empty_latents(room: Room, num_channels: int, images: Sequence[Sequence[Window]]) -> list[Latents]:
    """To be filled tile by tile; in memory that belongs to the thread that asks, until it asks again."""
    boxes = [window.outer.scaled(1, LATENT) for windows in images for window in windows]
    arrays = iter(room.arrays([(num_channels, box.height, box.width) for box in boxes], np.float32))
    return [Latents(windows, [next(arrays) for _ in windows]) for windows in images]
