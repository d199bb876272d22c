"""Peak memory of each part and task, every one in a process of its own.

What a newcomer gets wrong: a process' peak never falls, and allocators keep what was freed. Measured one after the
other in one process, only the largest part would have a figure. Here each runs in a fresh process, and what counts is
how far its peak rises above what it held with the engine loaded and nothing opened.
"""

import multiprocessing
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import BaseContext
from pathlib import Path

from PIL import Image

from ..runtime.bundle import Bundle
from ..runtime.codec import Codec
from ..runtime.engine import open_engine
from ..runtime.tiles import padded
from .fit import NETWORK_TASKS
from .images import Photo
from .shapes import zero_inputs

MIB = 2.0**20


@dataclass(frozen=True, slots=True)
class Target:
    """What a fresh process opens; `bundle` None is the packaged one."""

    bundle: Path | None
    engine: str
    threads: int | None
    quality: int


def peak_memory_mib(
    target: Target, photo: Photo, streams: Mapping[int, bytes], step: Callable[[str], None]
) -> dict[tuple[int, str], float | None]:
    """(level, part or task) -> MiB that its peak adds, for every level of `streams` (its file of the photograph).

    None where the system does not tell, or the process died.
    """
    bundle = Bundle.open(target.bundle)
    found: dict[tuple[int, str], float | None] = {}
    for level, data in streams.items():
        step(f"memory level {level}")
        for name in (*NETWORK_TASKS, *bundle.levels[level].parts):
            found[level, name] = _in_fresh_process(target, photo, level, name, data)
    return found


def _in_fresh_process(target: Target, photo: Photo, level: int, name: str, data: bytes) -> float | None:
    with ProcessPoolExecutor(max_workers=1, mp_context=_fresh_processes()) as pool:
        try:
            return pool.submit(run_and_weigh, target, photo, level, name, data).result()
        except BrokenProcessPool:
            return None


@cache
def _fresh_processes() -> BaseContext:
    """Forks of a server that has only imported this module, or new interpreters where there is no such server."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def run_and_weigh(target: Target, photo: Photo, level: int, name: str, data: bytes) -> float | None:
    """Run one part or task in this process; MiB that the peak rose meanwhile, sessions and their weights included."""
    image = Image.fromarray(photo.pixels)
    if name in NETWORK_TASKS:
        with Codec.open(target.bundle, engine=target.engine, num_threads=target.threads) as codec:
            before = resident_mib()
            if name == "encode":
                codec.encode(image, level=level, quality=target.quality)
            else:
                codec.decode(data)
            after = peak_resident_mib()
    else:
        bundle = Bundle.open(target.bundle)
        engine = open_engine(target.engine, target.threads)
        inputs = zero_inputs(bundle.levels[level].parts[name], padded(image.height), padded(image.width))
        before = resident_mib()
        engine.open(bundle, level, name).run(inputs)
        after = peak_resident_mib()
    return None if before is None or after is None else max(after - before, 0.0)


def resident_mib() -> float | None:
    """Memory that this process holds now; None where /proc does not exist."""
    return _status_mib("VmRSS")


def peak_resident_mib() -> float | None:
    """The most that this process ever held; None where /proc does not exist."""
    return _status_mib("VmHWM")


def _status_mib(key: str) -> float | None:
    if sys.platform != "linux":
        return None
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / MIB
    return None
