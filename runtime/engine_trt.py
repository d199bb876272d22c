"""TensorRT on an NVIDIA GPU: one engine file for each part, built when it is first needed (trt_build.py).

What a newcomer gets wrong: states stay on the GPU. A session gives them as arrays of the device and takes them back;
what comes down to the host are means, indexes, latents and images, in pinned memory. Work is asked for under a lock
and waited for outside of it, so that another thread's work queues up behind.

The integer parts of a level are checked against the bundle's conformance vectors before they are used.
"""

import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cuda
from .bundle import Bundle
from .conformance import require_exact
from .cuda import Device
from .engine import TRANSFORMS, Traits
from .errors import EngineError
from .trt_build import SIZE_CLASSES, EngineFiles, Progress, SizeClass, reporting, to_stderr
from .trt_session import TrtSession

TRAITS = Traits(
    byte_images=True, window_pixels=1 << 24, batch_pixels=1 << 24, entropy_batch_pixels=1 << 23, overlap="queue"
)
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

    def open(self, bundle: Bundle, level: int, part: str) -> TrtSession:
        self._check(bundle, level, part)
        return self.open_unchecked(bundle, level, part)

    def open_unchecked(self, bundle: Bundle, level: int, part: str) -> TrtSession:
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
            if part in TRANSFORMS or key in self._checked:
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
