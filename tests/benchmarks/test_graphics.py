"""Laws of the benchmark on drawings: real files, the same pictures at every run, BD-rates from one run's rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from basic.benchmarks import graphics
from basic.benchmarks.graphics import GraphicsRow, curve, drawings, table


def test_drawings_are_the_same_at_every_call() -> None:
    first, second = drawings(2), drawings(3)
    assert list(first) == ["pattern", "text", "shapes", "noise"]
    assert all(np.array_equal(a, b) for kind in first for a, b in zip(first[kind], second[kind], strict=False))
    assert not np.array_equal(*first["text"])


def test_a_table_has_bd_rates_against_what_was_measured() -> None:
    """Half the bytes at equal PSNR is -50 %; what does not meet is a dash."""
    rows = [GraphicsRow("text", "level 3", q, 0.5 * 2**i, 25.0 + i) for i, q in enumerate((8, 32, 56))]
    rows += [GraphicsRow("text", "WebP", i, 2.0**i, 25.0 + i) for i in range(3)]
    rows += [GraphicsRow("text", "WebP", 9, 3.0, 25.5)]  # beaten in both by the second
    rows += [GraphicsRow("text", "JPEG 4:4:4", i, 2.0**i, 5.0 + i) for i in range(3)]
    shown, reasons = table(rows, 32)
    lines = shown.splitlines()
    assert lines[0] == "| drawings of | level | bpp | PSNR, dB | against JPEG 4:4:4 | against WebP |"
    assert lines[2] == "| text | 3 | 1.00 | 26.0 | – | -50 % |"
    assert curve(rows[::-1], "text", "WebP").bpp == (1.0, 2.0, 4.0)
    assert reasons == ["text, level 3 against JPEG 4:4:4: only 0% of the PSNR range is common"]


def test_the_command_fills_a_page(tmp_path: Path, bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before {graphics.START} old {graphics.END} after")
    options = ["--levels", "0", "--qualities", "8,32", "--count", "1", "--json", str(tmp_path / "rows.json")]
    assert graphics.main([str(bundle_path), *options, "--page", str(page)]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["graphics"]
    ours = [row for row in rows if row["codec"] == "level 0"]
    assert {row["kind"] for row in ours} == {"pattern", "text", "shapes", "noise"} and len(ours) == 8
    text = page.read_text()
    assert "old" not in text and text.startswith("before") and text.endswith("after")
    assert f"{ours[1]['bpp']:.2f}" in text
    assert graphics.main([str(tmp_path / "none.bundle"), *options]) == 1
    page.write_text("no comments")
    for wrong in (["--page", str(page)], ["--json", str(tmp_path / "none" / "rows.json")]):  # before any work
        assert graphics.main([str(bundle_path), "--count", "999999", *wrong]) == 1
    assert "graphics: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        graphics.main(["--qualities", "8", "--quality", "32"])
