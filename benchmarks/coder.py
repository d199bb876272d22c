"""Speed and size of the entropy coder, on every instruction set that is here and beside peers that are installed.

What a newcomer gets wrong: timing the core alone. These are whole calls from Python, arrays in and bytes out, in CPU
seconds of one thread. The workloads are 10 M symbols rint(scale * normal) under 64 scales; the overhead is against the
exact mass of each symbol under its Gaussian.

    python -m basic.benchmarks.coder --json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import erfc, sqrt

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from ..runtime import _ans
from ..runtime.tables import gaussian_tables, to_coder
from .coder_peers import PEERS, Peer
from .machine import command_line, machine

SIMDS = ("scalar", "avx2", "avx512")


@dataclass(frozen=True)
class Workload:
    """64 scales, log-spaced from 0.11; index uniform, or falling off as in latents."""

    name: str
    largest_scale: float
    falls_off: bool

    def scales(self) -> npt.NDArray[np.float64]:
        return np.geomspace(0.11, self.largest_scale, 64)

    def draw(self, num_symbols: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """(symbols, indexes), each (num_symbols,)."""
        rng = np.random.default_rng(1)
        shares = np.exp(-np.arange(64) / 9) if self.falls_off else np.ones(64)
        indexes = rng.choice(64, num_symbols, p=shares / shares.sum()).astype(np.uint8)
        symbols = np.rint(self.scales()[indexes] * rng.standard_normal(num_symbols))
        return symbols.astype(np.int32), indexes

    def entropy_bytes(self, symbols: npt.NDArray[np.int32], indexes: npt.NDArray[np.uint8]) -> float:
        """Exact cost of these symbols: -log2 of each one's mass under its Gaussian."""
        keys, numbers = np.unique(np.abs(symbols).astype(np.int64) << 8 | indexes, return_counts=True)
        counts = {(int(key & 255), int(key >> 8)): int(number) for key, number in zip(keys, numbers, strict=True)}
        scales = self.scales() * sqrt(2)
        return sum(-n * float(np.log2(_mass(distance, scales[k]))) for (k, distance), n in counts.items()) / 8


WORKLOADS = (Workload("U64", 64, False), Workload("U16", 16, False), Workload("S16", 16, True))


def _mass(distance: int, scale: float) -> float:
    if distance == 0:
        return 1 - erfc(0.5 / scale)
    return 0.5 * (erfc((distance - 0.5) / scale) - erfc((distance + 0.5) / scale))


@dataclass(frozen=True)
class Row:
    """One coder on one workload. group_size 0: everything in one call; else calls of so many symbols."""

    coder: str
    simd: str
    workload: str
    num_symbols: int
    group_size: int
    encode_msymbols_per_s: float
    decode_msymbols_per_s: float
    overhead_percent: float


def make_row(
    coder: str, simd: str, workload: str, num_symbols: int, group_size: int, times: tuple[float, float], ratio: float
) -> Row:
    """From seconds to encode and to decode, and bytes over exact bytes."""
    encode_speed, decode_speed = (round(num_symbols / total / 1e6, 1) for total in times)
    overhead = round(100 * (ratio - 1), 4)
    return Row(coder, simd, workload, num_symbols, group_size, encode_speed, decode_speed, overhead)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of a call after one unmeasured run."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def own_rows(workload: Workload, num_symbols: int, group_size: int, repeats: int) -> Iterator[Row]:
    """This coder: one call for everything, then in groups as a codec codes them (encoding: each group a stream)."""
    symbols, indexes = workload.draw(num_symbols)
    tables = to_coder(gaussian_tables(workload.scales()))
    exact = workload.entropy_bytes(symbols, indexes)
    cuts = np.arange(group_size, num_symbols, group_size)
    groups = list(zip(np.split(symbols, cuts), np.split(indexes, cuts), strict=True))
    stream = _ans.encode(symbols, indexes, tables)

    def decode_groups() -> None:
        decoder = _ans.Decoder(stream, tables)
        for _, group in groups:
            decoder.decode(group)
        decoder.finish()

    def encode_groups() -> list[bytes]:
        return [_ans.encode(*group, tables) for group in groups]

    def row(encode: Callable[[], object], decode: Callable[[], object], size: int, num_bytes: int) -> Row:
        times = seconds(encode, repeats), seconds(decode, repeats)
        return make_row("basic", _ans.simd(), workload.name, num_symbols, size, times, num_bytes / exact)

    def encode() -> bytes:
        return _ans.encode(symbols, indexes, tables)

    yield row(encode, lambda: _ans.Decoder(stream, tables).decode(indexes), 0, len(stream))
    yield row(encode_groups, decode_groups, group_size, sum(map(len, encode_groups())))


def peer_rows(workload: Workload, num_symbols: int, repeats: int) -> Iterator[Row]:
    """Other coders where they are installed."""
    for name, make in PEERS.items():
        peer = make(workload.scales())
        if peer is not None:
            yield peer_row(name, peer, workload, num_symbols, repeats)


def peer_row(name: str, peer: Peer, workload: Workload, num_symbols: int, repeats: int) -> Row:
    """One peer, whole calls; raises ValueError where it does not give back what went in."""
    symbols, indexes = workload.draw(num_symbols)
    stream = peer.encode(symbols, indexes)
    if not np.array_equal(peer.decode(stream, indexes), symbols):
        raise ValueError(f"{name}: decoded symbols differ from the encoded ones")
    encode_s = seconds(lambda: peer.encode(symbols, indexes), repeats)
    decode_s = seconds(lambda: peer.decode(stream, indexes), repeats)
    ratio = peer.num_bytes(stream) / workload.entropy_bytes(symbols, indexes)
    return make_row(name, "", workload.name, num_symbols, 0, (encode_s, decode_s), ratio)


def rows_of(simd: str, arguments: argparse.Namespace) -> list[Row]:
    """The rows of one instruction set, from a process of its own; none where the processor lacks it."""
    options = [f"--{name}={getattr(arguments, name)}" for name in ("symbols", "group", "repeats")]
    command = [sys.executable, "-m", "basic.benchmarks.coder", "--worker", *options]
    environment = {**os.environ, "BASIC_SIMD": simd}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "what this processor has" in result.stderr:
        return []
    if result.returncode:
        raise RuntimeError(f"{simd}: {result.stderr.strip()}")
    return [Row(**row) for row in json.loads(result.stdout)]


def _show(rows: list[Row]) -> None:
    table = Table(*(name.replace("_", " ") for name in Row.__dataclass_fields__))
    for row in rows:
        table.add_row(*(str(value) for value in asdict(row).values()))
    Console().print(table)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 0 when everything ran."""
    parser = argparse.ArgumentParser(prog="python -m basic.benchmarks.coder", description="Speed of the entropy coder.")
    parser.add_argument("--symbols", type=int, default=10_000_000, help="of each workload (default %(default)s)")
    parser.add_argument("--peer-symbols", type=int, default=1_000_000, help="the same for peers (default %(default)s)")
    parser.add_argument("--group", type=int, default=5000, help="symbols of a small group (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs; the median counts (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        found = [r for w in WORKLOADS for r in own_rows(w, arguments.symbols, arguments.group, arguments.repeats)]
        print(json.dumps([asdict(row) for row in found]))
        return 0
    rows = [row for simd in SIMDS for row in rows_of(simd, arguments)]
    rows += [row for w in WORKLOADS for row in peer_rows(w, arguments.peer_symbols, arguments.repeats)]
    print(f"{command_line()}: CPU seconds of one thread, median of {arguments.repeats}: {machine()}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
