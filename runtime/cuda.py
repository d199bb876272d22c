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

from .errors import EngineError

Array = NDArray[Any]

CURE = "install the driver and the extra: pip install 'basic-nic[trt]'"
MIN_BLOCK = 512
"""Bytes: sizes are rounded up to powers of two from here, so that what was given back fits again."""
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
        self._closed = False
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

    def take(self, num_bytes: int) -> "Block":
        """Memory of the device; given back when the block is no longer used."""
        return Block(self, "device", num_bytes)

    def empty(self, shape: Sequence[int], dtype: Any) -> "DeviceArray":
        """An array on the device with nothing in it yet."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        return DeviceArray(self.take(count * kind.itemsize), tuple(int(side) for side in shape), kind)

    def pinned(self, shape: Sequence[int], dtype: Any) -> Array:
        """A numpy array in pinned memory, which copies to and from the device fastest."""
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return np.asarray(_Pinned(Block(self, "host", num_bytes), shape, dtype))

    def event(self, timing: bool = False) -> "Event":
        """An event that has not been recorded yet."""
        return Event(self, timing)

    def close(self) -> None:
        """Free everything that was given back, and the primary context."""
        if self._closed:
            return
        with self.active():
            self.stream.close()
        with self._lock:
            self._closed = True
            kept, self._free = self._free, {}
        with self.active():
            for (kind, size), addresses in kept.items():
                for address in addresses:
                    self._release(kind, address, size)
        if self._retained is not None:
            self.do("cuDevicePrimaryCtxRelease", self._retained)

    def _acquire(self, kind: str, size: int) -> int:
        with self._lock:
            if self._closed:
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

    def _give_back(self, kind: str, address: int, size: int) -> None:
        """Keep for the next that asks; after `close` the context may be gone, and the memory with it."""
        with self._lock:
            if not self._closed:
                self._free.setdefault((kind, size), []).append(address)

    def _release(self, kind: str, address: int, size: int) -> None:
        self.do("cuMemFree" if kind == "device" else "cuMemFreeHost", address)
        if kind == "device":
            self.allocated_bytes -= size


class Block:
    """Memory of a device or pinned memory of the host, given back with the last reference."""

    def __init__(self, device: Device, kind: str, num_bytes: int) -> None:
        self._device, self._kind = device, kind
        self.num_bytes = MIN_BLOCK << max(0, (max(num_bytes, 1) - 1).bit_length() - (MIN_BLOCK - 1).bit_length())
        self.address = device._acquire(kind, self.num_bytes)

    def __del__(self) -> None:
        if hasattr(self, "address"):  # not where taking it failed
            self._device._give_back(self._kind, self.address, self.num_bytes)

    @property
    def device(self) -> Device:
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


class Stream:
    """The order in which a device works. Threads may share it, and may record in it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.RLock()
        self.handle = device.do("cuStreamCreate", 1)  # CU_STREAM_NON_BLOCKING

    def upload(self, address: int, array: Array) -> None:
        """Host -> device; `array` is C-contiguous, pinned for speed, and lives until the stream was waited for."""
        self._ask("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, self.handle)

    def download(self, array: Array, address: int) -> None:
        """Device -> host, likewise."""
        self._ask("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, self.handle)

    def copy(self, to: int, source: int, num_bytes: int) -> None:
        """Device -> device."""
        self._ask("cuMemcpyDtoDAsync", to, source, num_bytes, self.handle)

    def record(self, timing: bool = False) -> "Event":
        """An event that has happened once all that was asked for so far is done."""
        event = Event(self._device, timing)
        self._ask("cuEventRecord", event.handle, self.handle)
        return event

    def wait(self) -> None:
        """Block until everything asked for is done."""
        self.record().wait()  # a whole stream must not be waited for while another thread records in it

    def wait_for(self, event: "Event") -> None:
        """Do what follows only after an event of another stream; the host does not wait."""
        self._ask("cuStreamWaitEvent", self.handle, event.handle, 0)

    def capture(self, work: Any) -> "CudaGraph":
        """What `work()` asks for, recorded instead of done; other threads can ask for nothing meanwhile."""
        api = self._device.api
        with self._lock:
            self._device.do("cuStreamBeginCapture", self.handle, api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)
            try:
                work()
            finally:
                graph = self._device.do("cuStreamEndCapture", self.handle)
        return CudaGraph(self._device, graph)

    def launch(self, graph: "CudaGraph") -> None:
        """All that was recorded."""
        self._ask("cuGraphLaunch", graph.handle, self.handle)

    def _ask(self, name: str, *arguments: Any) -> None:
        with self._lock:
            self._device.do(name, *arguments)

    def close(self) -> None:
        self.wait()
        self._device.do("cuStreamDestroy", self.handle)


class Event:
    """A point in a stream's work."""

    def __init__(self, device: Device, timing: bool) -> None:
        self._device = device
        self.handle = device.do("cuEventCreate", 0 if timing else 2)  # 2: CU_EVENT_DISABLE_TIMING, cheaper

    def wait(self) -> None:
        """Block until it has happened."""
        self._device.do("cuEventSynchronize", self.handle)

    def ms_since(self, earlier: "Event") -> float:
        """Milliseconds on the device between two events that have happened, both made for timing."""
        return float(self._device.do("cuEventElapsedTime", earlier.handle, self.handle))

    def __del__(self) -> None:
        if hasattr(self, "handle") and not self._device._closed:
            self._device.api.cuEventDestroy(self.handle)


class CudaGraph:
    """Recorded work that is asked for with one call. Its shapes and addresses are those of the recording."""

    def __init__(self, device: Device, graph: Any) -> None:
        self._device = device
        self.handle = device.do("cuGraphInstantiate", graph, 0)
        device.do("cuGraphDestroy", graph)

    def __del__(self) -> None:
        if hasattr(self, "handle") and not self._device._closed:
            self._device.api.cuGraphExecDestroy(self.handle)
