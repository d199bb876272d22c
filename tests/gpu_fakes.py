"""A CUDA driver and a TensorRT that are not there: enough of both to run the GPU engine on a CPU.

The driver's memory is memory of this process. Its stream is lazy: what is asked for happens when somebody waits, as
late as a real one may, so memory that was given back too early is seen; and in order, one thing at a time, whichever
threads wait. As with a real one, each thread has its own current context, and what any thread asks of the stream while
another records goes into the recording. The networks run in onnxruntime, in the graph that TensorRT would get; on a CPU
it rounds weights to float16 but not what lies between nodes (test_half.py does).
"""

import ctypes
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

OK, NO_DEVICE, INVALID = 0, 100, 1


class FakeDriver:
    """The functions of `cuda.bindings.driver` that are used. `calls` counts them; `live` has what is allocated."""

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=16,
    )
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED=2)

    def __init__(self, name: str = "Fake GPU 100", status: int = OK, current: int = 0) -> None:
        self.name, self.status = name, status
        self.calls: dict[str, int] = {}
        self.live: dict[int, Any] = {}
        self.of_thread = threading.local()
        self.of_thread.contexts = [current] if current else []
        self.queue: deque[Callable[[], None]] = deque()
        self.turn = threading.Lock()  # held while something of the queue happens
        self.recording: list[Callable[[], None]] | None = None
        self.handles: dict[int, Any] = {}
        self.numbers = count(256)  # 1 and 2 name streams of their own
        self.ticks = 0.0

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cu"):
            calls = object.__getattribute__(self, "calls")
            calls[name] = calls.get(name, 0) + 1
        return object.__getattribute__(self, name)

    def enqueue(self, work: Callable[[], None]) -> tuple[int]:
        (self.queue if self.recording is None else self.recording).append(work)
        return (OK,)

    def drain(self, is_enough: Callable[[], bool] = lambda: False) -> tuple[int]:
        """Let happen what was asked for: all of it, or until it is enough."""
        with self.turn:
            while self.queue and not is_enough():
                self.queue.popleft()()
        return (OK,)

    @property
    def contexts(self) -> list[int]:
        """Of this thread, the current one last."""
        found: list[int] = self.of_thread.__dict__.setdefault("contexts", [])
        return found

    def _need_context(self) -> None:
        assert self.contexts, "no context is current"

    def _handle(self, thing: Any) -> int:
        number = next(self.numbers)
        self.handles[number] = thing
        return number

    def cuInit(self, flags: int) -> tuple[int]:
        return (self.status,)

    def cuGetErrorName(self, status: int) -> tuple[int, bytes]:
        return OK, {NO_DEVICE: b"CUDA_ERROR_NO_DEVICE", INVALID: b"CUDA_ERROR_INVALID_VALUE"}[status]

    def cuGetErrorString(self, status: int) -> tuple[int, bytes]:
        return OK, {NO_DEVICE: b"no CUDA-capable device", INVALID: b"invalid argument"}[status]

    def cuDeviceGetCount(self) -> tuple[int, int]:
        return OK, 1

    def cuDeviceGet(self, number: int) -> tuple[int, int]:
        return OK, number

    def cuDeviceGetName(self, length: int, device: int) -> tuple[int, bytes]:
        return OK, self.name.encode().ljust(length, b"\0")

    def cuDeviceGetPCIBusId(self, length: int, device: int) -> tuple[int, bytes]:
        return OK, b"0000:01:00.0".ljust(length, b"\0")

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> tuple[int, int]:
        return OK, {75: 9, 76: 0, 16: 132}[attribute]

    def cuDriverGetVersion(self) -> tuple[int, int]:
        return OK, 12040

    def cuCtxGetCurrent(self) -> tuple[int, int]:
        return OK, self.contexts[-1] if self.contexts else 0

    def cuCtxGetDevice(self) -> tuple[int, int]:
        return OK, 0

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[int, int]:
        return OK, 7

    def cuDevicePrimaryCtxRelease(self, device: int) -> tuple[int]:
        return (OK,)

    def cuCtxPushCurrent(self, context: int) -> tuple[int]:
        self.contexts.append(context)
        return (OK,)

    def cuCtxPopCurrent(self) -> tuple[int, int]:
        return OK, self.contexts.pop()

    def cuMemGetInfo(self) -> tuple[int, int, int]:
        return OK, 60 << 30, 80 << 30

    def _allocate(self, size: int) -> tuple[int, int | None]:
        self._need_context()
        if size > 1 << 34:
            return INVALID, None
        buffer = ctypes.create_string_buffer(size)
        self.live[ctypes.addressof(buffer)] = buffer
        return OK, ctypes.addressof(buffer)

    cuMemAlloc = cuMemAllocHost = _allocate

    def _free(self, address: int) -> tuple[int]:
        self._need_context()
        del self.live[address]
        return (OK,)

    cuMemFree = cuMemFreeHost = _free

    def _copy(self, to: int, source: int, size: int, stream: int) -> tuple[int]:
        self._need_context()
        return self.enqueue(lambda: ctypes.memmove(to, source, size) and None)

    cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = cuMemcpyDtoDAsync = _copy

    def cuStreamCreate(self, flags: int) -> tuple[int, int]:
        self._need_context()
        return OK, self._handle("stream")

    def cuStreamSynchronize(self, stream: int) -> tuple[int]:
        assert self.recording is None, "waiting for a stream that is being recorded"
        return self.drain()

    def cuStreamDestroy(self, stream: int) -> tuple[int]:
        return (OK,)

    def cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> tuple[int]:
        return (OK,)

    def cuStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        self.recording = []
        return (OK,)

    def cuStreamEndCapture(self, stream: int) -> tuple[int, int]:
        recorded, self.recording = self.recording, None
        return OK, self._handle(recorded)

    def cuGraphInstantiate(self, graph: int, flags: int) -> tuple[int, int]:
        return OK, self._handle(self.handles[graph])

    def cuGraphLaunch(self, graph: int, stream: int) -> tuple[int]:
        for work in self.handles[graph]:
            self.enqueue(work)
        return (OK,)

    def cuGraphDestroy(self, graph: int) -> tuple[int]:
        return (OK,)

    cuGraphExecDestroy = cuGraphDestroy

    def cuEventCreate(self, flags: int) -> tuple[int, int]:
        self._need_context()
        return OK, self._handle({"timing": flags == 0, "at": None, "is_ahead": False})

    def cuEventRecord(self, event: int, stream: int) -> tuple[int]:
        found = self.handles[event]

        def happen() -> None:
            self.ticks += 0.25
            found.update(at=self.ticks, is_ahead=False)

        found["is_ahead"] = True
        return self.enqueue(happen)

    def cuEventSynchronize(self, event: int) -> tuple[int]:
        found = self.handles[event]
        return self.drain(lambda: not found["is_ahead"])

    def cuEventElapsedTime(self, start: int, end: int) -> tuple[int, float | None]:
        first, last = self.handles[start], self.handles[end]
        if not (first["timing"] and last["timing"]) or last["at"] is None:
            return INVALID, None
        return OK, last["at"] - first["at"]

    def cuEventDestroy(self, event: int) -> tuple[int]:
        return (OK,)


def array_at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory of the fake device as an array."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


class _Severity(IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class _Flags(IntEnum):
    FP16, INT8, TF32 = range(3)


class _DataType(IntEnum):
    FLOAT, HALF, INT8, INT32, BOOL, UINT8 = range(6)


NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
CODES = {np.float32: _DataType.FLOAT, np.float16: _DataType.HALF, np.uint8: _DataType.UINT8}


class FakeTensorRT:
    """The module `tensorrt`. `configs` has what each build was asked for; `breaks` makes the parser refuse."""

    DataType = _DataType
    BuilderFlag = _Flags
    NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0)
    TacticSource = SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2, EDGE_MASK_CONVOLUTIONS=3, JIT_CONVOLUTIONS=4)
    MemoryPoolType = SimpleNamespace(WORKSPACE=0)
    ProfilingVerbosity = SimpleNamespace(DETAILED=1)

    class ILogger:
        Severity = _Severity

    def __init__(self, driver: FakeDriver, version: str = "8.6.1") -> None:
        self.driver, self.__version__ = driver, version
        self.configs: list[FakeConfig] = []
        self.breaks, self.is_too_new, self.lacks_tactics = "", False, False
        self.damage = lambda name, array: array
        self.IExecutionContext = SimpleNamespace(execute_async_v3=1, set_input_shape=1)
        self.ICudaEngine = SimpleNamespace(get_tensor_name=1)

    @staticmethod
    def nptype(code: int) -> Any:
        return {value: key for key, value in CODES.items()}[_DataType(code)]

    def Builder(self, log: Any) -> Any:
        assert self.driver.calls.get("cuInit") or self.driver.contexts, "TensorRT without a driver crashes"
        if self.is_too_new:
            log.log(_Severity.WARNING, "CUDA initialization failure with error: 35")
            raise TypeError("factory function returned nullptr")
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(flags=flags, model=None),
            create_builder_config=lambda: FakeConfig(),
            create_optimization_profile=lambda: FakeProfile(),
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network: Any, log: Any) -> Any:
        def parse(model: bytes) -> bool:
            network.model = model
            if self.breaks:
                log.log(_Severity.ERROR, "logged: " + self.breaks)
            return not self.breaks

        return SimpleNamespace(parse=parse, num_errors=1, get_error=lambda i: self.breaks)

    def _build(self, network: Any, config: "FakeConfig") -> bytes | None:
        self.configs.append(config)
        if self.lacks_tactics and config.tactics:
            return None
        profiles = [profile.shapes for profile in config.profiles]
        return json.dumps({"model": network.model.hex(), "profiles": profiles, "version": self.__version__}).encode()

    def Runtime(self, log: Any) -> Any:
        assert not self.is_too_new, "a runtime on a driver that is too old ends the process"
        return SimpleNamespace(deserialize_cuda_engine=lambda data: FakeCudaEngine(self, json.loads(data)))


class FakeConfig:
    def __init__(self) -> None:
        self.set_flags, self.cleared, self.profiles = [], [], []
        self.tactics, self.workspace, self.cache = 0, 0, b""

    def set_flag(self, flag: int) -> None:
        self.set_flags.append(flag)

    def clear_flag(self, flag: int) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, kind: int, size: int) -> None:
        self.workspace = size

    def set_tactic_sources(self, sources: int) -> None:
        self.tactics = sources

    def add_optimization_profile(self, profile: "FakeProfile") -> None:
        self.profiles.append(profile)

    def create_timing_cache(self, data: bytes) -> bytes:
        return data

    def set_timing_cache(self, cache: bytes, ignore: bool) -> bool:
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.cache + b"t")


class FakeProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list] = {}

    def set_shape(self, name: str, least: tuple, best: tuple, most: tuple) -> None:
        assert all(a <= b <= c for a, b, c in zip(least, best, most, strict=True)), name
        self.shapes[name] = [least, best, most]


class FakeCudaEngine:
    """An engine file read: tensors of the graph, contexts that run it in onnxruntime."""

    def __init__(self, trt: FakeTensorRT, file: Mapping[str, Any]) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        self.trt, self.profiles = trt, file["profiles"]
        self.session = ort.InferenceSession(bytes.fromhex(file["model"]), options, providers=["CPUExecutionProvider"])
        self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.num_io_tensors = len(self.inputs) + len(self.outputs)
        self.num_contexts = 0

    def get_tensor_name(self, number: int) -> str:
        return [*self.inputs, *self.outputs][number].name

    def get_tensor_dtype(self, name: str) -> int:
        return CODES[NUMPY[next(port.type for port in [*self.inputs, *self.outputs] if port.name == name)]]

    def create_execution_context(self) -> "FakeContext":
        self.num_contexts += 1
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine: FakeCudaEngine) -> None:
        self.engine, self.profile = engine, None
        self.shapes: dict[str, tuple] = {}
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, number: int, stream: int) -> bool:
        self.profile = number
        return 0 <= number < len(self.engine.profiles)

    def set_input_shape(self, name: str, shape: tuple) -> bool:
        assert self.engine.trt.driver.recording is None
        self.shapes[name] = tuple(shape)
        least, _, most = self.engine.profiles[self.profile][name]
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        shapes, addresses, engine = dict(self.shapes), dict(self.addresses), self.engine

        def work() -> None:
            feeds = {
                port.name: array_at(addresses[port.name], shapes[port.name], NUMPY[port.type]) for port in engine.inputs
            }
            for port, value in zip(engine.outputs, engine.session.run(None, feeds), strict=True):
                value = engine.trt.damage(port.name, np.ascontiguousarray(value))
                ctypes.memmove(addresses[port.name], value.ctypes.data, value.nbytes)

        self.engine.trt.driver.enqueue(work)
        return True
