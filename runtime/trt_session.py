"""One part in TensorRT: what goes to the GPU, in which shapes, and what comes back.

What a newcomer gets wrong: a context is set to one shape at a time. The first run of a shape is enqueued as it is, the
second recorded as a CUDA graph, every later one launches it; another shape starts again. Batches beyond a profile run
in pieces.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .bundle import Part
from .cuda_memory import DeviceArray, is_pinned
from .cuda_stream import CudaGraph, Event
from .engine import Array
from .errors import EngineError
from .trt_build import Shape, image_size, port_shape, reporting

if TYPE_CHECKING:
    from .engine_trt import TrtEngine

ON_DEVICE = ("state", "state_out")


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

    def __init__(self, engine: "TrtEngine", opened: Any, part: Part, what: str) -> None:
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
        """Milliseconds on the GPU of the network alone, copies excluded, for each of `repeats` runs.

        A batch beyond the profile runs in pieces: each size of piece is timed, and counts as often as it runs.
        """
        count, *sides = image_size(self._part, {name: tuple(value.shape) for name, value in inputs.items()})
        number, most = self._profile(*sides)
        pieces = {min(count, most): max(1, count // most)}
        if count > most and count % most:
            pieces[count % most] = 1
        total = [0.0] * repeats
        for size, times in pieces.items():
            batched = {name for name, dims in self._inputs.items() if dims[0] == "batch"}
            piece = {name: value[:size] if name in batched else value for name, value in inputs.items()}
            found = self._time_piece(piece, number, repeats)
            total = [before + times * ms for before, ms in zip(total, found, strict=True)]
        return total

    def _time_piece(self, inputs: Mapping[str, Array], number: int, repeats: int) -> list[float]:
        self.run(inputs)
        self.run(inputs)  # by now it is a CUDA graph
        with self._engine.lock, self._device.active():
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
