"""Peak memory of each part and task, every one in a process of its own.

What a newcomer gets wrong: a process' peak never falls, and allocators keep what was freed. Measured one after the
other in one process, only the largest part would have a figure. Here a server that opened nothing forks a process for
each, and what counts is how far its peak rises above what it held with the engine loaded and nothing opened.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from ..runtime.bundle import Bundle
from ..runtime.codec import Codec
from ..runtime.engine import open_engine
from ..runtime.tiles import padded
from .fit import NETWORK_TASKS
from .images import Photo
from .results import BenchError
from .shapes import zero_inputs

MIB = 2.0**20
Peaks = dict[tuple[int, str], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """What to weigh: parts and tasks of these levels of a bundle on an engine."""

    bundle: str
    engine: str
    threads: int
    quality: int
    levels: tuple[int, ...]


def peak_memory_mib(target: Target, photo: Photo) -> Peaks:
    """(level, part or task) -> MiB that the peak rises, sessions and weights included.

    Empty where the system does not tell (Linux does); None for a process that died.
    """
    if sys.platform != "linux":
        return {}
    with TemporaryDirectory() as folder:
        image = Path(folder) / "photo.png"
        Image.fromarray(photo.pixels).save(image, compress_level=1)
        command = [sys.executable, "-m", __name__, json.dumps(asdict(target)), str(image)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last_words = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchError(f"memory: the measuring process failed ({last_words}); leave it out with --skip memory")
    return {(level, name): peak for level, name, peak in map(json.loads, done.stdout.splitlines())}


def main() -> None:
    """The server: arguments are a target and a photograph, output is one JSON line [level, part or task, MiB] each."""
    target, photo = Target(**json.loads(sys.argv[1])), Path(sys.argv[2])
    bundle = Bundle.open(target.bundle)
    for level in target.levels:
        for name in (*NETWORK_TASKS, *bundle.level(level).parts):
            print(json.dumps([level, name, _in_a_fork(target, photo, level, name)]))


def _in_a_fork(target: Target, photo: Path, level: int, name: str) -> float | None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(run_and_weigh(target, photo, level, name)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return float(said) if said else None


def run_and_weigh(target: Target, photo: Path, level: int, name: str) -> float:
    """Run one part or task in this process; MiB that the peak rose. "encode" leaves the file that "decode" reads.

    The default engine's integer loops are read for all parts of a level at once, so each of these counts them all.
    """
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    if name not in NETWORK_TASKS:
        bundle, engine = Bundle.open(target.bundle), open_engine(target.engine, target.threads)
        inputs = zero_inputs(bundle.level(level).parts[name], padded(image.height), padded(image.width))
        before = status_mib("VmRSS")
        engine.open(bundle, level, name).run(inputs)
        return status_mib("VmHWM") - before
    coded = photo.with_name(f"level_{level}.bsc")
    with Codec.open(target.bundle, engine=target.engine, num_threads=target.threads) as codec:
        before = status_mib("VmRSS")
        if name == "encode":
            coded.write_bytes(codec.encode(image, level=level, quality=target.quality))
        else:
            codec.decode(coded.read_bytes())
        return status_mib("VmHWM") - before


def status_mib(key: str) -> float:
    """VmRSS, what this process holds, or VmHWM, the most it ever held, from Linux' /proc."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / MIB
    raise OSError(f"/proc/self/status has no {key}")


if __name__ == "__main__":
    main()
