"""What exactness costs and that it holds: `python -m basic.benchmarks.exactness [CHECKPOINT] --images DIR [--json]`.

For every level: engines and settings against the integer oracle on many inputs, bits of y against the float networks
the integers came from, and the time of the entropy parts and of a decode against those float networks, in one run.
Needs the train extra (the float networks are the checkpoint's).
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..export.float_graphs import float_context_graph, float_hyper_graph
from ..export.graphs import build_parts, context_graph, hyper_graph
from ..export.integer import quantise
from ..export.slim import Cutter
from ..export.verify import exactness_cost, load_images, reference
from ..runtime.engine_oracle import CLAMPS, Layer, Layers, run_head, run_hyper, run_update, state_out
from ..runtime.groups import Plan, group_channels, pack
from ..training.checkpoint import SHIPPED, load_checkpoint
from ..training.model import Model
from ..training.structure.levels import LevelEntry, default_levels
from .machine import machine

QUALITIES = (4, 20, 36, 52, 63)
ORT_SETTINGS = [(threads, level) for threads in (1, 2) for level in ("ENABLE", "DISABLE")]
TORCH_SETTINGS = [(threads, onednn) for threads in (1, 2) for onednn in (True, False)]
SIZE = 2  # of z_hat in generated inputs
TIMED = (512, 768)

Ints = NDArray[np.int64]
Outputs = list[dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class ExactRow:
    """One level: inputs tried, mismatches by engine setting, bits and time of integer networks over float ones.

    The pixels are those of one latent by onnxruntime and by torch: the largest difference in 8-bit steps, the PSNR
    of one against the other in dB (infinite where all are equal).
    """

    level: int
    num_inputs: int
    mismatches: dict[str, int]
    bits_ratio: dict[int, float]
    entropy_time_ratio: float
    decode_time_ratio: float
    pixel_max_difference: int
    pixel_psnr_db: float


def make_inputs(
    model: Model, entry: LevelEntry, layers: Layers, images: list[Tensor], count: int
) -> Iterator[tuple[Ints, Ints]]:
    """`count` pairs of z_hat and packed y_hat in eighths: crops of real latents, random values, beyond the clamps."""
    rng = np.random.default_rng(7)
    real = []
    for x in images:
        for quality in QUALITIES:
            steps = reference(model, entry.widths, entry.plan, layers, x, quality)
            latent = np.rint(steps[-1][1]["y_hat"] * 8).astype(np.int64)
            real.append((steps[1][1]["z_hat"].astype(np.int64), latent))
    num_hyper, num_packed = model.arch.hyper_channels, 4 * model.arch.latent_channels
    z_shape, y_shape = (1, num_hyper, SIZE, SIZE), (1, num_packed, 2 * SIZE, 2 * SIZE)
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
    state = run_hyper(layers, z_hat)
    found: Outputs = [{"state": state_out(layers, state)}]
    for g in range(len(plan)):
        if g:
            state = run_update(
                layers, plan, g - 1, state, latents[:, group_channels(plan[g - 1], latents.shape[1] // 4)]
            )
        means, indexes = run_head(layers, plan, g, state)
        found.append({"means": means, "indexes": indexes})
    return found


def by_onnxruntime(sessions: list[Any], plan: Plan, z_hat: Ints, latents: Ints) -> Outputs:
    """The same by onnxruntime sessions of the parts."""
    found: Outputs = []
    state: Any = None
    for number, session in enumerate(sessions):
        feed: dict[str, Any] = {"z_hat": z_hat.astype(np.float32)} if number == 0 else {"state": state}
        if number > 1:
            channels = group_channels(plan[number - 2], latents.shape[1] // 4)
            feed["y_hat"] = (latents[:, channels] / 8).astype(np.float32)
        outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))
        state = outputs.pop("state_out", outputs.get("state", state))
        found.append(outputs)
    return found


def by_torch(layers: Layers, plan: Plan, z_hat: Ints, latents: Ints) -> Outputs:
    """The same by torch in float32, channels_last."""
    h = torch.from_numpy(z_hat).float().clamp(-127, 127).contiguous(memory_format=torch.channels_last)
    h = _floored(_conv(h, layers["h_s.spread"]), layers["h_s.spread"], "h_s.spread")
    h = _floored(_conv(h, layers["h_s.depthwise"], True), layers["h_s.depthwise"], "h_s.depthwise")
    state = F.pixel_shuffle(_conv(h, layers["h_s.up"]), 2)
    write = layers["context.write"]
    found: Outputs = [{"state": state_out(layers, state.numpy().astype(np.int64))}]
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
        outputs = {}
        for name, output, dtype in (("mean", "means", np.int16), ("scale", "indexes", np.uint8)):
            layer = layers[f"context.{name}"].rows(channels)
            outputs[output] = _floored(_conv(h, layer), layer, f"context.{name}").numpy().astype(dtype)
        found.append(outputs)
    return found


def _conv(x: Tensor, layer: Layer, depthwise: bool = False) -> Tensor:
    weight = torch.from_numpy(layer.weight.astype(np.float32))
    weight = weight[:, None] if depthwise else weight[:, :, None, None]
    bias = torch.from_numpy(layer.bias.astype(np.float32))
    return F.conv2d(x, weight, bias, padding=int(depthwise), groups=len(weight) if depthwise else 1)


def _floored(acc: Tensor, layer: Layer, name: str) -> Tensor:
    unit = torch.exp2(torch.from_numpy(layer.shift.astype(np.float32)))[:, None, None]
    return ((acc + unit / 2 + 0.5) / unit).floor().clamp(*CLAMPS[name])


def count_mismatches(layers: Layers, entry: LevelEntry, inputs: list[tuple[Ints, Ints]]) -> dict[str, int]:
    """Setting -> number of inputs on which any output of any part differs from the oracle."""
    graphs = [hyper_graph(layers), *(context_graph(layers, entry.plan, g) for g in range(len(entry.plan)))]
    data = [graph.serialize() for graph in graphs]
    runs: dict[str, Callable[[Ints, Ints], Outputs]] = {}
    for threads, level in ORT_SETTINGS:
        sessions = [_session(part, threads, level) for part in data]
        runs[f"onnxruntime, {threads} threads, optimisations {level.lower()}d"] = (
            lambda z, y, sessions=sessions: by_onnxruntime(sessions, entry.plan, z, y)  # type: ignore[misc]
        )
    for threads, onednn in TORCH_SETTINGS:
        name = f"torch float32 channels_last, {threads} threads, oneDNN {'on' if onednn else 'off'}"
        runs[name] = lambda z, y, t=threads, o=onednn: _with_torch(t, o, lambda: by_torch(layers, entry.plan, z, y))  # type: ignore[misc]
    found = dict.fromkeys(runs, 0)
    for z_hat, latents in inputs:
        want = by_oracle(layers, entry.plan, z_hat, latents)
        for name, run in runs.items():
            got = run(z_hat, latents)
            same = all(np.array_equal(g[key], w[key]) for g, w in zip(got, want, strict=True) for key in w)
            found[name] += not same
    return found


def _with_torch(threads: int, onednn: bool, call: Callable[[], Outputs]) -> Outputs:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.mkldnn.flags(enabled=onednn):
            return call()
    finally:
        torch.set_num_threads(before)


def _session(data: bytes, threads: int, level: str = "ENABLE") -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}_ALL")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def time_ratios(model: Model, entry: LevelEntry, layers: Layers, repeats: int) -> tuple[float, float]:
    """CPU time of integer over float networks, one thread, 768x512: entropy parts, and these with synthesis."""
    cut = Cutter(model, entry.widths)
    integer = [part.data for part in build_parts(model, entry.widths, entry.plan, layers)[1:]]
    floating = [float_hyper_graph(cut), *(float_context_graph(cut, entry.plan, g) for g in range(len(entry.plan)))]
    sessions = {
        "integer": [_session(data, 1) for data in integer[:-1]],
        "float": [_session(graph.serialize(), 1) for graph in floating],
        "synthesis": [_session(integer[-1], 1)],
    }
    times: dict[str, list[float]] = {name: [] for name in sessions}
    feeds = {name: [_feed(session) for session in opened] for name, opened in sessions.items()}
    for round_number in range(repeats + 2):
        for name, opened in sessions.items():
            started = time.process_time()
            for session, feed in zip(opened, feeds[name], strict=True):
                session.run(None, feed)
            if round_number > 1:
                times[name].append(time.process_time() - started)
    pairs = list(zip(times["integer"], times["float"], times["synthesis"], strict=True))
    return statistics.median(i / f for i, f, _ in pairs), statistics.median((i + s) / (f + s) for i, f, s in pairs)


def pixel_differences(model: Model, entry: LevelEntry, layers: Layers, images: list[Tensor]) -> tuple[int, float]:
    """8-bit pixels by onnxruntime against torch, from equal latents: largest difference, PSNR of one to the other."""
    part = build_parts(model, entry.widths, entry.plan, layers)[-1]
    session = _session(part.data, 1)
    largest, total, count = 0, 0, 0
    for x in images:
        _, inputs, outputs = reference(model, entry.widths, entry.plan, layers, x)[-1]
        a, b = (np.rint(v * 255).astype(np.int64) for v in (session.run(None, inputs)[0], outputs["x_hat"]))
        largest, total, count = max(largest, int(abs(a - b).max())), total + int(((a - b) ** 2).sum()), count + a.size
    return largest, 10 * math.log10(255**2 * count / total) if total else math.inf


def _feed(session: Any) -> dict[str, NDArray[np.float32]]:
    strides = {"height_64": 64, "height_32": 32, "height_16": 16}
    rng = np.random.default_rng(0)
    found = {}
    for port in session.get_inputs():
        stride = strides.get(port.shape[2])
        size = (1, 1) if stride is None else (TIMED[0] // stride, TIMED[1] // stride)
        found[port.name] = np.rint(rng.normal(0, 3, (1, port.shape[1], *size))).astype(np.float32)
    return found


def measure(args: argparse.Namespace) -> list[ExactRow]:
    """Rows of the levels asked for, each written to --json as soon as it is there; progress on stderr."""
    model = load_checkpoint(args.checkpoint).model
    entries = default_levels(model.arch, 8)
    calibration, images = load_images(args.calibration), load_images(args.images, args.num_images)
    rows = []
    for level in (int(word) for word in args.levels.split(",")):
        entry = entries[level]
        layers, _ = quantise(model, entry.widths, entry.plan, calibration)
        inputs = list(make_inputs(model, entry, layers, images[:2], args.num_inputs))
        wrong = count_mismatches(layers, entry, inputs)
        ratios = {q: exactness_cost(model, entry.widths, entry.plan, layers, images, q) for q in QUALITIES}
        times = time_ratios(model, entry, layers, args.repeats)
        pixels = pixel_differences(model, entry, layers, images[:4])
        rows.append(ExactRow(level, len(inputs), wrong, ratios, *times, *pixels))
        print(f"level {level}: {rows[-1]}", file=sys.stderr, flush=True)
        if args.json:
            args.json.write_text(
                json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
            )
    return rows


def main(argv: list[str] | None = None) -> int:
    """0 where every setting equals the oracle, 1 where one does not."""
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("checkpoint", nargs="?", default=SHIPPED)
    p.add_argument("--images", required=True, help="photographs to count bits on")
    p.add_argument("--calibration", help="photographs to calibrate on (default: those of basic-export)")
    p.add_argument("--num-images", type=int, default=24)
    p.add_argument("--levels", default="0,1,2,3,4,5,6,7")
    p.add_argument("--num-inputs", type=int, default=200)
    p.add_argument("--repeats", type=int, default=15)
    p.add_argument("--json", type=Path, help="write the rows and the machine there")
    args = p.parse_args(argv)
    rows = measure(args)
    return int(any(count for row in rows for count in row.mismatches.values()))


if __name__ == "__main__":
    sys.exit(main())
