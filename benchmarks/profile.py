"""Where the time of whole encodes and decodes goes: networks, coder, and each piece of glue.

What a newcomer gets wrong: looking at the networks alone. At the lightest level an image passes through them in a few
milliseconds, and then every copy of its pixels or latents shows. An image of any size is made of whole photographs side
by side, so that a large one has the statistics of small ones.

    python -m basic.benchmarks.profile --images kodak --levels 0,7 --sizes 768x512,4096x2928 --json
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from ..runtime.codec import DEFAULT_QUALITY, Codec
from ..runtime.command import run_main
from ..runtime.errors import BasicError
from ..runtime.profile import GLUE, Profile
from ..runtime.tiles import UNIT
from .images import Photo, load_photos
from .machine import command_line, machine

TASKS = ("encode", "decode")
_KINDS = {"coder": "coder"} | dict.fromkeys(GLUE, "glue")


@dataclass(frozen=True)
class Row:
    """One part of a task: CPU milliseconds, median over the runs, and its share of the medians of all parts."""

    size: str
    level: int
    task: str
    part: str
    kind: str
    cpu_ms: float
    share_percent: float


def mosaic(photos: Sequence[Photo], width: int, height: int) -> Image.Image:
    """An image of this size from photographs, row by row, the last ones cut at the border."""
    pixels = np.empty((height, width, 3), np.uint8)
    supply = cycle(photo.pixels for photo in photos)
    top = 0
    while top < height:
        left, heights = 0, []
        while left < width:
            part = next(supply)[: height - top, : width - left]
            heights.append(part.shape[0])
            pixels[top : top + part.shape[0], left : left + part.shape[1]] = part
            left += part.shape[1]
        top += min(heights)  # what a taller one has below is overwritten
    return Image.fromarray(pixels)


def rows(codec: Codec, image: Image.Image, level: int, quality: int, repeats: int) -> list[Row]:
    """Encode and decode in turns, once unmeasured; a row for each part, the whole, and coder and glue together."""
    found: dict[str, list[dict[str, float]]] = {task: [] for task in TASKS}
    for repeat in range(repeats + 1):
        encoding, decoding = Profile(), Profile()
        data = codec.encode(image, level=level, quality=quality, profile=encoding)
        codec.decode(data, profile=decoding)
        if repeat:
            found["encode"].append(encoding.cpu_s)
            found["decode"].append(decoding.cpu_s)
    size = f"{image.width}x{image.height}"
    return [row for task in TASKS for row in _task_rows(size, level, task, found[task])]


def _task_rows(size: str, level: int, task: str, runs: Sequence[dict[str, float]]) -> list[Row]:
    times = {part: 1e3 * statistics.median(run[part] for run in runs) for part in runs[0]}
    whole = sum(times.values())

    def row(part: str, kind: str, cpu_ms: float) -> Row:
        return Row(size, level, task, part, kind, round(cpu_ms, 3), round(100 * cpu_ms / whole, 1))

    kinds = {part: _KINDS.get(part, "network") for part in times}
    beside = sum(cpu_ms for part, cpu_ms in times.items() if kinds[part] != "network")
    return [
        *(row(part, kinds[part], cpu_ms) for part, cpu_ms in times.items()),
        row("coder and glue", "sum", beside),
        row("all", "sum", whole),
    ]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= UNIT):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT, at least {UNIT} each")
    return int(width), int(height)


def _list(one: Callable[[str], object]) -> Callable[[str], list[object]]:
    return lambda text: [one(item) for item in text.split(",")]


def _show(found: Sequence[Row]) -> None:
    table = Table(*(name.replace("_", " ") for name in Row.__dataclass_fields__))
    for row in found:
        table.add_row(*(str(value) for value in asdict(row).values()))
    Console().print(table)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 0 when everything ran, 1 where it could not."""
    parser = argparse.ArgumentParser(prog="python -m basic.benchmarks.profile", description="Networks, coder and glue.")
    parser.add_argument("bundle", nargs="?", type=Path, help="default: the one that comes with the package")
    parser.add_argument("--images", type=Path, required=True, help="photographs that make the images")
    parser.add_argument("--sizes", type=_list(_size), default="768x512,4096x2928", help="default %(default)s")
    parser.add_argument("--levels", type=_list(int), default="0,7", help="default %(default)s")
    parser.add_argument("--quality", type=int, default=DEFAULT_QUALITY, help="default %(default)s")
    parser.add_argument("--repeats", type=int, default=10, help="of 768x512 pixels; larger images fewer, at least 3")
    parser.add_argument("--threads", type=int, default=1, help="of the networks (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    arguments = parser.parse_args(argv)
    found: list[Row] = []
    try:
        photos = load_photos(arguments.images)
        with Codec.open(arguments.bundle, num_threads=arguments.threads) as codec:
            for width, height in arguments.sizes:
                image = mosaic(photos, width, height)
                repeats = max(min(3, arguments.repeats), arguments.repeats * 768 * 512 // (width * height))
                for level in arguments.levels:
                    found += rows(codec, image, level, arguments.quality, repeats)
    except (BasicError, ValueError) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    print(f"{command_line()}: CPU time, medians: {machine()}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([asdict(row) for row in found], indent=1))
    else:
        _show(found)
    return 0


if __name__ == "__main__":
    sys.exit(run_main("profile", main))
