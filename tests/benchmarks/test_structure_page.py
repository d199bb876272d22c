"""Laws of the structure page: every figure is the reports', and nothing outside the marked blocks changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from basic.benchmarks.structure_page import BLOCKS, PLOTS, main, marks

QUALITIES = [4, 60]


def gain(rate: float | None, psnr: float) -> dict[str, Any]:
    rates = [None, None, None] if rate is None else [rate, rate - 1, rate + 1]
    names = ("bd_rate_percent", "bd_rate_low_percent", "bd_rate_high_percent")
    values = {"bd_psnr_db": psnr, "bd_psnr_low_db": psnr - 0.1, "bd_psnr_high_db": psnr + 0.1}
    return dict(zip(names, rates, strict=True)) | values | {"overlap": 0.9}


def row(comparison: str, ours: str, theirs: str, groups: tuple[int, int], rate: float | None, psnr: float) -> dict:
    macs = {"ours_kmacs_per_pixel": 2.0, "theirs_kmacs_per_pixel": 2.25}
    counts = {"ours_groups": groups[0], "theirs_groups": groups[1]}
    names = {"comparison": comparison, "ours": ours, "theirs": theirs}
    return names | macs | counts | {"gain": gain(rate, psnr), "won": psnr > 0.1}


def control(error: float, count: int, reach: float = 21.0) -> dict[str, Any]:
    return {"largest_error_percent": error, "error_percent": [error] * count, "reach": reach}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    uniform = "learned against uniform"
    plan = "learned plan against hand-made"
    rows = [row(uniform, f"learned level {i}", f"uniform level {i}", (1, 2), -3.0 * i, 0.2 * i) for i in range(4)]
    rows += [row(plan, "learned 2", other, (2, n), -1.5, 0.05) for other, n in (("checkerboard", 2), ("one group", 1))]
    rows += [row("full scheme against AR only", "full scheme for AR only 0", "AR only 0", (2, 3), None, 1.25)]
    curve = {"bpp": [0.2, 1.0], "psnr_db": [30.0, 38.0], "kmacs_per_pixel": 1.0, "groups": 1}
    curves = {"one group": curve, "learned 2": curve | {"bpp": [0.198, 0.97]}}
    curves["learned level 3"] = curve | {"psnr_db": [29.5, 36.0]}
    controls = {"learned": control(0.18, 8), "uniform": control(0.69, 8), "AR only": control(0.1, 8, 1.11)}
    controls |= {"learned, 64 budgets": control(0.25, 64), "uniform, 64 budgets": control(2.58, 64)}
    about = {"qualities": QUALITIES, "training": 777, "images": {"num_images": 24}}
    folder = tmp_path / "report"
    folder.mkdir()
    content = {"circumstances": about, "rows": rows, "control": controls, "curves": curves}
    (folder / "structure.json").write_text(json.dumps(content))
    for name in PLOTS.values():
        (folder / name).write_bytes(b"plot")
    held_out = {"percent": -12.34, "low": -13.0, "high": -11.0}
    trade_off = {"level": 1, "quality": 6.0, "groups": 2, "entropy_share": 0.2}
    trade_off |= {"entropy_gain_percent": 0.056, "backbone_gain_percent": 0.024}
    notes = {"num_crops": 12, "trade_off": [trade_off]}
    notes["levels"] = [{"level": i, "against_uniform": held_out} for i in range(4)]
    (tmp_path / "table.json").write_text(json.dumps({"architecture": "other", "notes": notes | {"sizes": {}}}))
    structure = {"name": "learned 3", "measured_ms": 27.1, "foretold_ms": 27.4, "error_percent": 1.1}
    errors = {"mean_error_percent": 2.2, "largest_error_percent": 9.2, "rows": 31, "within_limit": 31}
    (tmp_path / "check.json").write_text(json.dumps(errors | {"limit_percent": 10.0, "structures": [structure]}))
    budgets = {"num_encodes": 95, "num_decodes": 90, "encodes_in_budget": 94, "decodes_in_budget": 89}
    (tmp_path / "budgets.json").write_text(json.dumps(budgets | {"encode_share": 0.989, "decode_share": 0.988}))
    return folder


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    path = tmp_path / "docs" / "structure.md"
    path.write_text("above\n" + "".join("{}\nold\n{}\nbetween\n".format(*marks(name)) for name in BLOCKS) + "below\n")
    return path


def run(report: Path, page: Path) -> int:
    beside = report.parent
    files = ["--table", beside / "table.json", "--latency", beside / "check.json", "--budgets", beside / "budgets.json"]
    return main([str(argument) for argument in (report, page, *files)])


def test_every_block_is_filled_and_nothing_else_changes(report: Path, page: Path) -> None:
    assert run(report, page) == 0
    text = page.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and "\nold\n" not in text
    assert text.count("between\n") == len(BLOCKS)
    for line in (
        "| 3 | 2.00 / 2.25 | 1 / 2 | -12.3 % [-13.0, -11.0] | -9.0 % [-10.0, -8.0] | +0.60 dB [+0.50, +0.70] | yes |",
        "| 2 | checkerboard | -1.50 % [-2.50, -0.50] | +0.050 dB [-0.050, +0.150] | no |",
        "| AR only | 2.00 / 2.25 | 2 / 3 | no common range | +1.25 dB [+1.15, +1.35] | yes |",
        "| AR-only control (fixed backbone) | +1.25 dB | yes |",
        "| backbone-only control | not measured | – |",
        "| bits with 2 groups instead of one | -1.00 % | -3.00 % |",
        "| PSNR of level 3, below full widths | -0.50 dB | -2.00 dB |",
        "| 1 | 6 | 2 | 20 % | 0.056 % | 0.024 % |",
        "| learned 3 | 27.1 | 27.4 | +1.1 % |",
    ):
        assert line in text, line
    for words in ("by weights of 777 steps", "1.11 times", "(98.9 %)", "(uniform 2.58 %)"):
        assert words in text
    for name in PLOTS.values():
        assert (page.parent / name).read_bytes() == b"plot" and f"]({name})" in text


def test_a_page_without_its_marks_is_refused_and_kept(
    report: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page.write_text("nothing here\n")
    assert run(report, page) == 1 and page.read_text() == "nothing here\n"
    assert "measured: levels" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["report/structure.json", "table.json", "check.json"])
def test_a_damaged_report_is_refused(report: Path, page: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = report.parent / file
    damaged.write_text("{")
    assert run(report, page) == 1 and damaged.name in capsys.readouterr().err
