"""Packs what the GPU suite needs on a host without network: code, extension, bundle, images, references; one archive.

    python -m basic.benchmarks.gpu_pack BUNDLE --images DIR -o basic-gpu.tar.gz

There, with the same python version, numpy, Pillow, tensorrt and cuda.bindings: `basic-gpu/run.sh PYTHON`. The
references are made here, by the CPU, so that the host needs no engine for its own.
"""

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ..runtime import _ans
from ..runtime.bundle import Bundle
from ..runtime.codec import Codec
from ..runtime.command import run_main
from ..runtime.engine import refuse_int8
from ..runtime.errors import BasicError
from ..runtime.files import replacing
from . import arguments
from . import gpu_checks as checks
from .images import load_photos
from .results import BenchError

ROOT = "basic-gpu"
MAX_BYTES = 40 * 10**6
FOLDERS = ("runtime", "benchmarks", "export")
SUFFIXES = (".py", ".pyi", ".md", ".typed")
RUN = """#!/bin/sh
# usage: run.sh PYTHON [OPTIONS OF THE SUITE]   results: results/gpu_suite.json beside this file
here=$(cd "$(dirname "$0")" && pwd)
python=${1:-python3}
[ $# -gt 0 ] && shift
BASIC_ENGINE_CACHE=${BASIC_ENGINE_CACHE:-$here/engines} PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} \\
  exec "$python" -m basic.benchmarks.gpu_suite "$here/suite.bundle" --images "$here/images" \\
  --references "$here/references" --output "$here/results" "$@"
"""


def pack(
    bundle_path: Path,
    images: Path,
    output: Path,
    limit: int | None,
    qualities: Sequence[int],
    say: Callable[[str], None],
) -> int:
    """Write the archive; its bytes.

    Raises:
        BenchError: it would be larger than MAX_BYTES.
        BasicError: the bundle or an image cannot be read.
    """
    bundle = Bundle.open(bundle_path)
    for level in bundle.levels.values():
        for part in level.parts:
            refuse_int8(bundle, level.level, part, "a GPU")
    photos = {photo.name: photo.pixels for photo in load_photos(images, limit)}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / ROOT
        _copy_code(root / "basic")
        _copy_bundle(bundle, root / "suite.bundle")
        (root / "images").mkdir()
        source = images.parent if images.is_file() else images
        for name in photos:
            shutil.copy(source / name, root / "images" / name)
        say(f"references for {len(photos)} images at {len(bundle.levels)} levels")
        with Codec.open(bundle) as codec:
            checks.make_references(codec, photos, sorted(bundle.levels), qualities, root / "references")
        (root / "run.sh").write_text(RUN)
        (root / "run.sh").chmod(0o755)
        archive = Path(temporary) / "archive"
        with tarfile.open(archive, "w:gz", compresslevel=9) as tar:
            tar.add(root, ROOT, filter=_anonymous)
        num_bytes = archive.stat().st_size
        if num_bytes > MAX_BYTES:
            raise BenchError(
                f"the archive has {num_bytes} bytes, more than {MAX_BYTES}: take fewer images with --limit"
            )
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as file, archive.open("rb") as packed:
            shutil.copyfileobj(packed, file)
    return num_bytes


def _copy_code(target: Path) -> None:
    """The package, without what the host cannot run, and the extension that is built here."""
    package = Path(__file__).parent.parent
    target.mkdir(parents=True)
    shutil.copy(package / "__init__.py", target)
    for folder in FOLDERS:
        for path in sorted((package / folder).iterdir()):
            if path.suffix in SUFFIXES:
                (target / folder).mkdir(exist_ok=True)
                shutil.copy(path, target / folder)
    shutil.copy(Path(_ans.__file__), target / "runtime")


def _copy_bundle(bundle: Bundle, target: Path) -> None:
    if bundle.path.is_dir():
        shutil.copytree(bundle.path, target)
    else:
        shutil.copy(bundle.path, target)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def main(argv: Sequence[str] | None = None) -> int:
    """0 packed, 1 bad input or too large, 2 the command line alone is wrong."""
    made = argparse.ArgumentParser(prog="gpu_pack", description=(__doc__ or "").splitlines()[0])
    add = made.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="exported with --int8 none")
    add("--images", type=Path, required=True, metavar="DIR", help="photographs for the suite, a few")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the archive, .tar.gz")
    add("--limit", type=arguments.positive, help="take the first images only")
    add("--qualities", type=arguments.qualities, default=checks.QUALITIES, metavar="8,..", help="of the references")
    args = made.parse_args(argv)

    def say(text: str) -> None:
        print(f"gpu_pack: {text}", file=sys.stderr)

    try:
        num_bytes = pack(args.bundle, args.images, args.output, args.limit, args.qualities, say)
    except (BasicError, OSError) as error:
        say(str(error))
        return 1
    print(json.dumps({"archive": str(args.output), "num_bytes": num_bytes}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main("gpu_pack", main))
