"""Engines by name for benchmarks: those of the runtime, and PyTorch as a yardstick."""

from ..runtime.bundle import Bundle
from ..runtime.codec import Codec
from ..runtime.engine import Engine, open_engine
from ..runtime.errors import EngineError

GPU_ENGINES = ("ort-cuda", "trt")
TORCH_ENGINES = ("torch", "torch-compiled")
HOST_ENGINES = ("ort", "oracle")
"""Those whose memory is the process' own."""


def start(name: str, num_threads: int | None = None) -> Engine:
    """Start an engine of the runtime, "torch" (eager) or "torch-compiled".

    Raises:
        EngineError: an unknown name, or its library is missing or unfit.
    """
    if name not in TORCH_ENGINES:
        return open_engine(name, num_threads)
    try:
        from .engine_torch import TorchEngine
    except ImportError as error:
        raise EngineError(f"engine {name}: PyTorch cannot be imported ({error}); pip install torch") from error
    engine: Engine = TorchEngine(name == "torch-compiled", num_threads)
    return engine


def open_codec(bundle: Bundle, name: str, num_threads: int | None = None) -> Codec:
    """A codec on such an engine."""
    return Codec(bundle, start(name, num_threads))
