"""Engines: what runs the networks of a bundle. Each has one file, imported only when it is asked for.

What a newcomer gets wrong: arrays that `Session.run` gives belong to the caller, who may write into them; arrays that
it takes are only read. All of them are C-contiguous. `state` and `state_out` need not be numpy arrays: on a GPU they
stay there, and only another session of the same engine, or `numpy.asarray`, can read them.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from . import _ans
from .arguments import whole
from .bundle import Bundle
from .errors import EngineError

Array = NDArray[Any]
DEFAULT_ENGINE = "ort"
TRANSFORMS = ("analysis", "synthesis")
"""The float parts; the others are integer networks."""
MAX_THREADS = 1024
_ENGINES = {
    "ort": ("engine_onnx", "onnxruntime on the CPU"),
    "ort-cuda": ("engine_onnx_cuda", "onnxruntime on an NVIDIA GPU"),
    "trt": ("engine_trt", "TensorRT on an NVIDIA GPU"),
    "oracle": ("engine_oracle", "integer networks in numpy, transforms by onnxruntime"),
}
_GPU_ENGINES = ("ort-cuda", "trt")


class Session(Protocol):
    """One part of one level, ready to run; may be shared between threads."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Named inputs -> named outputs, shapes and types as the bundle's manifest says.

        Raises:
            EngineError: the engine refused the inputs or failed.
        """
        ...


WINDOW_PIXELS = 6 << 20
"""A 12 Mpixel photograph is two windows of as many."""


@dataclass(frozen=True, slots=True)
class Traits:
    """How an engine likes its work; engines without a `traits` get these.

    byte_images: analysis takes x as uint8 0..255 and synthesis gives x_hat so. block_images: sessions of a
    synthesis have `run_blocks`, which gives x_hat as float32 (B, H/8, W/8, 192) and its bias, see ort_graph.py.
    window_size: largest side of what transforms see at once, window_pixels: the most pixels, margins apart both; at
    the full level 6 Mpixel take several hundred MB. batch_pixels: windows of equal shape run through a transform
    together up to so many pixels; entropy_batch_pixels: likewise tiles through the entropy networks. overlap:
    whether one batch of tiles is coded while the networks run on another: "none"; "turns", where the engine wants
    one network at a time; "queue", where it orders them itself. num_threads: of one network; where it is more than
    1 the engine has `alone()`, an engine of one thread whose networks run side by side.
    """

    byte_images: bool = False
    block_images: bool = False
    window_size: int = 4096
    window_pixels: int = WINDOW_PIXELS
    batch_pixels: int = 1 << 22
    entropy_batch_pixels: int = 1 << 20
    overlap: Literal["none", "turns", "queue"] = "none"
    num_threads: int = 1


class Engine(Protocol):
    """Opens parts. Sessions end with their engine's `close`."""

    @property
    def name(self) -> str: ...

    def open(self, bundle: Bundle, level: int, part: str) -> Session:
        """Make `part` ("analysis", "hyper", "context_g0" .., "synthesis") of a level ready.

        Raises:
            EngineError: this engine cannot run it.
            BundleError: the bundle lacks it or its file is damaged.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Whether an engine works on this machine; `detail` says its versions, or why not and what to do.

    `optional`: it needs hardware that many machines lack, so its absence is no fault.
    """

    name: str
    title: str
    available: bool
    detail: str
    optional: bool = False


def open_engine(name: str = DEFAULT_ENGINE, num_threads: int | None = None) -> Engine:
    """Start an engine by name; `num_threads` None leaves the number to it.

    Raises:
        EngineError: an unknown name, its library is missing or unfit, or BASIC_SIMD names instructions that the
            processor lacks; the message has the cure.
        ArgumentError: num_threads is no whole number in 1..MAX_THREADS.
    """
    if not isinstance(name, str) or name not in _ENGINES:
        raise EngineError(f"engine {name!r}: expected one of {', '.join(_ENGINES)}")
    if num_threads is not None:
        num_threads = whole("num_threads", num_threads, 1, MAX_THREADS)
    try:
        _ans.simd()
    except ValueError as error:  # BASIC_SIMD asks for what is not here
        raise EngineError(str(error)) from error
    engine: Engine = importlib.import_module(f".{_ENGINES[name][0]}", __package__).start(num_threads)
    return engine


def traits_of(engine: Engine) -> Traits:
    """An engine's own traits, or the common ones."""
    found: Traits = getattr(engine, "traits", Traits())
    return found


def engine_names() -> tuple[str, ...]:
    """Every engine that this release knows, whether it works here or not."""
    return tuple(_ENGINES)


def available_engines() -> list[EngineStatus]:
    """The state of every engine that this release knows."""
    found = []
    for name, (_, title) in _ENGINES.items():
        try:
            engine = open_engine(name)
        except EngineError as error:
            found.append(EngineStatus(name, title, False, str(error), name in _GPU_ENGINES))
        else:
            found.append(EngineStatus(name, title, True, getattr(engine, "detail", ""), name in _GPU_ENGINES))
            engine.close()
    return found


def onnxruntime_packages() -> dict[str, str]:
    """Installed distributions that own the import name onnxruntime, with versions; more than one is a fault."""
    names = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class Int8Error(EngineError):
    """A transform is in int8, and the engine takes float ones."""


def refuse_int8(bundle: Bundle, level: int, part: str, engine: str) -> None:
    """For engines without int8 kernels of their own: Int8Error where a transform is in int8."""
    if bundle.level(level).parts[part].precision == "int8":
        raise Int8Error(
            f"{bundle.path}: level {level}, {part} is in int8, for processors; {engine} wants it in float: make a "
            "bundle for it with basic-export --int8 none -o gpu.bundle, which decodes the same files"
        )
