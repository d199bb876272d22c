"""`basic-export BUNDLE --engine trt`: the engine files of a bundle for the GPU of this machine. Needs no torch.

What a newcomer gets wrong: these files are of use on this GPU model with this TensorRT version alone. The bundle stays
what travels; `<bundle>.engines` beside it is a cache that the runtime fills by itself where it is missing.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from .. import __version__
from ..runtime.bundle import Bundle
from ..runtime.conformance import require_exact
from ..runtime.engine_trt import TrtEngine
from ..runtime.engine_trt import start as start_tensorrt
from ..runtime.errors import BasicError
from ..runtime.trt_build import beside_folder

ENGINES = ("trt",)


def level_numbers(text: str) -> list[int]:
    """The numbers of `--only`, ascending, each once. Raises ValueError on anything but numbers with commas."""
    try:
        return sorted({int(word) for word in text.split(",")})
    except ValueError as error:
        raise ValueError(f"--only: expected level numbers as in 0,3,7, got {text!r}") from error


def build_engines(engine: TrtEngine, bundle: Bundle, levels: list[int]) -> dict[str, Any]:
    """Build what is missing or stale of these levels, check that the integer parts are exact; a summary.

    Raises:
        EngineError: TensorRT refused a part, or computes an integer part wrongly.
    """
    started = time.monotonic()
    built, kept = list[str](), list[str]()
    total = sum(len(bundle.level(level).parts) for level in levels)
    for level in levels:
        for part in bundle.level(level).parts:
            is_fresh = engine.files.is_fresh(bundle, level, part)
            if not is_fresh:
                engine.files.progress(f"engine file {len(built) + len(kept) + 1} of {total}")
                engine.files.load(bundle, level, part)
            (kept if is_fresh else built).append(engine.files.path(bundle, level, part).name)
        require_exact(engine, bundle, level)
    folder = engine.files.path(bundle, levels[0], "hyper").parent
    return {
        "bundle": str(bundle.path),
        "engine": engine.detail,
        "folder": str(folder),
        "levels": levels,
        "num_built": len(built),
        "num_kept": len(kept),
        "num_bytes": sum((folder / name).stat().st_size for name in (*built, *kept)),
        "seconds": round(time.monotonic() - started, 1),
    }


def open_engine(folder: Path) -> TrtEngine:
    """TensorRT here, with its files in a folder. Raises EngineError with the cure."""
    return start_tensorrt(None, folder=folder)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="basic-export", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--version", action="version", version=f"%(prog)s (basic-nic) {__version__}")
    p.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle: a folder or one file")
    p.add_argument("--engine", choices=ENGINES, help="build engine files for it; needed here")
    p.add_argument("-o", "--output", type=Path, metavar="DIR", help="for the files (default: BUNDLE.engines)")
    p.add_argument("--only", help="levels to build, as in 0,3,7 (default: all that the bundle has)")
    return p


def main(argv: list[str] | None = None) -> int:
    """0 done, 1 bad input or no working TensorRT, 2 wrong options."""
    args = parser().parse_args(argv)
    if args.engine is None:
        parser().error(
            f"{args.bundle}: expected a checkpoint (.safetensors) to make a bundle from, this is a bundle; "
            f"--engine {ENGINES[0]} builds its engine files"
        )
    try:
        bundle = Bundle.open(args.bundle)
        levels = _levels(bundle, args.only)
        engine = open_engine(args.output or beside_folder(args.bundle))
        try:
            summary = build_engines(engine, bundle, levels)
        finally:
            engine.close()
    except (BasicError, ValueError, OSError) as error:
        print(f"basic-export: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary))
    return 0


def _levels(bundle: Bundle, text: str | None) -> list[int]:
    if text is None:
        return sorted(bundle.levels)
    return [bundle.level(level).level for level in level_numbers(text)]


if __name__ == "__main__":
    sys.exit(main())
