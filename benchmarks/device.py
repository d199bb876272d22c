"""What a device is able to do, measured: copy bandwidth, matrix rate, memory in use, energy.

What a newcomer gets wrong: data sheets give rates that no program reaches. The floor of a part is counted from what a
plain copy and a large convolution reach here and now, with the clocks and the neighbours that this device has.
"""

import ctypes
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..runtime.bundle import Part
from ..runtime.cuda import Device, driver
from ..runtime.engine import Engine
from ..runtime.engine_trt import TrtEngine
from ..runtime.errors import EngineError
from ..runtime.onnx_file import Graph, Node, Port, write
from ..runtime.trt_build import EngineFiles, SizeClass
from ..runtime.trt_session import TrtSession
from .floor import Peaks

COPY_BYTES = 1 << 28
PROBE_CHANNELS, PROBE_LAYERS, PROBE_BATCH, PROBE_SIDE = 2048, 4, 4, 64
NVML_OK = 0


def is_on_host(engine: Engine) -> bool:
    """Whether an engine computes on the processor."""
    return not isinstance(engine, TrtEngine) and engine.name != "ort-cuda" and getattr(engine, "device", "cpu") == "cpu"


def peaks_of(engine: Engine, folder: Path) -> Peaks | None:
    """The rates of an engine's device; engine files of the probe are kept in `folder`. A GPU tells them through
    TensorRT alone: None for another engine on one."""
    if isinstance(engine, TrtEngine):
        transform, plain = (_gpu_tmac_per_s(engine, folder / "probe", part) for part in ("analysis", "hyper"))
        return Peaks(_gpu_copy_gb_per_s(engine), transform, plain)
    if not is_on_host(engine):
        return None
    rate = _host_tmac_per_s()
    return Peaks(_host_copy_gb_per_s(), rate, rate)


def gpu_of(engine: Engine) -> Device | None:
    """The GPU that an engine computes on, to ask it for memory and energy; None on the processor, or without
    cuda-python."""
    if isinstance(engine, TrtEngine):
        return engine.device
    return None if is_on_host(engine) else _first_gpu()


@cache
def _first_gpu() -> Device | None:
    try:
        return Device(driver())
    except EngineError:
        return None


def memory_of(engine: Engine) -> dict[str, float] | None:
    """MiB of the GPU: taken by arrays of TensorRT's engine, and in use by everybody (contexts and weights included)."""
    device = gpu_of(engine)
    if device is None:
        return None
    free, total = device.memory_bytes()
    mib = 2.0**20
    return {"arrays_mib": device.allocated_bytes / mib, "in_use_mib": (total - free) / mib, "all_mib": total / mib}


def device_of(engine: Engine) -> dict[str, object]:
    """The device by name, for the circumstances."""
    if not isinstance(engine, TrtEngine):
        return {"device": "CPU" if is_on_host(engine) else "GPU", "engine": getattr(engine, "detail", engine.name)}
    device = engine.device
    return {
        "device": device.name,
        "compute_capability": device.compute_capability,
        "num_processors": device.num_processors,
        "driver_cuda": device.driver_version,
        "engine": engine.detail,
        "precision": f"transforms {'fp16' if engine.files.form.half else 'fp32'}, entropy networks fp32 without TF32",
        "bytes_in_and_out": engine.files.form.as_bytes,
    }


class EnergyMeter:
    """Joules that a GPU has taken since the driver started, where NVML tells."""

    def __init__(self, engine: Engine) -> None:
        self._read: Callable[[], float | None] = lambda: None
        device = gpu_of(engine)
        if device is not None:
            self._open(device.bus_id)

    def joules(self) -> float | None:
        """None where it cannot be known."""
        return self._read()

    def _open(self, bus_id: str) -> None:
        try:
            nvml = ctypes.CDLL("libnvidia-ml.so.1")
            handle, found = ctypes.c_void_p(), ctypes.c_ulonglong()
            if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByPciBusId_v2(bus_id.encode(), ctypes.byref(handle)):
                return

            def read() -> float | None:
                failed = nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(found))
                return None if failed != NVML_OK else found.value / 1e3

            self._read = read
        except (OSError, AttributeError):
            return


def probe_model(channels: int, layers: int) -> tuple[bytes, Part]:
    """1x1 convolutions in a chain, and the part that says its shapes: inputs "y", outputs "z", both at 1/16."""
    rng = np.random.default_rng(0)
    dims = ("batch", channels, "height_16", "width_16")
    weights = {
        f"w{i}": rng.normal(0, channels**-0.5, (channels, channels, 1, 1)).astype(np.float32) for i in range(layers)
    }
    names = ["y", *(f"h{i}" for i in range(1, layers)), "z"]
    attributes: dict[str, Any] = {"kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0), "group": 1}
    nodes = [Node("Conv", [names[i], f"w{i}"], [names[i + 1]], dict(attributes)) for i in range(layers)]
    ports = [Port(name, np.dtype(np.float32), dims) for name in ("y", "z")]
    data = write(Graph("probe", nodes, weights, ports[:1], ports[1:]))
    (y,), (z,) = (((name, "float32", dims),) for name in ("y", "z"))
    return data, Part("analysis", "probe.onnx", f"probe {channels} x {layers}", 0.0, 0, (y,), (z,))


def _gpu_tmac_per_s(engine: TrtEngine, folder: Path, kind: str) -> float:
    """`kind` "analysis" for the precision of transforms, "hyper" for float32."""
    data, part = probe_model(PROBE_CHANNELS, PROBE_LAYERS)
    part = Part(kind, part.file, part.sha256, 0.0, 0, part.inputs, part.outputs)
    bundle: Any = SimpleNamespace(
        path=folder, level=lambda number: SimpleNamespace(parts={kind: part}), read=lambda file: data
    )
    side = 16 * PROBE_SIDE
    size = SizeClass("probe", side, PROBE_BATCH, (PROBE_BATCH, side, side))
    files = EngineFiles(engine.module, engine.device, engine.files.form, (size,), engine.files.progress, folder)
    probe = TrtEngine(engine.module, engine.device, files)
    session = probe.open_unchecked(bundle, 0, kind)
    y = np.zeros((PROBE_BATCH, PROBE_CHANNELS, PROBE_SIDE, PROBE_SIDE), np.float32)
    y[:] = np.random.default_rng(1).normal(size=y.shape[1:])
    ms = float(np.median(session.time_ms({"y": y}, 20)))
    return PROBE_LAYERS * PROBE_BATCH * PROBE_SIDE**2 * PROBE_CHANNELS**2 / (1e9 * ms)


def _gpu_copy_gb_per_s(engine: TrtEngine) -> float:
    """Bytes read plus bytes written a second by copies on the device."""
    device = engine.device
    with engine.lock, device.active():
        source, target = device.take(COPY_BYTES), device.take(COPY_BYTES)
        device.stream.copy(target.address, source.address, COPY_BYTES)
        times = []
        for _ in range(10):
            start = device.stream.record(timing=True)
            device.stream.copy(target.address, source.address, COPY_BYTES)
            end = device.stream.record(timing=True)
            end.wait()
            times.append(end.ms_since(start))
    return 2 * COPY_BYTES / (1e6 * float(np.median(times)))


def _host_copy_gb_per_s() -> float:
    source = np.zeros(1 << 26, np.uint8)
    target = np.empty_like(source)
    return 2 * source.nbytes / (1e9 * _best_s(lambda: np.copyto(target, source)))


def _host_tmac_per_s(size: int = 768) -> float:
    a = np.random.default_rng(0).random((size, size), np.float32)
    out = np.empty_like(a)
    return size**3 / (1e12 * _best_s(lambda: np.matmul(a, a, out=out)))


def _best_s(work: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)


def time_session(session: Any, inputs: dict[str, Any], repeats: int) -> tuple[list[float], str]:
    """Milliseconds of a part, and which clock: "device" by events, copies excluded; "wall" of whole calls."""
    if isinstance(session, TrtSession):
        return session.time_ms(inputs, repeats), "device"
    session.run(inputs)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(inputs)
        times.append(1e3 * (time.perf_counter() - start))
    return times, "wall"
