"""The order in which a GPU works: one stream, events in it, and work recorded as a graph.

What a newcomer gets wrong: a recording takes everything that any thread asks of the stream meanwhile, so the stream is
held by one thread as long as it records.
"""

import threading
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from .cuda import Device


class Stream:
    """The order in which a device works. Threads may share it, and may record in it."""

    def __init__(self, device: "Device") -> None:
        self._device = device
        self._lock = threading.RLock()
        self.handle = device.do("cuStreamCreate", 1)  # CU_STREAM_NON_BLOCKING

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Host -> device; `array` is C-contiguous, pinned for speed, and lives until the stream was waited for."""
        self._ask("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, self.handle)

    def download(self, array: NDArray[Any], address: int) -> None:
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

    def __init__(self, device: "Device", timing: bool) -> None:
        self._device = device
        self.handle = device.do("cuEventCreate", 0 if timing else 2)  # 2: CU_EVENT_DISABLE_TIMING, cheaper

    def wait(self) -> None:
        """Block until it has happened."""
        self._device.do("cuEventSynchronize", self.handle)

    def ms_since(self, earlier: "Event") -> float:
        """Milliseconds on the device between two events that have happened, both made for timing."""
        return float(self._device.do("cuEventElapsedTime", earlier.handle, self.handle))

    def __del__(self) -> None:
        if hasattr(self, "handle") and not self._device.is_closed:
            self._device.api.cuEventDestroy(self.handle)


class CudaGraph:
    """Recorded work that is asked for with one call. Its shapes and addresses are those of the recording."""

    def __init__(self, device: "Device", graph: Any) -> None:
        self._device = device
        self.handle = device.do("cuGraphInstantiate", graph, 0)
        device.do("cuGraphDestroy", graph)

    def __del__(self) -> None:
        if hasattr(self, "handle") and not self._device.is_closed:
            self._device.api.cuGraphExecDestroy(self.handle)
