"""The coder on a 64-bit Arm processor, emulated: NEON and portable loops give the bytes of this machine's."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coder_cases import SCALES, extreme, gaussian

from basic.runtime import _ans
from basic.runtime.tables import TableArrays, gaussian_tables, to_coder

ROOT = Path(__file__).parents[2]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
SOURCES = ["tests/csrc/cross.cpp", *(f"csrc/{name}.cpp" for name in ("cdf", "dispatch", "latents", "stream"))]
LOOPS = ["csrc/rans_scalar.cpp", "csrc/rans_neon.cpp"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coder alone, for aarch64; skipped where nothing compiles or runs it."""
    for tool in (COMPILER, EMULATOR):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    path = tmp_path_factory.mktemp("cross") / "cross"
    flags = ["-std=c++17", "-O2", "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([COMPILER, *flags, *SOURCES, *LOOPS, "-o", str(path)], cwd=ROOT, check=True)
    return path


def run(
    program: Path, simd: str, tables: TableArrays, symbols: np.ndarray, indexes: np.ndarray, num_lanes: int
) -> subprocess.CompletedProcess[bytes]:
    sizes = len(tables.frequencies), tables.num_tables, tables.precision, len(symbols), num_lanes
    head = np.array([*sizes, symbols.itemsize, indexes.itemsize], np.int32)
    arrays = tables.frequencies, tables.lengths, tables.offsets, symbols.astype(np.int32), indexes.astype(np.int32)
    data = b"".join(array.tobytes() for array in (head, *arrays))
    environment = {**os.environ, "BASIC_SIMD": simd}
    return subprocess.run([EMULATOR, str(program)], input=data, capture_output=True, env=environment, check=False)


def stream_of(program: Path, simd: str, *arguments: Any) -> bytes:
    """What the program writes; it fails where it does not decode that again."""
    result = run(program, simd, *arguments)
    assert (result.returncode, result.stderr.decode()) == (0, simd)
    return result.stdout


@pytest.mark.parametrize("simd", ["neon", "scalar"])
@pytest.mark.parametrize("num_lanes", [0, 1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("kinds", [(np.int32, np.uint8), (np.int16, np.uint16)])
def test_streams_are_ours(program: Path, simd: str, num_lanes: int, kinds: tuple[type, type]) -> None:
    tables = gaussian_tables(SCALES)
    symbols, indexes = gaussian(9001, seed=3, escapes=40)
    if kinds[0] is np.int16:
        symbols = np.clip(symbols, -(2**15), 2**15 - 1)
    symbols, indexes = symbols.astype(kinds[0]), indexes.astype(kinds[1])
    expected = _ans.encode(symbols, indexes, to_coder(tables), num_lanes)
    assert stream_of(program, simd, tables, symbols, indexes, num_lanes) == expected


@pytest.mark.parametrize("precision", [11, 12, 15])
def test_states_at_the_ends_of_their_range(program: Path, precision: int) -> None:
    symbols, indexes, tables = extreme(precision)
    rows = [[1, (1 << precision) - 1], [(1 << precision) - 9, *[1] * 9], [3] * 40 + [(1 << precision) - 120]]
    lengths = np.array([len(row) for row in rows], np.int32)
    arrays = TableArrays(np.concatenate(rows).astype(np.uint16), lengths, np.zeros(3, np.int32), precision)
    expected = _ans.encode(symbols, indexes, tables, 32)
    assert stream_of(program, "neon", arrays, symbols, indexes, 32) == expected


def test_an_instruction_set_that_is_not_here_is_refused(program: Path) -> None:
    result = run(program, "avx2", gaussian_tables(SCALES), *gaussian(100), 1)
    assert result.returncode == 1
    assert b"expected what this processor has (scalar, neon), got avx2" in result.stderr
