"""The circumstances that every number travels with."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from ..runtime import _ans
from .images import Photo

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "pillow", "bjontegaard", "onnx", "matplotlib")


COMMANDS = {"basic.benchmarks.cli": "basic-bench"}
"""Modules that are installed as commands."""


def machine() -> dict[str, object]:
    """Processor, system and versions; no host name, no user, no paths."""
    return {
        "device": "CPU",
        "cpu_model": cpu_model(),
        "num_cpus": num_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {"basic-nic": __version__} | package_versions(PACKAGES),
        "integer_loops": _ans.integer_kernels()[-1],
        "load_average": load_average(),
    }


def images_used(photos: Sequence[Photo], timed: Sequence[Photo]) -> dict[str, object]:
    """What was measured on: all images for rate and quality, some of one size for times."""
    sizes = sorted({photo.size for photo in photos})
    return {
        "num_images": len(photos),
        "names": [photo.name for photo in photos],
        "sizes": sizes,
        "timed_names": [photo.name for photo in timed],
        "timed_sizes": sorted({photo.size for photo in timed}),
    }


def command_line() -> str:
    """The command as a user types it: a program by its name, a module by `python -m`, a script by `python`."""
    program = Path(sys.argv[0])
    module = _module_of(program)
    if module in COMMANDS:
        words = [COMMANDS[module]]
    elif module is not None:
        words = ["python", "-m", module]
    elif program.suffix == ".py":  # a path from elsewhere could hold the name of a user
        words = ["python", program.name if program.is_absolute() or ".." in program.parts else program.as_posix()]
    else:
        words = [program.name]
    return shlex.join([*words, *sys.argv[1:]])


def _module_of(program: Path) -> str | None:
    """The module that `python -m` runs as this program, if that is how it runs."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != program.resolve():
        return None
    return str(spec.name)


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions, packages that are not here left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """The processor's own name for itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def num_cpus() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """Processes wanting a processor over the last minute, ourselves included: above num_cpus, wall times are shared."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
