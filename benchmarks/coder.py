"""Speed and size of the entropy coder, on every instruction set that is here and beside peers that are installed.

What a newcomer gets wrong: timing the core alone. These are whole calls from Python, arrays in and bytes out, in CPU
seconds of one thread (rows of several threads: in wall seconds, beside one thread in the same run). Symbols are decoded
into an array that is there before, as the codec does it: the system takes a third of the time to give 40 MB afresh. The
workloads are 10 M symbols rint(scale * normal) under 64 scales; the overhead is against the exact mass of each symbol
under its Gaussian.

A small group is 5000 symbols. `group` says what of: "chunk", a part of a continuing stream, as the codec codes the
groups of a tile (encoding writes every group into the tile's arrays, which are then coded at once; decoding is a call a
group; a tile of 1024x1024 pixels has 790 000 symbols, here 150 groups); "stream", a stream of its own with the lanes
that suit its size; "stream of 16 lanes", the same with 8 bytes more.

    python -m basic.benchmarks.coder --json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import erfc, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from ..runtime import _ans
from ..runtime.command import run_main
from ..runtime.tables import gaussian_tables, to_coder
from .coder_peers import PEERS, Peer
from .machine import command_line, machine

SIMDS = ("scalar", "avx2", "avx512", "neon")
OWN = "basic"
GROUPS_OF_A_TILE = 150
NUM_STREAMS = 16
"""Of a workload that threads share."""


Array = npt.NDArray[Any]


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
    """One coder on one workload. group_size 0: everything in one call; else groups of so many symbols, see above.

    speedup: with num_threads, each coding streams of its own, over one thread; 0 where nobody measured it.
    """

    coder: str
    simd: str
    workload: str
    num_symbols: int
    group: str
    group_size: int
    num_threads: int
    encode_msymbols_per_s: float
    decode_msymbols_per_s: float
    overhead_percent: float
    encode_speedup: float = 0.0
    decode_speedup: float = 0.0


@dataclass(frozen=True)
class Case:
    """What a row is about: a coder, a workload, and the size of its groups."""

    coder: str
    workload: str
    num_symbols: int
    group: str = ""
    group_size: int = 0

    def row(
        self, times: tuple[float, float], ratio: float, num_threads: int = 1, speedups: tuple[float, float] = (0, 0)
    ) -> Row:
        """From seconds to encode and to decode, and bytes over exact bytes."""
        return Row(
            coder=self.coder,
            simd=_ans.simd() if self.coder == OWN else "",
            workload=self.workload,
            num_symbols=self.num_symbols,
            group=self.group,
            group_size=self.group_size,
            num_threads=num_threads,
            encode_msymbols_per_s=round(self.num_symbols / times[0] / 1e6, 1),
            decode_msymbols_per_s=round(self.num_symbols / times[1] / 1e6, 1),
            overhead_percent=round(100 * (ratio - 1), 4),
            encode_speedup=round(speedups[0], 2),
            decode_speedup=round(speedups[1], 2),
        )


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
    """This coder: one call for everything, groups as chunks of one stream, groups as streams, streams in threads."""
    symbols, indexes = workload.draw(num_symbols)
    tables = to_coder(gaussian_tables(workload.scales()))
    exact = workload.entropy_bytes(symbols, indexes)
    decoded = np.empty_like(symbols)
    groups = _cut(np.arange(group_size, num_symbols, group_size), symbols, indexes)
    tiles = [groups[first : first + GROUPS_OF_A_TILE] for first in range(0, len(groups), GROUPS_OF_A_TILE)]
    stream = _ans.encode(symbols, indexes, tables)

    def row(encode: Callable[[], object], decode: Callable[[], object], num_bytes: int, group: str, size: int) -> Row:
        times = seconds(encode, repeats), seconds(decode, repeats)
        return Case(OWN, workload.name, num_symbols, group, size).row(times, num_bytes / exact)

    room = GROUPS_OF_A_TILE * group_size
    whole: tuple[Array, Array] = (np.empty(room, symbols.dtype), np.empty(room, indexes.dtype))

    def encode_chunks() -> list[bytes]:
        found = []
        for tile in tiles:
            end = 0
            for group in tile:
                run = slice(end, end + len(group[0]))
                whole[0][run], whole[1][run] = group[:2]
                end = run.stop
            found.append(_ans.encode(whole[0][:end], whole[1][:end], tables))
        return found

    streams_of_tiles = encode_chunks()

    def decode_chunks() -> None:
        for tile, data in zip(tiles, streams_of_tiles, strict=True):
            decoder = _ans.Decoder(data, tables)
            for _, group, result in tile:
                decoder.decode(group, result)
            decoder.finish()

    yield row(
        lambda: _ans.encode(symbols, indexes, tables),
        lambda: _ans.Decoder(stream, tables).decode(indexes, decoded),
        len(stream),
        "",
        0,
    )
    yield row(encode_chunks, decode_chunks, sum(map(len, streams_of_tiles)), "chunk", group_size)
    for num_lanes, name in ((0, "stream"), (16, "stream of 16 lanes")):
        streams = [_ans.encode(*group[:2], tables, num_lanes) for group in groups]

        def encode_streams(num_lanes: int = num_lanes) -> None:
            for group in groups:
                _ans.encode(*group[:2], tables, num_lanes)

        def decode_streams(streams: list[bytes] = streams) -> None:
            for (_, group, result), data in zip(groups, streams, strict=True):
                _ans.Decoder(data, tables).decode(group, result)

        yield row(encode_streams, decode_streams, sum(map(len, streams)), name, group_size)
    yield _threads_row(workload, (symbols, indexes), tables, exact, repeats)


def _cut(at: Array, symbols: Array, indexes: Array) -> list[tuple[Array, Array, Array]]:
    """Parts of symbols and indexes that end at `at`, and of an array for what is decoded."""
    arrays = symbols, indexes, np.empty_like(symbols)
    return list(zip(*(np.split(array, at) for array in arrays), strict=True))


def _threads_row(
    workload: Workload,
    arrays: tuple[Array, Array],
    tables: _ans.Tables,
    exact: float,
    repeats: int,
    num_threads: int = 2,
    passes: int = 5,
) -> Row:
    """The workload as NUM_STREAMS streams: two threads take half of them each; one thread takes them all.

    Several passes: the system takes some milliseconds to give a second thread its processor.
    """
    num_symbols = len(arrays[0])
    parts = _cut(np.arange(1, NUM_STREAMS) * (num_symbols // NUM_STREAMS), *arrays)
    streams = [_ans.encode(*part[:2], tables) for part in parts]

    def encode(share: range) -> None:
        for k in share:
            _ans.encode(*parts[k % NUM_STREAMS][:2], tables)

    def decode(share: range) -> None:
        for k in share:
            _ans.Decoder(streams[k % NUM_STREAMS], tables).decode(*parts[k % NUM_STREAMS][1:])

    numbers = range(NUM_STREAMS * passes)
    shares = [numbers[first::num_threads] for first in range(num_threads)]
    with ThreadPoolExecutor(num_threads) as executor:

        def calls(work: Callable[[range], None]) -> tuple[Callable[[], object], Callable[[], object]]:
            return lambda: work(numbers), lambda: list(executor.map(work, shares))

        times = [wall_seconds(calls(work), repeats) for work in (encode, decode)]
    case = Case(OWN, workload.name, num_symbols, "stream", num_symbols // NUM_STREAMS)
    (encode_one, encode_s), (decode_one, decode_s) = ([total / passes for total in pair] for pair in times)
    speedups = encode_one / encode_s, decode_one / decode_s
    return case.row((encode_s, decode_s), sum(map(len, streams)) / exact, num_threads, speedups)


def wall_seconds(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median wall seconds of several calls that take turns, after one unmeasured run of each."""
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(repeats + 1):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if repeat:
                found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in times]


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
    return Case(name, workload.name, num_symbols).row((encode_s, decode_s), ratio)


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
    sys.exit(run_main("coder", main))
