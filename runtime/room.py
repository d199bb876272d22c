"""Memory that is used again, call after call.

What a newcomer gets wrong: fresh memory is not free. The system clears each page when it is first touched, which costs
more than most passes over it; so what a large image takes for a while is kept for the next one.
"""

import math
import threading
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_KEPT_BYTES = 96 << 20
"""What a thread keeps of one kind: enough for the latents of 24 Mpixel, or for a window of half of 12 Mpixel."""


class Room(threading.local):
    """An array's memory for each thread. It belongs to who asked last: what is in it is gone at the next call."""

    def __init__(self) -> None:
        self._kept: NDArray[Any] | None = None

    def array(self, shape: tuple[int, ...], dtype: type[np.generic], empty: Any = np.empty) -> NDArray[Any]:
        """Contiguous, with any contents; of one type it is the same memory at every call."""
        size, kept = math.prod(shape), self._kept
        if kept is None or kept.size < size or kept.dtype != dtype:
            kept = empty((size,), dtype)
            self._kept = kept if kept.nbytes <= MAX_KEPT_BYTES else None
        found: NDArray[Any] = kept[:size].reshape(shape)
        return found

    def forget(self) -> None:
        """Ask for other memory next time: somebody may still write into this one."""
        self._kept = None

    def arrays(self, shapes: Sequence[tuple[int, ...]], dtype: type[np.generic]) -> list[NDArray[Any]]:
        """Several, one behind the other."""
        ends = list(accumulate(math.prod(shape) for shape in shapes))
        whole = self.array((ends[-1] if ends else 0,), dtype)
        starts = [0, *ends[:-1]]
        return [whole[a:b].reshape(shape) for a, b, shape in zip(starts, ends, shapes, strict=False)]
