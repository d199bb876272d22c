"""Engines: what runs the networks of a bundle. Each has one file, imported only when it is asked for.

What a newcomer gets wrong: arrays that `Session.run` gives belong to the caller, who may write into them; arrays that
it takes are only read. All of them are C-contiguous.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol

from numpy.typing import NDArray

from .bundle import Bundle
from .errors import EngineError

Array = NDArray[Any]
DEFAULT_ENGINE = "ort"
MAX_THREADS = 1024
_ENGINES = {
    "ort": ("engine_onnx", "onnxruntime on the CPU"),
    "oracle": ("engine_oracle", "integer networks in numpy, transforms by onnxruntime"),
}


class Session(Protocol):
    """One part of one level, ready to run; may be shared between threads."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Named inputs -> named outputs, shapes and types as the bundle's manifest says.

        Raises:
            EngineError: the engine refused the inputs or failed.
        """
        ...


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
    """Whether an engine works on this machine; `detail` says its versions, or why not and what to do."""

    name: str
    title: str
    available: bool
    detail: str


def open_engine(name: str = DEFAULT_ENGINE, num_threads: int | None = None) -> Engine:
    """Start an engine by name; `num_threads` None leaves the number to it.

    Raises:
        EngineError: an unknown name, or its library is missing or unfit; the message has the cure.
    """
    if name not in _ENGINES:
        raise EngineError(f"engine {name!r}: expected one of {', '.join(_ENGINES)}")
    if num_threads is not None and not 1 <= num_threads <= MAX_THREADS:
        raise ValueError(f"num_threads: expected 1 to {MAX_THREADS} or None, got {num_threads}")
    engine: Engine = importlib.import_module(f".{_ENGINES[name][0]}", __package__).start(num_threads)
    return engine


def available_engines() -> list[EngineStatus]:
    """The state of every engine that this release knows."""
    found = []
    for name, (_, title) in _ENGINES.items():
        try:
            engine = open_engine(name)
        except EngineError as error:
            found.append(EngineStatus(name, title, False, str(error)))
        else:
            found.append(EngineStatus(name, title, True, getattr(engine, "detail", "")))
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
