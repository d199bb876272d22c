"""A report says the same in JSON, CSV, on the terminal and in one page that needs nothing else."""

import csv
import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console
from sample_report import full_report

from basic.benchmarks import plots
from basic.benchmarks.report import print_report, say, views, write_files
from basic.benchmarks.results import REPORT_FORMAT, BenchError, QualityRow, Report, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib")
    path = tmp_path_factory.mktemp("report")
    write_files(full_report(), path)
    return path


def test_json_holds_every_row_and_the_circumstances() -> None:
    report = full_report()
    read = json.loads(report.to_json())
    assert read["format"] == REPORT_FORMAT
    assert read["circumstances"] == report.circumstances
    for name, rows in report.tables().items():
        assert len(read[name]) == len(rows)
    assert read["levels"][0]["latency_p50_ms"] == report.levels[0].latency_p50_ms


def test_empty_tables_are_left_out() -> None:
    assert set(json.loads(Report({"threads": 1}).to_json())) == {"format", "format_version", "circumstances"}
    assert views(Report({})) == []


def test_a_perfect_image_is_no_invalid_json() -> None:
    report = Report({}, qualities=[QualityRow("ort", 0, 63, 1, 2.0, float("inf"), 1.0)])
    assert json.loads(report.to_json())["qualities"][0]["psnr_db"] is None


def test_csv_holds_one_file_per_table(folder: Path) -> None:
    report = full_report()
    for name, rows in report.tables().items():
        with (folder / f"{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(rows)


def test_every_row_is_on_the_terminal() -> None:
    report = full_report()
    text = io.StringIO()
    print_report(report, Console(file=text, width=200))
    shown = text.getvalue()
    for view in views(report):
        assert view.title in shown
    assert "basic-bench <b> & more [x]" in shown
    assert len(views(report)) == len(report.tables())


def test_the_page_is_self_contained(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    found: list[tuple[str, str | None]] = []

    class Finder(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            found.extend(item for item in attributes if item[0] in ("src", "href"))

    Finder().feed(page)
    assert len(found) == 4
    assert all((target or "").startswith("data:image/png;base64,") for _, target in found)
    assert not re.search(r"https?://|<script|@import", page)
    assert "basic-bench &lt;b&gt; &amp; more" in page


def test_the_latency_plot_shows_both_fits_with_their_errors() -> None:
    pytest.importorskip("matplotlib")
    report = full_report()
    left, right = plots._latency(report).axes
    fit = report.fits[-1]
    assert fit.bytes_ms_per_mib is not None
    (fitted,) = [line for line in left.get_lines() if "ms/MiB" in str(line.get_label())]
    assert f"mean error {fit.part_mean_error_percent:.0f} %" in str(fitted.get_label())
    for part, shown in zip(report.parts, fitted.get_ydata(), strict=True):
        costs = part.num_macs / 1e9 * fit.macs_ms_per_gmac + part.traffic_bytes / 2**20 * fit.bytes_ms_per_mib
        assert shown == pytest.approx(fit.call_ms + costs)
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert f"network by a + b MACs + c bytes, ± {fit.level_mean_error_percent:.0f} %" in names


def test_plots_are_pictures(folder: Path) -> None:
    for name in ("overview", "latency_macs", "rate_distortion", "time_shares"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_without_rates_draws_what_it_has(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_files(replace(full_report(), qualities=[], shares=[], fits=[]), tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"latency_macs", "time_shares"}


def test_without_matplotlib_all_but_the_plots_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = full_report()
    page = write_files(report, tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"report.json", "report.html"} | {f"{name}.csv" for name in report.tables()}
    assert all(view.title in page.read_text() for view in views(report)) and "<img" not in page.read_text()
    with pytest.raises(BenchError, match=r"basic-nic\[bench\]"):
        plots.draw(report, tmp_path)


def test_a_line_of_the_log_is_not_cut(tmp_path: Path) -> None:
    text = io.StringIO()
    line = f"wrote [red]{tmp_path}[/red] " + "x" * 200
    say(Console(file=text, width=80), line)
    assert text.getvalue() == line + "\n"


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BenchError, match="expected a folder to write to, found a file"):
            make_folder(path)
    assert (tmp_path / "file").read_text() == "mine"
