"""`basic-export`: checkpoint + level table -> bundle, every part checked against the model before it is kept."""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from .. import __version__
from ..runtime.bundle import FORMAT, FORMAT_VERSION, NUM_QUALITIES, Bundle, content_id
from ..runtime.engine import TRANSFORMS
from ..runtime.entropy_file import complete, lean
from ..runtime.errors import BasicError
from ..runtime.groups import plan_arrays
from ..runtime.layers import ACCUMULATOR_LIMIT, Bound, Layers, layers_to_arrays
from ..runtime.tables import TableArrays, build_tables, join, scale_mixture_tables
from ..runtime.trt_build import beside_folder
from ..training.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from ..training.complexity import part_macs
from ..training.entropy import scale_table
from ..training.model import Model
from ..training.nodes import Architecture
from ..training.structure.levels import (
    MAX_LEVELS,
    LevelEntry,
    cut_levels,
    default_levels,
    load_learned,
    load_table,
)
from .calibration import Calibration, LevelRanges, calibration_path, kept_beside
from .conformance import expected_digests, make_inputs
from .graphs import build_parts
from .int8 import CHOICES, int8_transforms, transform_ranges, wide_transforms
from .integer import calibrate, check_exact_ops, quantise
from .slim import gain_tables, z_pmfs
from .to_onnx import OPSET, count_macs_per_pixel
from .to_tensorrt import ENGINES, build_engines, level_numbers, open_engine
from .verify import Difference, Int8LossError, exactness_cost, load_images, verify_level
from .writer import BundleWriter, save_arrays

Z_REACH = 128
NUM_SILENT = 6
"""Standard deviations up to 0.18: what coding such a symbol would win for the picture is less than its bits
(docs/coder.md, "Why so")."""
MACS_TOLERANCE = 1e-9


@dataclass(frozen=True)
class LevelReport:
    """What the checks of a level found; `cost` is bits of y by integer networks over bits by the float ones."""

    differences: list[Difference]
    bounds: list[Bound]
    cost: float
    left_float: list[str]  # why a transform that could be in int8 is not


def receptive_field(arch: Architecture) -> dict[str, int]:
    """How far an output can see, in image pixels to one side, at the full level (y and z; x_hat)."""
    trunks = 8 * arch.num_blocks8 + 16 * arch.num_blocks16
    analysis = trunks + 8 + 16 + 32  # blocks, g_a's stride, h_a's two
    return {"analysis": analysis + 64, "synthesis": trunks + 16}


def entropy_arrays(tables: TableArrays, entry: LevelEntry, layers: Layers) -> dict[str, NDArray[Any]]:
    """What defines a level's entropy path, and nothing else: tables, plan and integer layers."""
    return tables.to_arrays() | layers_to_arrays(layers) | plan_arrays(entry.plan)


def export_level(
    writer: BundleWriter,
    model: Model,
    number: int,
    entry: LevelEntry,
    tables: TableArrays,
    images: list[Any],
    calibration: Calibration,
    int8: str = "none",
) -> tuple[dict[str, Any], LevelReport]:
    """Quantise, build, check, count, verify and write one level; returns its manifest entry and what was found. Ranges
    that `calibration` lacks are measured on the images and put into it, with what the images say of int8."""
    ranges = calibration.of(entry) or LevelRanges(calibrate(model, entry.widths, entry.plan, images), {})
    wide = wide_transforms(entry.widths, int8)
    decided = set(ranges.transforms)
    missing = [name for name in wide if name not in decided]
    ranges.transforms.update(transform_ranges(model, entry.widths, images, missing))
    calibration.put(entry, ranges)
    layers, bounds = quantise(model, entry.widths, ranges.entropy, entry.plan)
    in_int8 = int8_transforms(model, entry.widths, {n: ranges.transforms[n] for n in wide if ranges.transforms[n]})
    left_float = [f"{name}: decided when its ranges were kept" for name in wide if not ranges.transforms[name]]
    while True:
        parts = build_parts(model, entry.widths, entry.plan, layers, in_int8)
        try:
            differences = verify_level(model, entry.widths, entry.plan, layers, parts, images, decided)
            break
        except Int8LossError as error:  # with these weights and widths the part is better off in float
            if error.part in decided:
                raise ValueError(
                    f"level {number}: {error.reason}, with the ranges in {calibration.path}; export with --int8 none, "
                    "or with --images for other ranges, which give other entropy ids"
                ) from error
            del in_int8[error.part]
            ranges.transforms[error.part] = {}
            left_float.append(error.reason)
    for part in parts:
        if part.name not in TRANSFORMS:
            check_exact_ops(part.data)
    expected = part_macs(model.arch, entry.widths, entry.plan)
    cost = exactness_cost(model, entry.widths, entry.plan, layers, images)
    entries = {}
    for part in parts:
        counted = count_macs_per_pixel(part.data, part.stride)
        if abs(counted - expected[part.name]) > MACS_TOLERANCE * expected[part.name]:
            raise ValueError(
                f"level {number}, {part.name}: {counted} multiplications a pixel in the graph, {expected[part.name]} "
                "in closed form; the graph and training/complexity.py must agree"
            )
        file = f"level_{number}/{part.name}.onnx"
        ports = onnx.load_from_string(part.data).graph
        entries[part.name] = {
            "file": file,
            "sha256": writer.add(file, part.data),
            "kmacs_per_pixel": round(counted / 1000, 6),
            "num_parameters": part.num_parameters,
            "precision": part.precision,
            "inputs": [_port(value) for value in ports.input],
            "outputs": [_port(value) for value in ports.output],
        }
    arrays = entropy_arrays(tables, entry, layers)
    kept, entropy_id = lean(arrays, entry.plan), content_id(arrays)
    files = {part.name: part.data for part in parts}
    if content_id(complete(kept, entry.plan, files.__getitem__, f"level {number}")) != entropy_id:
        raise ValueError(f"level {number}: its ONNX parts and entropy.npz do not give its entropy path back")
    file = f"level_{number}/entropy.npz"
    entropy = {"file": file, "sha256": writer.add(file, save_arrays(kept)), "entropy_id": entropy_id.hex()}
    vectors = make_inputs(model.arch.hyper_channels, 4 * model.arch.latent_channels)
    file = "conformance.npz"
    writer.add(file, save_arrays(vectors))
    conformance = {"file": file, "sha256": expected_digests(layers, entry.plan, vectors)}
    widths = {node.name: entry.widths[node.name] for node in model.arch.nodes}
    manifest = {"level": number, "widths": widths, "plan": [list(group) for group in entry.plan]}
    return manifest | {"parts": entries, "entropy": entropy, "conformance": conformance}, LevelReport(
        differences, bounds, cost, left_float
    )


def export(
    checkpoint: Checkpoint,
    entries: list[LevelEntry],
    only: list[int],
    output: str | Path,
    images: list[Any],
    console: Console,
    int8: str = "transforms",
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Write the bundle of the levels `only` of a table; returns a summary. Ranges of activations are measured on the
    images, and put into `calibration`, where that lacks them."""
    calibration = calibration or Calibration("")
    model = checkpoint.model
    scales = scale_table().numpy()
    z_tables = build_tables(list(z_pmfs(model, Z_REACH)), [-Z_REACH] * model.arch.hyper_channels)
    tables = replace(join(scale_mixture_tables(scales), z_tables), num_silent=NUM_SILENT)
    gain, inverse_gain = gain_tables(model)
    report = Table(
        "level", "groups", "kMAC/pixel", "parameters", "transforms to torch", "tightest bound", "exactness costs"
    )
    with BundleWriter(output) as writer:
        writer.add("quality.npz", save_arrays({"gain": gain, "inverse_gain": inverse_gain}))
        levels = []
        for number in only:
            console.print(f"level {number}: building and checking on {len(images)} images")
            level, found = export_level(writer, model, number, entries[number], tables, images, calibration, int8)
            for reason in found.left_float:
                console.print(f"level {number}: {reason}: it stays in float")
            levels.append(level)
            _report_level(report, level, found)
        size = writer.finish(_manifest(checkpoint, len(entries), levels))
    console.print(report)
    return {"bundle": str(output), "num_bytes": size, "levels": only}


def _manifest(checkpoint: Checkpoint, num_levels: int, levels: list[dict[str, Any]]) -> dict[str, Any]:
    arch = checkpoint.model.arch
    known = {key: checkpoint.training[key] for key in ("steps", "steps_before") if key in checkpoint.training}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": arch.name,
        "made_by": f"basic-nic {__version__}",
        "opset": OPSET,
        "training": known,
        "latent_channels": arch.latent_channels,
        "hyper_channels": arch.hyper_channels,
        "receptive_field": receptive_field(arch),
        "num_levels": num_levels,
        "levels": levels,
        "quality": {"file": "quality.npz", "num_qualities": NUM_QUALITIES},
    }


def _report_level(report: Table, level: dict[str, Any], found: LevelReport) -> None:
    parts = level["parts"].values()
    int8 = {name for name, part in level["parts"].items() if part["precision"] == "int8"}
    floats = [d for d in found.differences if d.part in TRANSFORMS and d.part not in int8]
    told = [f"{d.largest:.1e} in {d.part} {d.output}" for d in sorted(floats, key=lambda d: -d.largest)[:1]]
    told += [f"int8 {d.part} {d.output} off by {d.rms:.3f}" for d in found.differences if d.rms]
    told += [f"int8 {d.part} {-d.loss_db:+.3f} dB" for d in found.differences if d.loss_db]
    tightest = max(found.bounds, key=lambda b: b.largest)
    report.add_row(
        str(level["level"]),
        str(len(level["plan"])),
        f"{sum(p['kmacs_per_pixel'] for p in parts):.2f}",
        f"{sum(p['num_parameters'] for p in parts):,}",
        ", ".join(told),
        f"{tightest.largest / ACCUMULATOR_LIMIT:.3f} x 2^22, {tightest.layer}",
        f"{found.cost - 1:+.2%} bits of y",
    )


def _port(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return {"name": value.name, "dtype": dtype, "shape": [d.dim_value or d.dim_param for d in tensor.shape.dim]}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="basic-export", description=(__doc__ or "").splitlines()[0])
    p.add_argument("checkpoint", nargs="?", default=SHIPPED, help="checkpoint file (default: the shipped one)")
    p.add_argument(
        "-o", "--output", required=True, help="bundle to write: a folder, or one file ending in .bundle or .zip"
    )
    p.add_argument("--version", action="version", version=f"%(prog)s (basic-nic) {__version__}")
    table = p.add_mutually_exclusive_group()
    table.add_argument("--levels", type=int, default=8, help="number of complexity levels, 1 to 64 (default 8)")
    table.add_argument("--table", help="level table (JSON) instead of the learned one that comes along")
    p.add_argument("--uniform", action="store_true", help="levels of evenly scaled widths instead of learned ones")
    p.add_argument("--only", help="write a subset of the levels, as in 0,3,7")
    p.add_argument("--engine", choices=ENGINES, help="build engine files for this machine's GPU too, beside the bundle")
    p.add_argument(
        "--int8",
        choices=list(CHOICES),
        help="transforms to write in 8-bit integers for processors, where the level is wide enough to gain (default: "
        "transforms; none with --engine, since GPU engines take float)",
    )
    p.add_argument(
        "--images",
        help="folder of photographs to calibrate and check on (default: ranges kept beside the checkpoint, where there "
        "are some, and photographs that come along)",
    )
    p.add_argument(
        "--keep-calibration",
        action="store_true",
        help="write the ranges that were found beside the checkpoint: later exports take them, so that their bundles "
        "decode each other's files",
    )
    return p


def _chosen(text: str | None, count: int) -> list[int]:
    if text is None:
        return list(range(count))
    chosen = level_numbers(text)
    if chosen[0] < 0 or chosen[-1] >= count:
        raise ValueError(f"--only: expected numbers from 0 to {count - 1}, got {text!r}")
    return chosen


def _check(args: argparse.Namespace) -> None:
    """Options that are wrong whatever the checkpoint and the table end the command with 2."""
    if args.engine and args.int8 not in (None, "none"):
        parser().error(f"--int8 {args.int8}: expected none with --engine {args.engine}, which takes float transforms")
    if args.table and args.uniform:
        parser().error("--uniform: not with --table, which has levels of its own")
    if args.table:
        return
    try:
        if not 1 <= args.levels <= MAX_LEVELS:
            raise ValueError(f"--levels: expected 1 to {MAX_LEVELS}, got {args.levels}")
        _chosen(args.only, args.levels)
    except ValueError as error:
        parser().error(str(error))


def _entries(args: argparse.Namespace, arch: Architecture, console: Console) -> list[LevelEntry]:
    """The levels asked for; says where there are no learned ones."""
    if args.table:
        return load_table(args.table, arch)
    if args.uniform:
        return default_levels(arch, args.levels)
    learned = load_learned(arch)
    if learned is None:
        console.print("no learned levels for a model of these sizes: uniform ones; basic-search finds a table")
        return default_levels(arch, args.levels)
    return cut_levels(learned, arch, args.levels)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `basic-export`: 0 done, 1 bad input or a part that does not equal the model, 2 wrong options."""
    args = parser().parse_args(argv)
    _check(args)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 140)
    try:
        engine = None if args.engine is None else open_engine(beside_folder(Path(args.output)))  # or fail at once
        checkpoint = load_checkpoint(args.checkpoint)
        arch = checkpoint.model.arch
        int8 = args.int8 or ("none" if args.engine else "transforms")
        entries = _entries(args, arch, console)
        calibration = (Calibration.empty if args.images else Calibration.beside)(args.checkpoint)
        if calibration.levels:
            console.print(f"ranges of activations: {calibration_path(args.checkpoint)}, where it has a level")
        elif calibration.others:
            console.print(
                f"{calibration.others} is of other weights and not used: ranges of activations are measured on the "
                "photographs that come along"
            )
        chosen, images = _chosen(args.only, len(entries)), load_images(args.images)
        summary = export(checkpoint, entries, chosen, args.output, images, console, int8, calibration)
        if args.keep_calibration:
            replaced, others = calibration.replaces(args.checkpoint), kept_beside(args.checkpoint).others
            console.print(f"ranges of activations kept in {calibration.save(args.checkpoint)}")
            if others:
                console.print("what stood there, of other weights or not to be read here, is gone")
            if replaced:
                console.print(
                    f"ranges of {replaced} levels were others before: bundles exported with those have other entropy "
                    "ids, and neither decodes the other's files"
                )
        if engine is not None:
            bundle = Bundle.open(args.output)
            summary["engines"] = build_engines(engine, bundle, sorted(bundle.levels))
            engine.close()
    except (ValueError, OSError, BasicError) as error:
        print(f"basic-export: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
