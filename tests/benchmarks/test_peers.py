"""Peers are measured as files that really decode."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basic.benchmarks.images import Photo
from basic.benchmarks.peers import PILLOW_PEERS, CompressAI, decode_pixels, measure_pillow
from basic.benchmarks.results import BenchError

PHOTO = Photo("a.png", np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8))


@pytest.mark.parametrize("peer", [peer for peer in PILLOW_PEERS if peer.available], ids=lambda peer: peer.name)
def test_more_quality_means_more_bytes_and_less_error(peer) -> None:  # type: ignore[no-untyped-def]
    image = Image.fromarray(PHOTO.pixels)
    low, high = (peer.encode(image, quality) for quality in (peer.qualities[0], peer.qualities[-1]))
    assert len(low) < len(high)
    errors = [np.mean((decode_pixels(data).astype(float) - PHOTO.pixels) ** 2) for data in (low, high)]
    assert errors[1] < errors[0]


def test_every_peer_has_a_row_per_quality() -> None:
    steps: list[str] = []
    rows = measure_pillow([PHOTO], steps.append)
    assert len(rows) == len(steps) == sum(len(peer.qualities) for peer in PILLOW_PEERS if peer.available)
    assert all(row.bpp and row.psnr_db and row.encode_p50_ms > 0 and row.decode_cpu_p50_ms > 0 for row in rows)


def test_an_interpreter_without_compressai_is_named(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no module named torch >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(BenchError, match="no module named torch"):
        CompressAI(program, PHOTO, threads=1, warmup=1)
    with pytest.raises(BenchError, match="cannot run"):
        CompressAI(tmp_path / "missing", PHOTO, threads=1, warmup=1)


def test_the_other_interpreter_takes_turns(tmp_path: Path) -> None:
    script = tmp_path / "answers.py"
    script.write_text(
        "import json, sys\n"
        'print(json.dumps({"setting": "fake", "versions": {}}), flush=True)\n'
        "for turn, _ in enumerate(sys.stdin):\n"
        '    print(json.dumps({"encode": [0.1, 0.2], "decode": [turn, 2 * turn]}), flush=True)\n'
    )
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
    program.chmod(0o755)
    with CompressAI(program, PHOTO, threads=1, warmup=1) as rival:
        for _ in range(3):
            rival.turn()
        row = rival.row()
    assert (row.encode_p50_ms, row.encode_cpu_p50_ms) == (100, 200)
    assert (row.decode_p50_ms, row.decode_cpu_p50_ms) == (1000, 2000)
    assert row.setting == "fake, 3 runs"


def test_the_script_for_the_other_interpreter_needs_nothing_of_ours() -> None:
    from basic.benchmarks.peers import COMPRESSAI_SCRIPT

    text = COMPRESSAI_SCRIPT.read_text()
    assert "from ." not in text
    assert "basic" not in {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith("import ")}
    compile(text, str(COMPRESSAI_SCRIPT), "exec")
    assert sys.version_info >= (3, 11)
