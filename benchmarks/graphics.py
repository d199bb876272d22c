"""Rate and quality on what no photograph is: text, flat shapes, patterns and noise, drawn anew from a seed.

    python -m basic.benchmarks.graphics [BUNDLE] [--levels 0,3,7] [--json graphics.json] [--page PAGE]

Real files of every quality beside those of JPEG, WebP and AVIF, in the same run, these with colours at full resolution
where the format has that (WebP halves it). --page fills the place between a
page's two `graphics` comments. Needs the extras `train` (the drawings are those of training) and `bench`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..runtime.codec import Codec
from ..runtime.command import run_main
from ..runtime.errors import BasicError
from ..runtime.files import write_whole
from ..training.graphics import KINDS, Pixels
from .arguments import numbers, positive, qualities
from .curves import bd_rate_percent
from .machine import command_line, machine
from .peers import PILLOW_PEERS, decode_pixels
from .quality import psnr_db
from .readme_table import fill_page, filled, markdown_table
from .results import BenchError, Curve

START, END = "<!-- graphics -->", "<!-- /graphics -->"
SIDE, SEED = 512, 1
FULL_COLOUR: dict[str, tuple[tuple[str, int | str], ...]] = {
    "JPEG": (("subsampling", 0),),
    "AVIF": (("subsampling", "4:4:4"),),
}
PEERS = tuple(
    replace(peer, name=f"{peer.name} 4:4:4", options=(*peer.options, *FULL_COLOUR[peer.name]))
    if peer.name in FULL_COLOUR
    else peer
    for peer in PILLOW_PEERS
)


@dataclass(frozen=True, slots=True)
class GraphicsRow:
    """Means over the drawings of a kind, of one codec ("level 7", or a peer's name) at one quality."""

    kind: str
    codec: str
    quality: int
    bpp: float
    psnr_db: float


def drawings(count: int) -> dict[str, list[Pixels]]:
    """`count` pictures (512, 512, 3) of each kind, the same at every call."""
    return {kind.__name__: [kind(np.random.default_rng((SEED, i)), SIDE) for i in range(count)] for kind in KINDS}


def measure(codec: Codec, levels: Sequence[int], steps: Sequence[int], count: int) -> Iterator[GraphicsRow]:
    """Rows of our levels at qualities `steps`, then of every peer that this Pillow has."""
    for kind, pictures in drawings(count).items():
        for level in levels:
            for quality in steps:
                code = partial(codec.encode, level=level, quality=quality)
                yield _row(kind, f"level {level}", quality, pictures, code, lambda file: np.asarray(codec.decode(file)))
        for peer in PEERS:
            for quality in peer.qualities if peer.available else ():
                code = partial(_encoded, peer.encode, quality)
                yield _row(kind, peer.name, quality, pictures, code, decode_pixels)


def _encoded(encode: Callable[[Image.Image, int], bytes], quality: int, pixels: Pixels) -> bytes:
    return encode(Image.fromarray(pixels), quality)


def _row(
    kind: str,
    codec: str,
    quality: int,
    pictures: Sequence[Pixels],
    encode: Callable[[Pixels], bytes],
    decode: Callable[[bytes], Pixels],
) -> GraphicsRow:
    files = [encode(picture) for picture in pictures]
    bpp = float(np.mean([8 * len(file) / SIDE**2 for file in files]))
    psnr = [min(psnr_db(p, decode(file)), 100.0) for p, file in zip(pictures, files, strict=True)]
    return GraphicsRow(kind, codec, quality, bpp, float(np.mean(psnr)))


def curve(rows: Iterable[GraphicsRow], kind: str, codec: str) -> Curve:
    """Of one kind and codec, by rate; without points that another beats in both."""
    mine: list[GraphicsRow] = []
    for row in sorted((row for row in rows if (row.kind, row.codec) == (kind, codec)), key=lambda row: row.bpp):
        if not mine or row.psnr_db > mine[-1].psnr_db:
            mine.append(row)
    return Curve(codec, "measured here", tuple(row.bpp for row in mine), tuple(row.psnr_db for row in mine))


def table(rows: Sequence[GraphicsRow], quality: int) -> tuple[str, list[str]]:
    """bpp and PSNR of our levels at one quality, BD-rates against the peers that were measured; why some have none."""
    found = {row.codec for row in rows}
    peers = [peer.name for peer in PEERS if peer.name in found]
    lines, reasons = list[Sequence[str]](), list[str]()
    for row in rows:
        if not row.codec.startswith("level") or row.quality != quality:
            continue
        mine = curve(rows, row.kind, row.codec)
        told = []
        for peer in peers:
            rate, note = bd_rate_percent(curve(rows, row.kind, peer), mine.bpp, mine.psnr_db)
            told.append("–" if rate is None else f"{rate:+.0f} %")
            if rate is None:
                reasons.append(f"{row.kind}, {row.codec} against {peer}: {note}")
        lines.append((row.kind, row.codec.removeprefix("level "), f"{row.bpp:.2f}", f"{row.psnr_db:.1f}", *told))
    titles = ("drawings of", "level", "bpp", "PSNR, dB", *(f"against {name}" for name in peers))
    return markdown_table(titles, lines), reasons


def parser() -> argparse.ArgumentParser:
    """All options of the command."""
    made = argparse.ArgumentParser(
        prog="python -m basic.benchmarks.graphics", description=(__doc__ or "").split("\n")[0]
    )
    add = made.add_argument
    add("bundle", nargs="?", type=Path, metavar="BUNDLE", help="a folder or zip; default: the packaged one")
    add("--levels", type=numbers, default=(0, 3, 7), metavar="0,3,7", help="default: 0,3,7")
    add("--qualities", type=qualities, default=(8, 20, 32, 44, 56), metavar="8,32", help="default: 8,20,32,44,56")
    add("--quality", type=int, default=32, metavar="Q", help="whose bpp and PSNR are shown (default: %(default)s)")
    add("--count", type=positive, default=12, metavar="N", help="drawings of each kind (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write rows and circumstances there")
    add("--page", type=Path, metavar="FILE", help="fill the table of this page, as docs/benchmarks.md")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 something could not be measured or written, 2 the command line alone is wrong."""
    args = parser().parse_args(argv)
    if args.quality not in args.qualities:
        parser().error(f"--quality: expected one of --qualities {args.qualities}, got {args.quality}")
    try:
        if args.page:
            filled(args.page, "", START, END)  # or fail at once
        if args.json and not args.json.resolve().parent.is_dir():
            raise BenchError(f"--json {args.json}: expected a folder that is there; make it first")
        with Codec.open(args.bundle, num_threads=1) as codec:
            training = codec.bundle.manifest.get("training")
            rows = list(measure(codec, args.levels, args.qualities, args.count))
        if args.json:
            facts = machine() | {"command": command_line(), "training": training}
            content = {"circumstances": facts, "graphics": [asdict(row) for row in rows]}
            write_whole(args.json, json.dumps(content, indent=1) + "\n")
        shown, reasons = table(rows, args.quality)
        print("\n".join([shown, *reasons]))
        if args.page:
            fill_page(args.page, shown, START, END)
    except (BenchError, BasicError, OSError) as error:
        print(f"graphics: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_main("graphics", main))
