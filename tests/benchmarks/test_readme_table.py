"""Laws of the README's numbers: they are the report's, and nothing outside the two comments changes."""

from pathlib import Path

import pytest

from basic.benchmarks.readme_table import END, PLOT, START, main, replace_block
from basic.benchmarks.results import BdRow, BenchError, FitRow, LevelRow, QualityRow, Report, SpeedupRow

CIRCUMSTANCES = {
    "cpu_model": "a processor",
    "threads": 1,
    "versions": {"basic-nic": "0.1.0", "onnxruntime": "1.2.3"},
    "timing_quality": 32,
    "bundle": {"training": {"steps": 12345}},
    "images": {"num_images": 24, "timed_sizes": ["768x512"]},
}


def level_row(level: int, task: str) -> LevelRow:
    times = {"latency_p50_ms": 11.1 + level, "latency_p90_ms": 12.0, "latency_p99_ms": 13.0, "cpu_p50_ms": 14.2 + level}
    parts = {"network_ms": 9.0, "coder_ms": 1.0, "glue_ms": 1.1, "images_per_s": 80.0, "peak_memory_mib": None}
    counts = {"kmacs_per_pixel": 1.0 + level, "num_parameters": 5, "num_groups": 2, "bpp": 0.5, "num_samples": 20}
    return LevelRow("ort", level, task, **counts, **times, **parts)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report of two levels with a plot beside it."""
    made = Report(CIRCUMSTANCES)
    for level in (0, 7):
        made.levels += [level_row(level, "encode"), level_row(level, "decode")]
        made.qualities += [QualityRow("ort", level, q, 24, q / 100 + level / 1000, 30.0 + level, None) for q in (8, 32)]
        made.bd_rates += [BdRow("ort", level, "JPEG", -40.0 - level, ""), BdRow("ort", level, "VTM", None, "apart")]
        made.speedups.append(SpeedupRow("ort", level, "decode", "a peer", 41.0 - level, 1.0))
    fit = (0.25, 0.1, 7.5, 0.1, 0.05, 0.1, 8.0, 20.0, 3.0, 6.0)
    made.fits.append(FitRow("ort", "cpu", "call + macs + bytes", 30, *fit))
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.json").write_text(made.to_json())
    (folder / PLOT).write_bytes(b"plot")
    return folder


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    path = tmp_path / "README.md"
    path.write_text(f"above\n\n{START}\nold\n{END}\n\nbelow\n")
    return path


def test_fills_the_block_and_nothing_else(report: Path, readme: Path) -> None:
    assert main([str(report), str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith(f"above\n\n{START}\n") and text.endswith(f"\n{END}\n\nbelow\n") and "old" not in text
    for line in (
        "| 0 | 2 | 1.00 | 1.00 | 11.1 | 11.1 | 14.2 | 0.320 | 30.00 |",
        "| 7 | 2 | 8.00 | 8.00 | 18.1 | 18.1 | 21.2 | 0.327 | 37.00 |",
        "| 7 | -47 % |",
        f"![latency against MACs](docs/{PLOT})",
    ):
        assert line in text.splitlines()
    prose = " ".join(text.split())
    for words in (
        "level 0 41 times, level 7 34 times",
        "after 12345 training steps",
        "7.5 ms/GMAC",
        "median of 20 runs",
    ):
        assert words in prose
    assert "VTM" not in text
    assert (readme.parent / "docs" / PLOT).read_bytes() == b"plot"


def test_filling_twice_changes_nothing(report: Path, readme: Path) -> None:
    main([str(report), str(readme)])
    once = readme.read_text()
    assert main([str(report), str(readme)]) == 0 and readme.read_text() == once


def test_refuses_a_quality_that_was_not_measured(
    report: Path, readme: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = readme.read_text()
    assert main([str(report), str(readme), "--quality", "33"]) == 1
    assert "8, 32" in capsys.readouterr().err and readme.read_text() == before


@pytest.mark.parametrize("text", ["", START, f"{END} {START}", f"{START} {START} {END}"])
def test_refuses_a_page_without_its_place(text: str) -> None:
    with pytest.raises(BenchError, match="once each"):
        replace_block(text, "numbers")
