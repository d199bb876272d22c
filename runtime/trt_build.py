"""Engine files for TensorRT: built from a bundle's parts, kept with a sidecar, built again when they no longer fit.

What a newcomer gets wrong: an engine file belongs to one TensorRT version and one GPU model. What it was built for
stands in a JSON file beside it, never inside; where anything differs the file is stale, is built again, and the reason
is told. Only what TensorRT 8.6, 10 and 11 have in common is used, and what may be missing is probed for.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .bundle import Bundle, Part
from .cuda import Device
from .engine import refuse_int8
from .errors import EngineError
from .files import replacing
from .heartbeat import heartbeat
from .trt_graph import REVISION, Form, precision, rewrite

Progress = Callable[[str], None]
Shape = tuple[int, ...]
CACHE_VARIABLE = "BASIC_ENGINE_CACHE"
WORKSPACE_BYTES = 4 << 30
OWN_TACTICS = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
ENGINE_SUFFIX, SIDECAR_SUFFIX = ".engine", ".json"


@dataclass(frozen=True, slots=True)
class SizeClass:
    """Tiles or windows that share an optimisation profile: sides up to `max_side` pixels, `max_batch` of them.

    `optimum` is what it is tuned for: batch, height and width.
    """

    name: str
    max_side: int
    max_batch: int
    optimum: tuple[int, int, int]

    def fits(self, height: int, width: int) -> bool:
        return max(height, width) <= self.max_side


SIZE_CLASSES = (
    SizeClass("small", 832, 16, (4, 512, 768)),
    SizeClass("medium", 1984, 8, (1, 1088, 1920)),
    SizeClass("large", 4736, 1, (1, 2176, 3840)),
)
"""Photographs of a few hundred pixels and small tiles; tiles of the default size and 1080p; 4K in one window."""
UNIT = 64


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine file depends on."""

    part: str
    onnx_sha256: str
    rewriting: int
    precision: str
    as_bytes: bool
    tensorrt: str
    gpu: str
    compute_capability: str
    shapes: tuple[tuple[str, tuple[Shape, Shape, Shape]], ...]
    """(input, (least, optimum, most)) for every profile in turn."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data, as it stands in the sidecar."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    @property
    def digest(self) -> str:
        """16 hex digits that change with any of it."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]


def port_shape(dims: Sequence[int | str], batch: int, height: int, width: int) -> Shape:
    """A manifest's shape with numbers put in for its symbols; height and width in pixels of the padded image."""
    found = []
    for dim in dims:
        if isinstance(dim, int):
            found.append(dim)
        elif dim == "batch":
            found.append(batch)
        else:
            side, _, stride = dim.partition("_")
            if side not in ("height", "width"):
                raise EngineError(f"a shape with the symbol {dim!r}: expected batch, height or width; export again")
            found.append((height if side == "height" else width) // int(stride or 1))
    return tuple(found)


def image_size(part: Part, shapes: dict[str, Shape]) -> tuple[int, int, int]:
    """Batch, height and width in pixels that inputs of these shapes stand for. Raises EngineError where they differ."""
    found: dict[str, int] = {}
    for name, _, dims in part.inputs:
        shape = shapes.get(name)
        if shape is None or len(shape) != len(dims):
            raise EngineError(f"{part.name}: expected input {name} of shape {dims}, got {shape}")
        for dim, side in zip(dims, shape, strict=True):
            symbol, _, stride = str(dim).partition("_")
            value = side * int(stride or 1) if isinstance(dim, str) else side
            expected = dim if isinstance(dim, int) else found.setdefault(symbol, value)
            if value != expected or value < 1:
                raise EngineError(f"{part.name}: expected input {name} of shape {dims}, got {shape}")
    return found.get("batch", 1), found["height"], found["width"]


def profile_shapes(
    part: Part, classes: Sequence[SizeClass] = SIZE_CLASSES
) -> tuple[tuple[str, tuple[Shape, Shape, Shape]], ...]:
    """For every size class and input: its least, best and largest shape."""
    return tuple(
        (
            name,
            (
                port_shape(dims, 1, UNIT, UNIT),
                port_shape(dims, *size.optimum),
                port_shape(dims, size.max_batch, size.max_side, size.max_side),
            ),
        )
        for size in classes
        for name, _, dims in part.inputs
    )


def cache_folder(bundle: Path) -> Path:
    """Where a bundle's engine files are: BASIC_ENGINE_CACHE; `<bundle>.engines` beside it, where that is there; else
    a folder of the user's cache."""
    given = os.environ.get(CACHE_VARIABLE)
    beside = beside_folder(bundle)
    if given:
        return Path(given)
    if beside.is_dir():
        return beside
    name = hashlib.sha256(str(bundle.resolve()).encode()).hexdigest()[:12]
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "basic" / "engines" / f"{bundle.stem}-{name}"


def beside_folder(bundle: Path) -> Path:
    """`<bundle>.engines`: what basic-export fills."""
    return bundle.with_name(f"{bundle.name}.engines")


def stale_because(key: EngineKey, sidecar: Path, engine: Path) -> str | None:
    """Why a kept file does not fit, in words; None where it does."""
    if not engine.is_file():
        return "there is none yet"
    try:
        kept = json.loads(sidecar.read_text(encoding="utf-8"))
        if not isinstance(kept, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        return f"its sidecar cannot be read ({error})"
    for name, wanted in key.as_json().items():
        if kept.get(name) != wanted:
            shown = "other shapes" if name == "shapes" else f"{name} was {kept.get(name)!r}, is {wanted!r}"
            return shown.replace("onnx_sha256", "the network's sha256")
    if kept.get("engine_sha256") != hashlib.sha256(engine.read_bytes()).hexdigest():
        return "the file is damaged"
    return None


def to_stderr(text: str) -> None:
    """The progress of a program that asked for none of its own."""
    print(f"basic: {text}", file=sys.stderr, flush=True)


class EngineFiles:
    """The engine files of a cache folder for one TensorRT and one GPU. `trt` is the module `tensorrt`."""

    def __init__(
        self,
        trt: Any,
        device: Device,
        form: Form | None = None,
        classes: Sequence[SizeClass] = SIZE_CLASSES,
        progress: Progress = to_stderr,
        folder: Path | None = None,
    ) -> None:
        self.trt, self.device, self.progress = trt, device, progress
        self.form = Form(as_bytes=has_bytes(trt)) if form is None else form
        self.classes = tuple(classes)
        self._folder = folder
        self._log = make_log(trt)
        self._gpu, self._capability = device.name, device.compute_capability

    @property
    def log(self) -> Any:
        """The logger of this TensorRT; it must outlive what was made with it."""
        return self._log

    def key(self, bundle: Bundle, level: int, part: str) -> EngineKey:
        entry = bundle.level(level).parts[part]
        return EngineKey(
            part=part,
            onnx_sha256=entry.sha256,
            rewriting=REVISION,
            precision=precision(part, self.form),
            as_bytes=self.form.as_bytes,
            tensorrt=str(self.trt.__version__),
            gpu=self._gpu,
            compute_capability=self._capability,
            shapes=profile_shapes(entry, self.classes),
        )

    def path(self, bundle: Bundle, level: int, part: str) -> Path:
        """Where a part's engine file is or will be."""
        folder = cache_folder(bundle.path) if self._folder is None else self._folder
        return folder / f"level_{level}.{part}.{precision(part, self.form)}.{_slug(self._gpu)}{ENGINE_SUFFIX}"

    def is_fresh(self, bundle: Bundle, level: int, part: str) -> bool:
        """Whether `load` would find a file that fits."""
        path = self.path(bundle, level, part)
        return stale_because(self.key(bundle, level, part), path.with_suffix(SIDECAR_SUFFIX), path) is None

    def load(self, bundle: Bundle, level: int, part: str) -> bytes:
        """A part's engine file, built first where none fits.

        Raises:
            EngineError: TensorRT refused the part; the message has what it said.
            BundleError: the bundle lacks the part or its file is damaged.
        """
        path, key = self.path(bundle, level, part), self.key(bundle, level, part)
        sidecar = path.with_suffix(SIDECAR_SUFFIX)
        reason = stale_because(key, sidecar, path)
        if reason is None:
            return path.read_bytes()
        what = f"level {level}, {part}"
        self.progress(f"building a TensorRT engine for {what} ({reason}); this takes seconds to minutes")
        started = time.monotonic()
        with heartbeat(self.progress, f"still building {what}"):
            data = self._build(bundle, level, part)
        seconds = time.monotonic() - started
        about = key.as_json() | {
            "level": level,
            "engine_sha256": hashlib.sha256(data).hexdigest(),
            "num_bytes": len(data),
            "build_s": round(seconds, 2),
            "driver_cuda": self.device.driver_version,
        }
        _write(path, data)
        _write(sidecar, (json.dumps(about, indent=1) + "\n").encode())
        self.progress(f"built {what}: {len(data)} bytes in {seconds:.1f} s")
        return data

    def _build(self, bundle: Bundle, level: int, part: str) -> bytes:
        refuse_int8(bundle, level, part, "TensorRT")
        trt, entry = self.trt, bundle.level(level).parts[part]
        model = rewrite(bundle.read(entry.file), part, self.form)
        what = f"TensorRT {trt.__version__}, level {level}, {part}"
        with self.device.active(), reporting(self._log, what):
            builder = trt.Builder(self._log)
            network = builder.create_network(network_flags(trt))
            parser = trt.OnnxParser(network, self._log)
            if not parser.parse(model):
                errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
                raise EngineError(f"{what}: the network is refused: {'; '.join(errors) or 'no reason given'}")
            timings = self.path(bundle, level, part).parent / self._timings_name
            for own_tactics in (True, False):
                config = self._config(builder, entry, own_tactics)
                cache = _open_timings(config, timings)
                built = builder.build_serialized_network(network, config)
                if built is not None:
                    if cache is not None:
                        _write(timings, bytes(memoryview(config.get_timing_cache().serialize())))
                    return bytes(memoryview(built))
                if own_tactics:
                    self.progress(f"{what}: TensorRT has no tactics of its own for a layer; with all that are here")
            raise EngineError(f"{what}: the build failed")

    @property
    def _timings_name(self) -> str:
        return f"timings.{_slug(str(self.trt.__version__))}.{_slug(self._gpu)}.cache"

    def _config(self, builder: Any, part: Part, own_tactics: bool) -> Any:
        """Workspace, precision flags, tactics and one profile for each size class."""
        trt = self.trt
        config = builder.create_builder_config()
        free, _ = self.device.memory_bytes()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, min(WORKSPACE_BYTES, free // 2))
        flags = trt.BuilderFlag
        if hasattr(flags, "TF32"):
            config.clear_flag(flags.TF32)  # 10 bits of a factor are too few for the integer parts
        if precision(part.name, self.form) == "fp16" and not is_strongly_typed(trt) and hasattr(flags, "FP16"):
            config.set_flag(flags.FP16)
        if hasattr(trt, "ProfilingVerbosity"):
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if own_tactics and hasattr(trt, "TacticSource"):  # not cuBLAS and cuDNN: a host may lack them
            sources = [getattr(trt.TacticSource, name, None) for name in OWN_TACTICS]
            config.set_tactic_sources(sum(1 << int(source) for source in sources if source is not None))
        shapes = iter(profile_shapes(part, self.classes))
        for _ in self.classes:
            profile = builder.create_optimization_profile()
            for _ in part.inputs:
                name, limits = next(shapes)
                profile.set_shape(name, *limits)
            config.add_optimization_profile(profile)
        return config


def has_bytes(trt: Any) -> bool:
    """Whether this TensorRT takes and gives bytes."""
    return hasattr(trt.DataType, "UINT8")


def is_strongly_typed(trt: Any) -> bool:
    """Whether precision comes from the graph alone: asked for where it can be, the only way where it cannot."""
    flags = trt.NetworkDefinitionCreationFlag
    return hasattr(flags, "STRONGLY_TYPED") or not hasattr(trt.BuilderFlag, "FP16")


def network_flags(trt: Any) -> int:
    """Flags of a new network: what this version has of the two that matter."""
    kinds = trt.NetworkDefinitionCreationFlag
    if hasattr(kinds, "STRONGLY_TYPED"):
        return 1 << int(kinds.STRONGLY_TYPED)
    return 1 << int(kinds.EXPLICIT_BATCH) if hasattr(kinds, "EXPLICIT_BATCH") else 0


def make_log(trt: Any) -> Any:
    """A TensorRT logger that keeps errors and warnings, for `reporting` to tell."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the module is a value here
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message)

    return Log()


@contextmanager
def reporting(log: Any, what: str) -> Iterator[None]:
    """EngineErrors of what runs inside carry what TensorRT logged; its other exceptions become EngineErrors."""
    del log.errors[:], log.warnings[:]
    try:
        yield
    except EngineError as error:
        raise EngineError("; ".join([str(error), *log.errors[-3:]])) from error
    except (RuntimeError, TypeError, ValueError) as error:
        logged = log.errors[-3:] or log.warnings[-1:]
        raise EngineError("; ".join([f"{what}: {error}", *logged])) from error


def _open_timings(config: Any, path: Path) -> Any:
    """Attach the kept timings of kernels, or none yet; a cache of another GPU or version is refused by TensorRT."""
    if not hasattr(config, "create_timing_cache"):
        return None
    for data in (path.read_bytes() if path.is_file() else b"", b""):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(data)
