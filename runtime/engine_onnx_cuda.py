"""onnxruntime on an NVIDIA GPU: the bundle's own graphs with the CUDA provider, states kept in device memory.

What a newcomer gets wrong: where the CUDA provider cannot load, onnxruntime prints a line and runs on the CPU. Here
that is an error. TF32 is off: the integer parts need all 24 bits of a float32.
"""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from .bundle import Bundle
from .engine import Array, Traits, refuse_int8
from .errors import EngineError

PROVIDER = "CUDAExecutionProvider"
PROVIDER_OPTIONS = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",  # an exhaustive search would start again with every new shape
    "do_copy_in_default_stream": "1",
}
ON_DEVICE = ("state", "state_out")
CURE = (
    "pip uninstall onnxruntime, then pip install onnxruntime-gpu; it needs the CUDA and cuDNN libraries that its "
    "release notes name"
)
_QUIET = 3


class OrtState:
    """A tensor that stays on the GPU; `numpy.asarray` copies it to the host."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = self.value.numpy()
        return found if dtype is None else found.astype(dtype)


class OnnxCudaEngine:
    """onnxruntime with the CUDA provider on one GPU."""

    name = "ort-cuda"
    traits = Traits(window_pixels=1 << 24, batch_pixels=1 << 24, entropy_batch_pixels=1 << 23, overlap="queue")

    def __init__(self, ort: Any, device_id: int = 0) -> None:
        self._ort, self._device_id = ort, device_id

    @property
    def detail(self) -> str:
        return f"onnxruntime {self._ort.__version__} with {PROVIDER}"

    def open(self, bundle: Bundle, level: int, part: str) -> "OnnxCudaSession":
        refuse_int8(bundle, level, part, self.name)
        model = bundle.read(bundle.level(level).parts[part].file)
        what = f"level {level}, part {part}"
        options = self._ort.SessionOptions()
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.use_deterministic_compute = True
        options.log_severity_level = _QUIET
        chosen = (PROVIDER, PROVIDER_OPTIONS | {"device_id": str(self._device_id)})
        try:
            session = self._ort.InferenceSession(model, options, providers=[chosen])
        except Exception as error:  # onnxruntime's exceptions share no base
            raise EngineError(f"onnxruntime {self._ort.__version__} cannot open {what}: {error}") from error
        require_cuda(session, what)
        return OnnxCudaSession(self._ort, session, what, self._device_id)

    def close(self) -> None:
        """Nothing is held here; sessions free themselves with their last reference."""


class OnnxCudaSession:
    """One part; `run` may be called from several threads."""

    def __init__(self, ort: Any, session: Any, what: str, device_id: int) -> None:
        self._ort, self._session, self._what, self._device_id = ort, session, what, device_id
        self._outputs = [output.name for output in session.get_outputs()]
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, Array | OrtState]) -> dict[str, Any]:
        """As `Session.run`; a state is an OrtState, given and taken without leaving the GPU."""
        try:
            with self._lock:
                binding = self._session.io_binding()
                for name, value in inputs.items():
                    if isinstance(value, OrtState):
                        binding.bind_ortvalue_input(name, value.value)
                    else:
                        binding.bind_cpu_input(name, np.ascontiguousarray(value))
                for name in self._outputs:
                    if name in ON_DEVICE:
                        binding.bind_output(name, "cuda", self._device_id)
                    else:
                        binding.bind_output(name, "cpu")
                self._session.run_with_iobinding(binding)
                values = binding.get_outputs()
        except Exception as error:  # onnxruntime's exceptions share no base
            raise EngineError(f"onnxruntime failed in {self._what}: {error}") from error
        return {
            name: OrtState(value) if name in ON_DEVICE else value.numpy()
            for name, value in zip(self._outputs, values, strict=True)
        }


def require_cuda(session: Any, what: str) -> None:
    """Raise EngineError where a session fell back to the CPU."""
    used = list(session.get_providers())
    if not used or used[0] != PROVIDER:
        raise EngineError(
            f"engine ort-cuda: onnxruntime opened {what} with {', '.join(used) or 'no provider'} instead of "
            f"{PROVIDER}: the CUDA provider could not be loaded; {CURE}"
        )


def start(num_threads: int | None) -> OnnxCudaEngine:
    """Import onnxruntime, load the CUDA libraries that lie beside it, and check that it has the CUDA provider.

    Raises:
        EngineError: onnxruntime is missing or has no CUDA provider.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EngineError(f"engine ort-cuda: onnxruntime cannot be imported ({error}); {CURE}") from error
    if not hasattr(ort, "get_available_providers"):
        raise EngineError(f"engine ort-cuda: the installed onnxruntime is broken; {CURE}")
    if PROVIDER not in ort.get_available_providers():
        raise EngineError(f"engine ort-cuda: onnxruntime {ort.__version__} is built without {PROVIDER}; {CURE}")
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    return OnnxCudaEngine(ort)
