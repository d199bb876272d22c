"""Laws of the curve in checkpoints/README.md: the report's points, the references at the same rate, nothing else."""

from pathlib import Path

import pytest
from sample_report import full_report

from basic.benchmarks.curve_table import END, START, main, psnr_at
from basic.benchmarks.results import Curve

CURVE = Curve("JPEG", "made up", (0.25, 0.5, 1.0), (28.0, 32.0, 36.0))


def test_between_points_it_is_linear_over_log_rate_and_outside_unknown() -> None:
    assert psnr_at(CURVE, 0.5) == pytest.approx(32.0)
    assert psnr_at(CURVE, 0.5**0.5) == pytest.approx(34.0)
    assert psnr_at(CURVE, 0.2) is None and psnr_at(CURVE, 1.1) is None


def test_fills_the_block_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, page = tmp_path / "report", tmp_path / "checkpoints" / "README.md"
    for folder in (report, page.parent, tmp_path / "docs"):
        folder.mkdir()
    made = full_report()
    (report / "report.json").write_text(made.to_json())
    (report / "rate_distortion.png").write_bytes(b"picture")
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    assert main([str(report), str(page), "--levels", "1", "0"]) == 0
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", START] and lines[-2:] == [END, "after"] and "old" not in lines
    rows = [line.split(" | ") for line in lines[4:-2]]
    assert [row[0] for row in rows] == ["| 1", "| 1", "| 0", "| 0"]
    points = {(row.level, row.quality): (row.bpp, row.psnr_db) for row in made.qualities}
    for row in rows:
        bpp, psnr_db = points[int(row[0][2:]), int(row[1])]
        assert (row[2], row[3]) == (f"{bpp:.3f}", f"{psnr_db:.2f}")
    assert (tmp_path / "docs" / "rate_distortion.png").read_bytes() == b"picture"
    assert main([str(report), str(page), "--levels", "5"]) == 1
    assert "level 5" in capsys.readouterr().err
