"""TensorRT on an NVIDIA GPU: one engine file for each part, built when it is first needed (trt_build.py).

What a newcomer gets wrong: states stay on the GPU. A session gives them as arrays of the device and takes them back;
what comes down to the host are means, indexes, latents and images, in pinned memory. Work is asked for under a lock
and waited for outside of it, so that another thread's work queues up behind.

The integer parts of a level are checked against the bundle's conformance vectors before they are used.
"""

import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from . import cuda
from .bundle import Bundle, Part
from .conformance import require_exact
from .cuda import CudaGraph, Device, DeviceArray, Event, is_pinned
from .engine import Array, Traits
from .errors import EngineError
from .trt_build import (
    SIZE_CLASSES,
    EngineFiles,
    Progress,
    Shape,
    SizeClass,
    image_size,
    port_shape,
    reporting,
    to_stderr,
)

ON_DEVICE = ("state", "state_out")
TRAITS = Traits(byte_images=True, window_size=4096, batch_pixels=1 << 24, entropy_batch_pixels=1 << 23, overlap="queue")
CURE = "pip install 'basic-nic[trt]'"


class TrtEngine:
    """Parts of bundles in TensorRT on one GPU."""

    name = "trt"
    traits = TRAITS

    def __init__(self, trt: Any, device: Device, files: EngineFiles) -> None:
        self._trt, self.device, self.files = trt, device, files
        self._lock = threading.RLock()
        self._checked: set[tuple[str, int]] = set()
        self._sessions: weakref.WeakSet[TrtSession] = weakref.WeakSet()
        self._runtime: Any = self._start_runtime()

    @property
    def detail(self) -> str:
        device = self.device
        return (
            f"TensorRT {self._trt.__version__} on {device.name} (compute capability {device.compute_capability}, "
            f"driver for CUDA {device.driver_version})"
        )

    def _start_runtime(self) -> Any:
        """A builder first: where TensorRT cannot use the driver, a builder says so and a runtime ends the process."""
        trt, log = self._trt, self.files.log
        try:
            with self.device.active(), reporting(log, f"TensorRT {trt.__version__}"):
                trt.Builder(log)
                return trt.Runtime(log)
        except EngineError as error:
            raise EngineError(
                f"engine trt: {error}; the driver knows CUDA {self.device.driver_version}: if that is older than what "
                "this TensorRT is built for, update the driver or install a TensorRT for it"
            ) from error

    def open(self, bundle: Bundle, level: int, part: str) -> "TrtSession":
        self._check(bundle, level, part)
        return self.open_unchecked(bundle, level, part)

    def open_unchecked(self, bundle: Bundle, level: int, part: str) -> "TrtSession":
        """As `open`, without the conformance vectors: to measure, not to code."""
        entry = bundle.level(level).parts[part]
        what = f"level {level}, part {part}"
        with self._lock:
            if self._runtime is None:
                raise EngineError("this engine is closed; open another")
            data = self.files.load(bundle, level, part)
            with self.device.active(), reporting(self.files.log, f"TensorRT, {what}"):
                opened = self._runtime.deserialize_cuda_engine(data)
                if opened is None:
                    raise EngineError(
                        f"TensorRT {self._trt.__version__} cannot read the engine file of {what}; delete "
                        f"{self.files.path(bundle, level, part).name} from the engine cache"
                    )
            session = TrtSession(self, opened, entry, what)
            self._sessions.add(session)
            return session

    def _check(self, bundle: Bundle, level: int, part: str) -> None:
        """The conformance vectors of a level, once, before any of its integer parts is used."""
        key = (str(bundle.path), level)
        with self._lock:
            if part in ("analysis", "synthesis") or key in self._checked:
                return
            self._checked.add(key)  # running the vectors opens the parts
            if bundle.level(level).conformance_file is not None:
                try:
                    require_exact(self, bundle, level)
                except BaseException:
                    self._checked.discard(key)
                    raise

    def close(self) -> None:
        """Free the GPU; sessions that are still held cannot run any more."""
        with self._lock:
            with self.device.active():
                for session in list(self._sessions):
                    session.release()  # what TensorRT holds needs the context that goes now
                self._runtime = None
            self.device.close()

    @property
    def lock(self) -> threading.RLock:
        return self._lock

    @property
    def module(self) -> Any:
        """The module `tensorrt`."""
        return self._trt


@dataclass(slots=True)
class _Context:
    """An execution context for one profile, at the shapes that it had last."""

    context: Any
    shapes: dict[str, Shape] = field(default_factory=dict)
    arrays: dict[str, DeviceArray] = field(default_factory=dict)
    graph: CudaGraph | None = None
    num_runs: int = 0


class TrtSession:
    """One part; `run` may be called from several threads."""

    def __init__(self, engine: TrtEngine, opened: Any, part: Part, what: str) -> None:
        self._engine, self._opened, self._part, self._what = engine, opened, part, what
        self._device = engine.device
        self._contexts: dict[int, _Context] = {}
        trt = engine.module
        names = [opened.get_tensor_name(i) for i in range(opened.num_io_tensors)]
        self._types = {name: np.dtype(trt.nptype(opened.get_tensor_dtype(name))) for name in names}
        self._inputs = {name: dims for name, _, dims in part.inputs}
        self._outputs = [(name, np.dtype(dtype), dims) for name, dtype, dims in part.outputs]
        missing = sorted({*self._inputs, *(name for name, *_ in self._outputs)} - set(names))
        if missing:
            raise EngineError(f"{what}: the engine file lacks {', '.join(missing)}; delete it from the engine cache")

    def run(self, inputs: Mapping[str, Array | DeviceArray]) -> dict[str, Any]:
        """As `Session.run`; x may be uint8, x_hat is uint8 where TensorRT knows bytes, a state is a DeviceArray."""
        try:
            size = image_size(self._part, {name: tuple(value.shape) for name, value in inputs.items()})
        except EngineError as error:
            raise EngineError(f"TensorRT, {self._what}: {error}") from error
        host = {name: self._to_wire(name, value) for name, value in inputs.items()}
        kept: list[Array] = []
        with self._engine.lock, self._device.active(), reporting(self._engine.files.log, f"TensorRT, {self._what}"):
            number, most = self._profile(*size[1:])
            outputs = {name: self._empty(name, dtype, dims, size) for name, dtype, dims in self._outputs}
            try:
                for first in range(0, size[0], most):
                    self._run_some(number, host, outputs, (first, min(first + most, size[0])), size, kept)
            except BaseException:
                self._device.stream.wait()  # copies of the pieces before it still use pinned memory
                raise
            done = self._device.stream.record()
        with self._device.active():
            done.wait()
        del kept  # what was uploaded had to live until here
        return {
            name: self._from_wire(value, dtype)
            for (name, dtype, _), value in zip(self._outputs, outputs.values(), strict=True)
        }

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory for an input, from where it goes to the GPU without another copy."""
        return self._device.pinned(shape, dtype)

    def time_ms(self, inputs: Mapping[str, Array], repeats: int) -> list[float]:
        """Milliseconds on the GPU of the network alone, copies excluded, for each of `repeats` runs."""
        self.run(inputs)
        self.run(inputs)  # by now it is a CUDA graph
        size = image_size(self._part, {name: tuple(value.shape) for name, value in inputs.items()})
        with self._engine.lock, self._device.active():
            number, most = self._profile(*size[1:])
            if size[0] > most:
                raise EngineError(f"{self._what}: a batch of {size[0]} is run in pieces; time at most {most} at once")
            context = self._contexts[number]
            marks: list[Event] = [self._device.stream.record(timing=True)]
            for _ in range(repeats):
                self._launch(context)
                marks.append(self._device.stream.record(timing=True))
            marks[-1].wait()
            return [later.ms_since(earlier) for earlier, later in pairwise(marks)]

    def _profile(self, height: int, width: int) -> tuple[int, int]:
        """Number of the first profile that takes such images, and its largest batch."""
        for number, size in enumerate(self._engine.files.classes):
            if size.fits(height, width):
                return number, size.max_batch
        most = max(size.max_side for size in self._engine.files.classes)
        raise EngineError(
            f"{self._what}: engine files are built for sides up to {most} pixels, got {height} x {width}; "
            "use a smaller window_size, or tiles that are smaller"
        )

    def _run_some(
        self,
        number: int,
        host: dict[str, Array | DeviceArray],
        outputs: dict[str, Array | DeviceArray],
        run: tuple[int, int],
        size: tuple[int, int, int],
        kept: list[Array],
    ) -> None:
        """Ask for the tiles run[0]..run[1] of a batch; `kept` gets what must live until it is done."""
        count = run[1] - run[0]
        shapes = {name: port_shape(dims, count, *size[1:]) for name, dims in self._inputs.items()}
        context = self._at(number, shapes, (count, *size[1:]))
        stream = self._device.stream
        for name, value in host.items():
            part = slice(*run) if self._inputs[name][0] == "batch" else slice(None)
            target = context.arrays[name]
            if isinstance(value, DeviceArray):
                stream.copy(target.address, value.address + part.indices(len(value))[0] * _row(value), target.num_bytes)
            else:
                kept.append(self._staged(value[part]))
                stream.upload(target.address, kept[-1])
        self._launch(context)
        for name, output in outputs.items():
            source = context.arrays[name]
            if isinstance(output, DeviceArray):
                stream.copy(output.address + run[0] * _row(output), source.address, source.num_bytes)
            else:
                stream.download(output[slice(*run)], source.address)

    def _staged(self, array: Array) -> Array:
        """The array itself where it lies in pinned memory, else a copy there."""
        if is_pinned(array) and array.flags.c_contiguous:
            return array
        pinned = self._device.pinned(array.shape, array.dtype)
        np.copyto(pinned, array)
        return pinned

    def _at(self, number: int, shapes: dict[str, Shape], size: tuple[int, int, int]) -> _Context:
        """The context of a profile, set to these input shapes, its buffers bound."""
        found = self._contexts.get(number)
        stream = self._device.stream
        if found is None:
            made = self._create_context()
            if made is None:
                raise EngineError(f"{self._what}: no execution context; the GPU may be out of memory")
            if not made.set_optimization_profile_async(number, int(stream.handle)):
                raise EngineError(f"{self._what}: profile {number} is refused")
            stream.wait()
            found = self._contexts[number] = _Context(made)
        if found.shapes == shapes:
            return found
        found.shapes, found.graph, found.num_runs = shapes, None, 0
        found.arrays = {name: self._device.empty(shape, self._types[name]) for name, shape in shapes.items()}
        for name, dtype, dims in self._outputs:
            shape = self._wire_shape(port_shape(dims, *size), dtype, self._types[name])
            found.arrays[name] = self._device.empty(shape, self._types[name])
        for name, shape in shapes.items():
            if not found.context.set_input_shape(name, shape):
                raise EngineError(f"{self._what}: input {name} of shape {shape} is refused")
        for name, array in found.arrays.items():
            if not found.context.set_tensor_address(name, array.address):
                raise EngineError(f"{self._what}: the memory of {name} is refused")
        return found

    def _create_context(self) -> Any:
        """A context that takes memory for its own profile alone, where this TensorRT can say so."""
        if self._opened is None:
            raise EngineError(f"{self._what}: its engine is closed; open another")
        kinds = getattr(self._engine.module, "ExecutionContextAllocationStrategy", None)
        if kinds is not None and hasattr(kinds, "ON_PROFILE_CHANGE"):
            return self._opened.create_execution_context(kinds.ON_PROFILE_CHANGE)
        return self._opened.create_execution_context()

    def release(self) -> None:
        """Let go of everything on the GPU; the session cannot run any more."""
        self._contexts.clear()
        self._opened = None

    def _launch(self, context: _Context) -> None:
        """The first run after a change of shape as it is, the second recorded, every later one as a graph."""
        stream = self._device.stream

        def work() -> None:
            if not context.context.execute_async_v3(int(stream.handle)):
                raise EngineError(f"{self._what}: the network does not run")

        context.num_runs += 1
        if context.num_runs == 2:
            with suppress(EngineError):  # some networks cannot be recorded; they go on as they are
                context.graph = stream.capture(work)
        if context.graph is None:
            work()
        else:
            stream.launch(context.graph)

    def _empty(self, name: str, dtype: np.dtype[Any], dims: Any, size: tuple[int, int, int]) -> Array | DeviceArray:
        wire = self._types[name]
        shape = self._wire_shape(port_shape(dims, *size), dtype, wire)
        return self._device.empty(shape, wire) if name in ON_DEVICE else self._device.pinned(shape, wire)

    @staticmethod
    def _wire_shape(shape: Shape, dtype: np.dtype[Any], wire: np.dtype[Any]) -> Shape:
        return (*shape, 2) if dtype == np.int16 and wire == np.uint8 else shape

    def _to_wire(self, name: str, value: Array | DeviceArray) -> Array | DeviceArray:
        """An input in the type that the engine file takes."""
        wanted = self._types[name]
        if value.dtype == wanted:
            return value
        if isinstance(value, DeviceArray):
            raise EngineError(f"TensorRT, {self._what}: expected {name} of {wanted} on the GPU, got {value.dtype}")
        found: Array = value
        if wanted == np.uint8:
            found = np.rint(value * np.float32(255))
        elif value.dtype == np.uint8 and name == "x":
            found = value / np.float32(255)
        return found.astype(wanted)

    @staticmethod
    def _from_wire(value: Array | DeviceArray, dtype: np.dtype[Any]) -> Array | DeviceArray:
        """An output as the manifest says, but for images, which stay bytes."""
        if isinstance(value, DeviceArray) or value.dtype == dtype:
            return value
        if value.dtype == np.uint8 and dtype != np.int16:
            return value
        found: Array = value.view("<i2")[..., 0] if value.dtype == np.uint8 else value.astype(dtype)
        return found


def _row(array: DeviceArray) -> int:
    """Bytes of one entry of the first axis."""
    return array.num_bytes // max(len(array), 1)


def start(
    num_threads: int | None,
    progress: Progress = to_stderr,
    classes: Sequence[SizeClass] = SIZE_CLASSES,
    folder: Path | None = None,
) -> TrtEngine:
    """Start TensorRT on the first GPU, or the one that CUDA_VISIBLE_DEVICES leaves.

    `progress` is told of every file that is built; `folder` has the files, None for each bundle's own cache.

    Raises:
        EngineError: the driver, a GPU or a library is missing or too old; the message has the cure.
    """
    api = cuda.driver()  # before TensorRT, which crashes the process where there is no driver
    trt = import_tensorrt()
    device = Device(api)
    return TrtEngine(trt, device, EngineFiles(trt, device, classes=classes, progress=progress, folder=folder))


def import_tensorrt() -> Any:
    """The module `tensorrt`, checked for what is used of it.

    Raises:
        EngineError: it is missing or too old.
    """
    try:
        import tensorrt as trt
    except (ImportError, OSError) as error:
        raise EngineError(f"engine trt: TensorRT cannot be imported ({error}); {CURE}") from error
    needed = {
        "execute_async_v3": getattr(trt, "IExecutionContext", None),
        "set_input_shape": getattr(trt, "IExecutionContext", None),
        "get_tensor_name": getattr(trt, "ICudaEngine", None),
        "build_serialized_network": getattr(trt, "Builder", None),
    }
    missing = [name for name, owner in needed.items() if not hasattr(owner, name)]
    if missing:
        version = getattr(trt, "__version__", "of an unknown version")
        raise EngineError(f"engine trt: TensorRT {version} lacks {', '.join(missing)}; 8.6 or later is needed: {CURE}")
    return trt
