"""onnxruntime on the CPU, the default engine; integer networks by loops of our own, see integer.py.

What a newcomer gets wrong: graph optimisation changes the last bit of floating point results, so do the kind of
processor and, from six on, the number of threads. So every option that could matter is pinned here, for the encoder and
the decoder alike, and none is left to the environment; what must be equal everywhere is integer.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from . import _ans
from .bundle import Bundle
from .engine import MAX_THREADS, TRANSFORMS, WINDOW_PIXELS, Array, Traits
from .errors import EngineError
from .groups import Plan
from .integer import Context, Hyper, IntegerSession, best_kernels, open_parts
from .ort_graph import BLOCK, in_blocks, in_floats

_QUIET = 3  # errors only
SMALL_WINDOW = 1 << 22
"""Pixels of a window where more than two may be under way at once."""
_INTEGERS: dict[str, type[np.generic]] = {"means": np.int16, "indexes": np.uint8}


_Integers = dict[tuple[str, bytes, Plan], dict[str, Hyper | Context]]
"""Parts of integers by bundle, entropy id and plan; engines of other numbers of threads share them."""


class OnnxEngine:
    """onnxruntime with the CPU provider."""

    name = "ort"

    def __init__(self, ort: Any, num_threads: int | None, integers: _Integers | None = None) -> None:
        self._ort = ort
        self._kernels = best_kernels()
        self._integers: _Integers = {} if integers is None else integers
        self._options = _options(ort, num_threads)
        used = num_threads or min(_num_cores(), MAX_THREADS)
        overlap: Literal["none", "turns"] = "none" if num_threads == 1 else "turns"
        self.traits = Traits(
            block_images=True,
            window_pixels=WINDOW_PIXELS if used <= 2 else SMALL_WINDOW,
            overlap=overlap,
            num_threads=used,
        )

    def alone(self) -> "OnnxEngine":
        """The same with networks of one thread."""
        return OnnxEngine(self._ort, 1, self._integers)

    @property
    def detail(self) -> str:
        integers = f"; integer networks in {self._kernels}" if self._kernels else ""
        return f"onnxruntime {self._ort.__version__}{integers}"

    def open(self, bundle: Bundle, level: int, part: str) -> "OnnxSession | IntegerSession":
        what = f"level {level}, part {part}"
        if self._kernels and part not in TRANSFORMS:
            return IntegerSession(self._integer_parts(bundle, level)[part], what, self.traits.num_threads)
        return self.open_graph(bundle, level, part)

    def open_graph(self, bundle: Bundle, level: int, part: str) -> "OnnxSession":
        """A part in onnxruntime, whatever the processor."""
        model, what = bundle.read(bundle.level(level).parts[part].file), f"level {level}, part {part}"
        if part == "synthesis" and (blocks := in_blocks(model)) is not None:
            return BlockSession(self._session(blocks.model, what), what, blocks.bias)
        if part.startswith("context") and (floats := in_floats(model)) is not None:
            return FloorSession(self._session(floats, what), what)
        return OnnxSession(self._session(model, what), what)

    def _integer_parts(self, bundle: Bundle, level: int) -> dict[str, Hyper | Context]:
        entry = bundle.level(level)
        key = (str(bundle.path), entry.entropy_id, entry.plan)
        if key not in self._integers:
            self._integers[key] = open_parts(bundle, level)
        return self._integers[key]

    def open_model(self, model: bytes, what: str) -> "OnnxSession":
        """Any graph, under the name `what` in messages. Raises EngineError."""
        return OnnxSession(self._session(model, what), what)

    def _session(self, model: bytes, what: str) -> Any:
        try:
            return self._ort.InferenceSession(model, self._options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base
            raise EngineError(f"onnxruntime {self._ort.__version__} cannot open {what}: {error}") from error

    def close(self) -> None:
        """Let go of the integer parts; sessions free themselves with their last reference."""
        self._integers.clear()


class OnnxSession:
    """One part in onnxruntime; `run` may be called from several threads at once."""

    def __init__(self, session: Any, what: str) -> None:
        self._run = session.run
        self._what = what
        self._outputs = [output.name for output in session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return dict(zip(self._outputs, self._run(None, inputs), strict=True))
        except Exception as error:  # onnxruntime's exceptions share no base
            raise EngineError(f"onnxruntime failed in {self._what}: {error}") from error

    def run_blocks(self, inputs: Mapping[str, Array]) -> tuple[Array, Array | None]:
        """Of a synthesis, x_hat in blocks: float32 (B, H/8, W/8, 192), and their bias (192,) if it is not in them, see
        `ort_graph`."""
        x_hat = self.run(inputs)["x_hat"]
        b, _, h, w = x_hat.shape
        parts = x_hat.reshape(b, 3, h // BLOCK, BLOCK, w // BLOCK, BLOCK).transpose(0, 2, 4, 1, 3, 5)
        return parts.reshape(b, h // BLOCK, w // BLOCK, -1), None


class BlockSession(OnnxSession):
    """A synthesis whose pixel-shuffle was cut off: `run` makes up for it, `run_blocks` is the quick one."""

    def __init__(self, session: Any, what: str, bias: Array | None) -> None:
        super().__init__(session, what)
        self._bias = bias

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        blocks, bias = self.run_blocks(inputs)
        if bias is not None:
            blocks = np.clip(blocks + bias, 0.0, 1.0)
        b, h, w, _ = blocks.shape
        parts = blocks.reshape(b, h, w, 3, BLOCK, BLOCK).transpose(0, 3, 1, 4, 2, 5)
        return {"x_hat": parts.reshape(b, 3, h * BLOCK, w * BLOCK)}

    def run_blocks(self, inputs: Mapping[str, Array]) -> tuple[Array, Array | None]:
        return super().run(inputs)["x_hat"], self._bias


class FloorSession(OnnxSession):
    """A context whose means and indexes come as floats, which `run` makes integers."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super().run(inputs)
        for name, dtype in _INTEGERS.items():
            numbers = np.empty(outputs[name].shape, dtype)
            _ans.floors(outputs[name], numbers)
            outputs[name] = numbers
        return outputs


def start(num_threads: int | None) -> OnnxEngine:
    """Import onnxruntime and start the engine.

    Raises:
        EngineError: onnxruntime is missing or cannot be loaded.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EngineError(f"engine ort: onnxruntime cannot be imported ({error}); pip install onnxruntime") from error
    if not hasattr(ort, "InferenceSession"):
        raise EngineError(
            "engine ort: the installed onnxruntime is broken, as when either of onnxruntime and onnxruntime-gpu was "
            "removed; pip install --force-reinstall onnxruntime"
        )
    with suppress(AttributeError):  # a codec has nothing to report to anybody; not every build can
        ort.disable_telemetry_events()
    return OnnxEngine(ort, num_threads)


def _num_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options(ort: Any, num_threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.intra_op_num_threads = num_threads or 0  # 0: as many as the machine has cores
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # Each session has its own threads. Left to spin, those of one part steal the processor from the next part's: on a
    # busy machine that made decoding four times slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
