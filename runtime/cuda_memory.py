"""Memory for work on a GPU: blocks of the device or of pinned host memory, and the arrays in them.

What a newcomer gets wrong: a block is given back with the last array that lies in it, not when the GPU is done with it.
On the device that is safe, in stream order; pinned memory must be held until the stream was waited for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .cuda import Device

Array = NDArray[Any]

MIN_BLOCK = 512
"""Bytes: sizes are rounded up to powers of two from here, so that what was given back fits again."""


class Block:
    """Memory of a device or pinned memory of the host, given back with the last reference."""

    def __init__(self, device: "Device", kind: str, num_bytes: int) -> None:
        self._device, self._kind = device, kind
        self.num_bytes = MIN_BLOCK << max(0, (max(num_bytes, 1) - 1).bit_length() - (MIN_BLOCK - 1).bit_length())
        self.address = device.acquire(kind, self.num_bytes)

    def __del__(self) -> None:
        if hasattr(self, "address"):  # not where taking it failed
            self._device.give_back(self._kind, self.address, self.num_bytes)

    @property
    def device(self) -> "Device":
        return self._device


class _Pinned:
    """What numpy takes an array from, and keeps as long as the array lives."""

    def __init__(self, block: Block, shape: Sequence[int], dtype: Any) -> None:
        self._block = block
        self.__array_interface__ = {
            "data": (block.address, False),
            "shape": tuple(int(side) for side in shape),
            "typestr": np.dtype(dtype).str,
            "version": 3,
        }


def pinned_array(block: Block, shape: Sequence[int], dtype: Any) -> Array:
    """A block of pinned memory as a numpy array, which keeps it."""
    return np.asarray(_Pinned(block, shape, dtype))


def is_pinned(array: Array) -> bool:
    """Whether an array, or what it is a view of, came from `Device.pinned`."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, _Pinned)


class DeviceArray:
    """A C-contiguous array in memory of the device.

    Offers `__cuda_array_interface__` to other libraries, valid once the stream was waited for; `numpy.asarray` copies
    it to the host.
    """

    def __init__(self, block: Block, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.block, self.shape, self.dtype = block, shape, dtype

    @property
    def address(self) -> int:
        return self.block.address

    @property
    def num_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        stream = self.block.device.stream.handle
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": int(stream),
            "version": 3,
        }

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        device = self.block.device
        found = device.pinned(self.shape, self.dtype)
        with device.active():
            device.stream.download(found, self.address)
            device.stream.wait()
        return found if dtype is None else found.astype(dtype)

    def __len__(self) -> int:
        return self.shape[0]
