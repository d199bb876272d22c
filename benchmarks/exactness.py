"""That the entropy path is exact on every engine here, and what that costs, of a bundle's every level:

    python -m basic.benchmarks.exactness [BUNDLE] [--checkpoint FILE] --images kodak --json exactness.json --page PAGE

Engines and settings run the integer networks on many inputs against the oracle; the cost is that of `basic-bench
--exactness`. --page fills the place between a page's two `exactness` comments. Needs the extra `train`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..runtime import _ans
from ..runtime.bundle import Bundle, Level
from ..runtime.codec import Codec
from ..runtime.command import run_main
from ..runtime.engine import TRANSFORMS, Session
from ..runtime.engine_onnx import start as start_onnx
from ..runtime.engine_oracle import run_parts, state_out
from ..runtime.errors import BasicError
from ..runtime.files import write_whole
from ..runtime.groups import NUM_PHASES, Plan, group_channels, pack
from ..runtime.integer import parts_of
from ..runtime.layers import CLAMPS, Layer, Layers, layers_from_arrays
from ..runtime.tiles import UNIT
from .arguments import numbers, positive
from .exact_cost import Pair, open_pair, open_session, pixel_rows, rate_rows, time_rows
from .images import Photo, load_photos, same_size
from .machine import command_line, images_used, machine, package_versions
from .readme_table import fill_page, markdown_table
from .results import BenchError, ExactRateRow, ExactTimeRow, PixelRow, Row, flat
from .run import Settings

START, END = "<!-- exactness -->", "<!-- /exactness -->"
ORT_SETTINGS = [(threads, optimised) for threads in (1, 2) for optimised in (True, False)]
TORCH_SETTINGS = [(threads, onednn) for threads in (1, 2) for onednn in (True, False)]
SIZE = 2  # of z_hat in inputs
BATCH = 10  # inputs at once
PHOTOS = 2  # whose latents are among the inputs

Ints = NDArray[np.int64]
Outputs = list[dict[str, NDArray[Any]]]
Run = Callable[[dict[str, Any]], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class ExactRow:
    """One level: inputs tried, and on how many of them each engine and setting differs from the oracle."""

    level: int
    num_inputs: int
    mismatches: dict[str, int]


@dataclass(frozen=True)
class Found:
    """Everything measured, rows in order of levels."""

    exact: list[ExactRow]
    rates: list[ExactRateRow]
    times: list[ExactTimeRow]
    pixels: list[PixelRow]

    def as_lists(self) -> dict[str, list[dict[str, Any]]]:
        """Flat objects for JSON, under the table names of a report."""
        tables: dict[str, Sequence[Row]] = {
            "exact_rates": self.rates,
            "exact_times": self.times,
            "pixel_differences": self.pixels,
        }
        rows = {name: [flat(row) for row in table] for name, table in tables.items()}
        return {"exact": [asdict(row) for row in self.exact]} | rows


def real_latents(codec: Codec, level: int, photos: Sequence[Photo]) -> list[tuple[Ints, Ints]]:
    """z_hat (1, C, h, w) and y_hat in eighths (1, M, 4h, 4w) of photographs at several qualities."""
    analysis: Session = start_onnx(1).open(codec.bundle, level, "analysis")
    found = []
    for photo in photos:
        height, width = (side // UNIT * UNIT for side in photo.pixels.shape[:2])
        if min(height, width) < SIZE * UNIT:
            raise BenchError(f"images: expected at least {SIZE * UNIT} pixels a side, {photo.name} is {photo.size}")
        pixels = photo.pixels[:height, :width]
        x = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
        for quality in Settings.qualities:
            z = analysis.run({"x": x, "gain": codec.bundle.gain(quality)})["z"]
            data = codec.encode(Image.fromarray(pixels), level=level, quality=quality)
            found.append((np.rint(z).astype(np.int64), codec.decode_latents(data)[None].astype(np.int64)))
    return found


def make_inputs(real: list[tuple[Ints, Ints]], count: int) -> Iterator[tuple[Ints, Ints]]:
    """`count` pairs of z_hat and packed y_hat in eighths: crops of real latents, random values, beyond the clamps."""
    rng = np.random.default_rng(7)
    z_shape = (1, real[0][0].shape[1], SIZE, SIZE)
    y_shape = (1, NUM_PHASES * real[0][1].shape[1], 2 * SIZE, 2 * SIZE)
    for i in range(count):
        if i % 3 == 0:
            z, y = real[i // 3 % len(real)]
            top, left = (int(rng.integers(n - SIZE + 1)) for n in z.shape[2:])
            cut = y[:, :, 4 * top : 4 * (top + SIZE), 4 * left : 4 * (left + SIZE)]
            yield z[:, :, top : top + SIZE, left : left + SIZE], pack(cut)
        elif i % 3 == 1:
            yield rng.integers(-60, 61, z_shape), np.rint(rng.laplace(0, 60, y_shape)).astype(np.int64)
        else:
            yield rng.choice([-500, -127, 0, 127, 500], z_shape), rng.choice([-9000, -1020, -4, 4, 1020, 9000], y_shape)


def by_oracle(layers: Layers, plan: Plan, z_hat: Ints, latents: Ints) -> Outputs:
    """Outputs of hyper and of every context."""
    channels = [group_channels(group, latents.shape[1] // NUM_PHASES) for group in plan]
    return [outputs for _, _, outputs in run_parts(layers, plan, z_hat, lambda group, _: latents[:, channels[group]])]


def by_parts(parts: Sequence[Run], plan: Plan, z_hat: Ints, latents: Ints) -> Outputs:
    """The same by the parts of an engine: hyper, then the contexts in order."""
    found: Outputs = []
    state: Any = None
    for number, run in enumerate(parts):
        feed: dict[str, Any] = {"z_hat": z_hat.astype(np.float32)} if number == 0 else {"state": state}
        if number > 1:
            channels = group_channels(plan[number - 2], latents.shape[1] // NUM_PHASES)
            feed["y_hat"] = np.ascontiguousarray(latents[:, channels] / 8, np.float32)
        outputs = run(feed)
        state = outputs.get("state_out", outputs.get("state", state))
        found.append(outputs)
    return found


def in_onnxruntime(graph: bytes, threads: int, optimised: bool) -> Run:
    """A part as onnxruntime runs its graph."""
    session = open_session(graph, threads, optimised)
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(None, feed), strict=True))


def by_torch(layers: Layers, plan: Plan, z_hat: Ints, latents: Ints) -> Outputs:
    """The same by torch in float32, channels_last, from the layers."""
    h = torch.from_numpy(z_hat).float().clamp(-127, 127).contiguous(memory_format=torch.channels_last)
    h = _floored(_conv(h, layers["h_s.spread"]), layers["h_s.spread"], "h_s.spread")
    h = _floored(_conv(h, layers["h_s.depthwise"], True), layers["h_s.depthwise"], "h_s.depthwise")
    state = F.pixel_shuffle(_conv(h, layers["h_s.up"]), 2)
    write = layers["context.write"]
    found: Outputs = [{"state": _sent(layers, state)}]
    for g in range(len(plan)):
        if g:
            channels = group_channels(plan[g - 1], latents.shape[1] // 4)
            y = torch.from_numpy(latents[:, channels] / 8).float()
            read = layers["context.read"].rows(channels)
            h = _floored(_conv((y + 0.5).floor().clamp(-127, 127), read, True), read, "context.read")
            bias = write.bias[list(plan[g - 1])].sum(0, dtype=np.int32)
            state = state + _conv(h, Layer(write.weight[:, channels], bias, write.shift))
        h = _floored(state, write, "context.state")
        for name in ("first", "depthwise", "second"):
            layer = layers[f"context.{name}"]
            h = _floored(_conv(h, layer, name == "depthwise"), layer, f"context.{name}")
        channels = group_channels(plan[g], latents.shape[1] // 4)
        outputs: dict[str, NDArray[Any]] = {}
        for name, output, dtype in (("mean", "means", np.int16), ("scale", "indexes", np.uint8)):
            layer = layers[f"context.{name}"].rows(channels)
            outputs[output] = _floored(_conv(h, layer), layer, f"context.{name}").numpy().astype(dtype)
        if 0 < g < len(plan) - 1:
            outputs["state_out"] = _sent(layers, state)
        found.append(outputs)
    return found


def _sent(layers: Layers, state: Tensor) -> NDArray[np.float32]:
    return state_out(layers, state.numpy().astype(np.int64))


def _conv(x: Tensor, layer: Layer, depthwise: bool = False) -> Tensor:
    weight = torch.from_numpy(layer.weight.astype(np.float32))
    weight = weight[:, None] if depthwise else weight[:, :, None, None]
    bias = torch.from_numpy(layer.bias.astype(np.float32))
    return F.conv2d(x, weight, bias, padding=int(depthwise), groups=len(weight) if depthwise else 1)


def _floored(acc: Tensor, layer: Layer, name: str) -> Tensor:
    unit = torch.exp2(torch.from_numpy(layer.shift.astype(np.float32)))[:, None, None]
    return ((acc + unit / 2 + 0.5) / unit).floor().clamp(*CLAMPS[name])


def count_mismatches(
    layers: Layers, plan: Plan, graphs: Sequence[bytes], inputs: Sequence[tuple[Ints, Ints]]
) -> dict[str, int]:
    """Setting -> number of inputs on which any output of any part differs from the oracle."""
    settings: dict[str, list[Run]] = {}
    for threads, optimised in ORT_SETTINGS:
        name = f"onnxruntime, {threads} threads, optimisations {'on' if optimised else 'off'}"
        settings[name] = [in_onnxruntime(graph, threads, optimised) for graph in graphs]
    for kernels, threads in product(_ans.integer_kernels(), (1, 2)):
        loops = parts_of(layers, plan, kernels).values()
        settings[f"integer loops, {kernels}, {threads} threads"] = [partial(p.run, num_threads=threads) for p in loops]
    runs: dict[str, Callable[[Ints, Ints], Outputs]] = {
        name: partial(by_parts, parts, plan) for name, parts in settings.items()
    }
    for threads, onednn in TORCH_SETTINGS:
        name = f"torch float32 channels_last, {threads} threads, oneDNN {'on' if onednn else 'off'}"
        runs[name] = lambda z, y, t=threads, o=onednn: _with_torch(t, o, lambda: by_torch(layers, plan, z, y))  # type: ignore[misc]
    found = dict.fromkeys(runs, 0)
    for start in range(0, len(inputs), BATCH):
        z_hat, latents = (np.concatenate(each) for each in zip(*inputs[start : start + BATCH], strict=True))
        want = by_oracle(layers, plan, z_hat, latents)
        for name, run in runs.items():
            found[name] += _num_different(run(z_hat, latents), want)
    return found


def _num_different(got: Outputs, want: Outputs) -> int:
    """Of the inputs of a batch; all where names or shapes differ."""
    different = np.zeros(len(want[0]["state"]), bool)
    for g, w in zip(got, want, strict=True):
        for name in g.keys() | w.keys():
            if name not in g or name not in w or g[name].shape != w[name].shape:
                return len(different)
            different |= (g[name] != w[name]).any(axis=(1, 2, 3))
    return int(different.sum())


def _with_torch(threads: int, onednn: bool, call: Callable[[], Outputs]) -> Outputs:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.mkldnn.flags(enabled=onednn):
            return call()
    finally:
        torch.set_num_threads(before)


def exact_row(codec: Codec, entry: Level, photos: Sequence[Photo], num_inputs: int) -> ExactRow:
    """Every engine and setting against the oracle at one level of the codec's bundle."""
    bundle = codec.bundle
    layers = layers_from_arrays(bundle.entropy_arrays(entry.level), str(bundle.path))
    graphs = [bundle.read(part.file) for name, part in entry.parts.items() if name not in TRANSFORMS]
    inputs = list(make_inputs(real_latents(codec, entry.level, photos[:PHOTOS]), num_inputs))
    return ExactRow(entry.level, len(inputs), count_mismatches(layers, entry.plan, graphs, inputs))


def measure(pair: Pair, levels: Sequence[int], photos: Sequence[Photo], num_inputs: int, repeats: int) -> Found:
    """Exactness and its cost at every level; progress on stderr."""
    found = Found([], [], [], [])
    timed = same_size(photos, 1)[0]
    for level in levels:
        _say(f"level {level}: {num_inputs} inputs against the oracle")
        found.exact.append(exact_row(pair.exact, pair.exact.bundle.level(level), photos, num_inputs))
        found.rates.extend(rate_rows(pair, [level], Settings.qualities, photos, _say))
        found.times.extend(time_rows(pair, [level], timed, Settings.timing_quality, repeats, _say))
        found.pixels.extend(pixel_rows(pair, [level], photos, Settings.timing_quality, _say))
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def markdown(found: Found) -> str:
    """The table of a page: one line per level."""
    qualities = list(dict.fromkeys(row.quality for row in found.rates))
    titles = ("level", "inputs", "mismatches", "bytes at quality " + " / ".join(map(str, qualities)))
    lines = []
    for exact, time, pixel in zip(found.exact, found.times, found.pixels, strict=True):
        costs = " / ".join(f"{row.cost_percent:+.2f} %" for row in found.rates if row.level == exact.level)
        psnr = "equal" if np.isinf(pixel.psnr_db) else f"{pixel.max_difference}, {pixel.psnr_db:.0f} dB"
        ratios = (f"{time.entropy_ratio:.2f}", f"{time.decode_ratio:.2f}")
        counts = (str(exact.level), str(exact.num_inputs), str(sum(exact.mismatches.values())))
        lines.append((*counts, costs, *ratios, psnr))
    return markdown_table((*titles, "entropy time", "decode time", "pixels of two engines"), lines)


def main(argv: list[str] | None = None) -> int:
    """0 where every setting equals the oracle, 1 where one does not or the work failed."""
    args = parser().parse_args(argv)
    try:
        bundle = Bundle.open(args.bundle)
        photos = load_photos(args.images, args.limit)
        levels = args.levels or sorted(bundle.levels)
        pair = open_pair(bundle, args.checkpoint, levels, num_threads=1)
        with closing(pair.exact), closing(pair.floating):
            found = measure(pair, levels, photos, args.num_inputs, args.repeats)
        facts = (
            {"command": command_line()}
            | machine()
            | {"torch": package_versions(("torch",)), "images": images_used(photos, same_size(photos, 1))}
        )
        facts |= {
            "bundle": bundle.path.name,
            "checkpoint": pair.checkpoint,
            "training": bundle.manifest.get("training"),
            "threads": 1,
        }
        if args.json:
            write_whole(args.json, json.dumps(facts | found.as_lists(), indent=1, allow_nan=False) + "\n")
        table = markdown(found)
        if args.page:
            fill_page(args.page, table, START, END)
    except (BasicError, OSError) as error:
        _say(f"exactness: {error}")
        return 1
    print(table)
    return int(any(count for row in found.exact for count in row.mismatches.values()))


def parser() -> argparse.ArgumentParser:
    """All options of the command."""
    made = argparse.ArgumentParser(prog="python -m basic.benchmarks.exactness", description="Exactness and its cost.")
    add = made.add_argument
    add("bundle", nargs="?", type=Path, metavar="BUNDLE", help="a folder or zip; default: the packaged one")
    add("--checkpoint", type=Path, metavar="FILE", help="what the bundle was exported from (default: the shipped one)")
    add("--images", type=Path, required=True, metavar="DIR", help="photographs whose files are counted")
    add("--limit", type=positive, metavar="N", help="use the first N images only")
    add("--levels", type=numbers, metavar="0,3,7", help="default: all")
    add("--num-inputs", type=positive, default=200, metavar="N", help="against the oracle (default: %(default)s)")
    add("--repeats", type=positive, default=20, metavar="N", help="pairs of timed decodes (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write rows and circumstances there")
    add("--page", type=Path, metavar="FILE", help="fill the table of this page, as docs/benchmarks.md")
    return made


if __name__ == "__main__":
    sys.exit(run_main("exactness", main))
