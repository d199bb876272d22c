"""Images in memory of a GPU, another library's: read through `__cuda_array_interface__` or DLPack, written likewise.

What a newcomer gets wrong: whose stream? An array is ready when the caller's stream says so, so this library's stream
waits for the caller's before it reads, and the caller's for this one's after it was written; the host waits for neither
longer than it must. Entropy coding happens on the processor: pixels cross the bus once each way as bytes.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda import Device
from .cuda_stream import Stream
from .errors import ImageError
from .image import Picture

Array = NDArray[Any]

LEGACY_STREAM = 1
"""What CUDA calls the default stream where a handle is wanted; it is in order with every blocking stream."""
CUDA_DEVICES = (2, 13)  # of DLPack: kDLCUDA, kDLCUDAManaged
_KINDS = {0: "i", 1: "u", 2: "f"}


@dataclass(frozen=True, slots=True)
class View:
    """Where an array lies. `stream`: what it is ready on, where it says so. `owner` keeps it alive."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int | None
    writable: bool
    owner: Any


def is_on_device(value: object) -> bool:
    """Whether something is an array in memory of a GPU that can be read here."""
    if hasattr(value, "__cuda_array_interface__"):
        return True
    kind = getattr(value, "__dlpack_device__", None)
    return kind is not None and not isinstance(value, np.ndarray) and int(kind()[0]) in CUDA_DEVICES


def view_of(value: Any, stream: Stream) -> View:
    """An array's place. One that comes by DLPack is made ready for `stream` by its own library.

    Raises:
        ImageError: it is not C-contiguous, or of a type that images do not have.
    """
    found = getattr(value, "__cuda_array_interface__", None)
    if found is None:
        return _from_dlpack(value, stream)
    address, read_only = found["data"]
    shape, dtype = tuple(found["shape"]), np.dtype(found["typestr"])
    _require_contiguous(shape, found.get("strides"), dtype.itemsize)
    return View(int(address), shape, dtype, found.get("stream"), not read_only, value)


def fetch(value: Any, device: Device, stream: int | None = None) -> Array:
    """An image on the device -> a numpy array (H, W) or (H, W, bands) in pinned memory.

    value: (H, W), (H, W, 1..4) or (1..4, H, W), C-contiguous. stream: the handle of the stream that it is ready on;
    None takes what the array says, else the default stream.

    Raises:
        ImageError: another shape or layout.
    """
    with device.active():
        view = view_of(value, device.stream)
        is_planar = _bands_first(view.shape)
        _join(device, view.stream if stream is None else stream)
        found = device.pinned(view.shape, view.dtype)
        device.stream.download(found, view.address)
        device.stream.wait()
    return np.ascontiguousarray(found.transpose(1, 2, 0)) if is_planar else found


def put(picture: Picture, out: Any, device: Device | None, stream: int | None = None) -> None:
    """Write a decoded picture into an array on the device, or (without a device) a numpy array.

    out: uint8, (H, W, bands) or (bands, H, W), and (H, W) for a single band, C-contiguous; bands as Pillow has them:
    1 grey, 2 with alpha, 3 RGB, 4 with alpha. stream: the caller's, which waits for the result; None: the host waits.

    Raises:
        ImageError: another type, shape or layout.
    """
    bands = picture.planes if picture.alpha is None else np.concatenate([picture.planes, picture.alpha[None]])
    if device is None:
        if not isinstance(out, np.ndarray):
            raise ImageError(f"out: expected a numpy array, or an array on a GPU, got {type(out).__name__}")
        _check_out(out.shape, out.dtype, bool(out.flags.writeable), bands.shape)
        np.copyto(out, _laid_out(bands, out.shape))
        return
    with device.active():
        view = view_of(out, device.stream)
        _check_out(view.shape, view.dtype, view.writable, bands.shape)
        _join(device, view.stream if stream is None else stream)  # who reads the old contents may go on
        source = device.pinned(view.shape, np.uint8)
        np.copyto(source, _laid_out(bands, view.shape))
        device.stream.upload(view.address, source)
        done = device.stream.record()
        if stream is not None:
            device.do("cuStreamWaitEvent", stream or LEGACY_STREAM, done.handle, 0)
        done.wait()  # `source` must live until here


def _join(device: Device, stream: int | None) -> None:
    """What follows on the device's stream comes after all that the caller's has been given."""
    if stream == int(device.stream.handle):
        return
    event = device.event()
    device.do("cuEventRecord", event.handle, stream or LEGACY_STREAM)
    device.stream.wait_for(event)


def _bands_first(shape: tuple[int, ...]) -> bool:
    """Whether an image's bands come first. Raises ImageError for what is no image."""
    if len(shape) == 2 or (len(shape) == 3 and 1 <= shape[2] <= 4):
        return False
    if len(shape) == 3 and 1 <= shape[0] <= 4:
        return True
    raise ImageError(f"array of shape {shape} on a GPU: expected (H, W), (H, W, 1..4) or (1..4, H, W)")


def _laid_out(bands: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """(bands, H, W) as an array of this shape wants it."""
    found = bands if tuple(shape) == bands.shape else bands.transpose(1, 2, 0)
    return found[..., 0] if len(shape) == 2 else found


def _check_out(shape: Sequence[int], dtype: np.dtype[Any], writable: bool, bands: tuple[int, ...]) -> None:
    count, height, width = bands
    expected = [(height, width, count), (count, height, width)] + ([(height, width)] if count == 1 else [])
    if dtype != np.uint8 or tuple(shape) not in expected:
        raise ImageError(
            f"out: expected uint8 of shape {' or '.join(map(str, expected))}, got {dtype} of shape {tuple(shape)}"
        )
    if not writable:
        raise ImageError("out: expected an array that can be written to, got one that is read-only")


def _require_contiguous(shape: Sequence[int], strides: Sequence[int] | None, item_bytes: int) -> None:
    expected, step = [], item_bytes
    for side in reversed(shape):
        expected.append(step)
        step *= side
    matters = [i for i, side in enumerate(shape) if side > 1]
    if strides is not None and any(strides[i] != expected[::-1][i] for i in matters):
        raise ImageError(f"array of shape {tuple(shape)} on a GPU: expected C-contiguous memory; call its contiguous()")


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


def _from_dlpack(value: Any, stream: Stream) -> View:
    """The capsule is not taken over: it owns its tensor, and the view keeps it."""
    capsule = value.__dlpack__(stream=int(stream.handle))
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _DLTensor.from_address(pointer(capsule, b"dltensor"))
    kind = _KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1:
        raise ImageError(f"array on a GPU with DLPack type {tensor.code}: expected whole numbers or floats")
    dtype = np.dtype(f"{kind}{tensor.bits // 8}")
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = [dtype.itemsize * tensor.strides[i] for i in range(tensor.ndim)] if tensor.strides else None
    _require_contiguous(shape, strides, dtype.itemsize)
    address = int(tensor.data or 0) + int(tensor.byte_offset)
    return View(address, shape, dtype, int(stream.handle), True, (value, capsule))
