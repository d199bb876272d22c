"""A GPU through the CUDA driver: memory of the device, pinned memory of the host, one stream, events and graphs.

What a newcomer gets wrong: nothing here waits but `Event.wait` and `Stream.wait`. A copy is asked for, not done, when
its call returns, so host memory that takes part must live until the stream was waited for; memory of the device is
taken and given back in stream order, which is safe because there is one stream. While one thread records, the others
wait: what they asked for would be recorded too, and not done.

`Device(api)` takes the module `cuda.bindings.driver`, or anything with the functions used here; tests give a fake.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda_memory import Block, DeviceArray, pinned_array
from .cuda_stream import Event, Stream
from .errors import EngineError

Array = NDArray[Any]

CURE = "install the driver and the extra: pip install 'basic-nic[trt]'"
COMPUTE_MAJOR, COMPUTE_MINOR, NUM_PROCESSORS = (
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR",
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR",
    "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT",
)


def driver() -> Any:
    """The module `cuda.bindings.driver`, its driver initialised.

    Raises:
        EngineError: the package, the driver or a GPU is missing; the message has the cure.
    """
    try:
        from cuda.bindings import driver as api
    except ImportError as error:
        raise EngineError(f"CUDA: the package cuda-python cannot be imported ({error}); {CURE}") from error
    initialise(api)
    return api


def initialise(api: Any) -> None:
    """cuInit, before anything else touches the GPU: TensorRT without a driver crashes the process.

    Raises:
        EngineError: there is no driver, or it has no GPU.
    """
    try:
        (status, *_) = api.cuInit(0)
    except Exception as error:  # the driver library is looked for at the first call; its errors share no base
        raise EngineError(f"CUDA: no NVIDIA driver is found ({_first_line(error)}); {CURE}") from error
    if int(status):
        raise EngineError(f"CUDA: the driver does not start ({_status(api, status)}); check nvidia-smi, then {CURE}")
    number = check(api, api.cuDeviceGetCount())
    if not number:
        raise EngineError("CUDA: the driver finds no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES")


def check(api: Any, result: tuple[Any, ...]) -> Any:
    """What a driver call returned, without its status.

    Raises:
        EngineError: the status says that it failed.
    """
    status, *values = result
    if int(status):
        raise EngineError(f"CUDA: {_status(api, status)}")
    if not values:
        return None
    return values[0] if len(values) == 1 else tuple(values)


def _status(api: Any, status: Any) -> str:
    found = [api.cuGetErrorName(status), api.cuGetErrorString(status)]
    words = [text.decode() if isinstance(text, bytes) else str(text) for code, text in found if not int(code)]
    return ": ".join(words) or f"error {int(status)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Device:
    """One GPU and one stream on it. Threads may share it: every call that needs the context is made inside `active`.

    The context is the one that is current when this opens (an embedding program's), else the device's primary one.
    """

    def __init__(self, api: Any, number: int = 0) -> None:
        self.api = api
        handle = self.do("cuDeviceGet", number)
        context = self.do("cuCtxGetCurrent")
        self._retained = None
        if int(context):
            handle = self.do("cuCtxGetDevice")
        else:
            context = self.do("cuDevicePrimaryCtxRetain", handle)
            self._retained = handle
        self._context = context
        self._handle = handle
        self._free: dict[tuple[str, int], list[int]] = {}
        self._lock = threading.RLock()  # again by the same thread: garbage may be collected, blocks among it, inside
        self.is_closed = False
        self.allocated_bytes = 0
        """Bytes of the device that are taken and kept for use again."""
        with self.active():
            self.stream = Stream(self)

    def do(self, name: str, *arguments: Any) -> Any:
        """Call a driver function; its values, or an EngineError."""
        return check(self.api, getattr(self.api, name)(*arguments))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this device's context the thread's, and the one from before again afterwards."""
        self.do("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self.do("cuCtxPopCurrent")

    @property
    def name(self) -> str:
        text = self.do("cuDeviceGetName", 96, self._handle)
        return str(text.split(b"\0")[0].decode() if isinstance(text, bytes) else text)

    @property
    def compute_capability(self) -> str:
        """As in "9.0"."""
        return f"{self._attribute(COMPUTE_MAJOR)}.{self._attribute(COMPUTE_MINOR)}"

    @property
    def num_processors(self) -> int:
        return self._attribute(NUM_PROCESSORS)

    @property
    def driver_version(self) -> str:
        """The CUDA version that the driver knows, as in "12.4"."""
        version = int(self.do("cuDriverGetVersion"))
        return f"{version // 1000}.{version % 1000 // 10}"

    @property
    def bus_id(self) -> str:
        """Where the GPU sits, as nvidia-smi names it."""
        text = self.do("cuDeviceGetPCIBusId", 32, self._handle)
        return str(text.split(b"\0")[0].decode() if isinstance(text, bytes) else text)

    def memory_bytes(self) -> tuple[int, int]:
        """Free and all memory of the device, whoever uses it."""
        with self.active():
            free, total = self.do("cuMemGetInfo")
        return int(free), int(total)

    def _attribute(self, name: str) -> int:
        return int(self.do("cuDeviceGetAttribute", getattr(self.api.CUdevice_attribute, name), self._handle))

    def take(self, num_bytes: int) -> Block:
        """Memory of the device; given back when the block is no longer used."""
        return Block(self, "device", num_bytes)

    def empty(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """An array on the device with nothing in it yet."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        return DeviceArray(self.take(count * kind.itemsize), tuple(int(side) for side in shape), kind)

    def pinned(self, shape: Sequence[int], dtype: Any) -> Array:
        """A numpy array in pinned memory, which copies to and from the device fastest."""
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return pinned_array(Block(self, "host", num_bytes), shape, dtype)

    def event(self, timing: bool = False) -> Event:
        """An event that has not been recorded yet."""
        return Event(self, timing)

    def close(self) -> None:
        """Free everything that was given back, and the primary context."""
        if self.is_closed:
            return
        with self.active():
            self.stream.close()
        with self._lock:
            self.is_closed = True
            kept, self._free = self._free, {}
        with self.active():
            for (kind, size), addresses in kept.items():
                for address in addresses:
                    self._release(kind, address, size)
        if self._retained is not None:
            self.do("cuDevicePrimaryCtxRelease", self._retained)

    def acquire(self, kind: str, size: int) -> int:
        with self._lock:
            if self.is_closed:
                raise EngineError("CUDA: this device is closed; open another engine")
            kept = self._free.get((kind, size))
            if kept:
                return kept.pop()
        with self.active():
            address = int(self.do("cuMemAlloc" if kind == "device" else "cuMemAllocHost", size))
        if kind == "device":
            with self._lock:
                self.allocated_bytes += size
        return address

    def give_back(self, kind: str, address: int, size: int) -> None:
        """Keep for the next that asks; after `close` the context may be gone, and the memory with it."""
        with self._lock:
            if not self.is_closed:
                self._free.setdefault((kind, size), []).append(address)

    def _release(self, kind: str, address: int, size: int) -> None:
        self.do("cuMemFree" if kind == "device" else "cuMemFreeHost", address)
        if kind == "device":
            self.allocated_bytes -= size
