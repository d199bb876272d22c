"""What a run measured, for people: tables on the terminal and one HTML file that needs nothing else."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..runtime.files import write_whole
from .plots import draw, has_matplotlib
from .results import Report

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class View:
    """One table as people read it: column titles with units, and cells as text."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def views(report: Report) -> list[View]:
    """Every table of a report that has rows, in reading order."""
    makers = (_levels, _parts, _qualities, _bd_rates, _peers, _speedups, _throughputs, _device_parts, _fits, _shares)
    exactness = (_exact_rates, _exact_times, _pixel_differences)
    return [view for view in (make(report) for make in (*makers, *exactness)) if view.rows]


def print_report(report: Report, console: Console) -> None:
    """Circumstances and tables on a terminal."""
    for key, value in describe(report.circumstances):
        console.print(f"[bold]{escape(key)}[/bold]: {escape(value)}", highlight=False)
    for view in views(report):
        note = escape(view.note) or None
        table = Table(title=view.title, caption=note, title_justify="left", caption_justify="left")
        for i, column in enumerate(view.columns):
            table.add_column(escape(column), justify="left" if i == 0 else "right")
        for row in view.rows:
            table.add_row(*map(escape, row))
        console.print(table)


def write_files(report: Report, folder: Path) -> Path:
    """report.json, a CSV per table, report.html, and the plots where matplotlib is; returns the page."""
    write_whole(folder / "report.json", report.to_json())
    report.write_csv(folder)
    page = folder / "report.html"
    write_html(report, draw(report, folder) if has_matplotlib() else [], page)
    return page


def say(log: Console, text: str, style: str | None = None) -> None:
    """A line of the log as it is: a path is not cut in two, brackets are no markup."""
    log.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def write_html(report: Report, plots: Sequence[Path], path: Path) -> None:
    """One self-contained page: circumstances, plots as embedded PNG, tables."""
    facts = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in _facts(report))
    images = "".join(_figure(plot) for plot in plots)
    tables = "".join(_html_table(view) for view in views(report))
    write_whole(
        path,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>basic-bench</title><style>{_STYLE}</style>'
        f"<body><h1>basic-bench</h1><dl>{facts}</dl>{images}{tables}</body></html>\n",
    )


def describe(circumstances: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Circumstances as (name, text), nested ones flattened to one line."""
    return [(key.replace("_", " "), _text(value)) for key, value in circumstances.items() if value is not None]


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{font-weight:600}dd{margin:0}"
    "table{border-collapse:collapse;margin:.5rem 0 2rem}td,th{padding:.2rem .7rem;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}figure{margin:1rem 0}"
    "img{max-width:100%}p{color:#555;max-width:60rem}"
)


def _facts(report: Report) -> list[tuple[str, str]]:
    return describe(report.circumstances)


def _figure(plot: Path) -> str:
    data = base64.b64encode(plot.read_bytes()).decode("ascii")
    return f'<figure><img alt="{html.escape(plot.stem)}" src="data:image/png;base64,{data}"></figure>'


def _html_table(view: View) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in view.columns)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in view.rows)
    note = f"<p>{html.escape(view.note)}</p>" if view.note else ""
    return f"<h2>{html.escape(view.title)}</h2><table><tr>{head}</tr>{rows}</table>{note}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return str(value)


def _view(title: str, note: str, columns: str, rows: Sequence[Sequence[Cell]]) -> View:
    """Columns are separated by " | "."""
    texts = tuple(tuple(_number(cell) for cell in row) for row in rows)
    return View(title, note, tuple(columns.split(" | ")), texts)


def _number(cell: Cell) -> str:
    """Three significant digits, more where the number is larger; a dash for what was not measured."""
    if cell is None:
        return "–"
    if not isinstance(cell, float):
        return str(cell)
    if cell == 0:
        return "0"
    for limit, digits in ((100.0, 0), (10.0, 1), (1.0, 2), (0.0, 3)):
        if abs(cell) >= limit:
            return f"{cell:.{digits}f}"
    return str(cell)


def _levels(report: Report) -> View:
    return _view(
        "Encode and decode, whole images",
        "Wall time; CPU is processor time of the whole process. Network, coder and glue are medians.",
        "engine | level | task | groups | kMAC/pixel | parameters | bpp | p50 ms | p90 ms | p99 ms | CPU ms | "
        "network ms | coder ms | glue ms | images/s | peak MiB",
        [
            (
                row.engine, row.level, row.task, row.num_groups, row.kmacs_per_pixel, row.num_parameters, row.bpp,
                row.latency_p50_ms, row.latency_p90_ms, row.latency_p99_ms, row.cpu_p50_ms, row.network_ms,
                row.coder_ms, row.glue_ms, row.images_per_s, row.peak_memory_mib,
            )
            for row in report.levels
        ],
    )  # fmt: skip


def _throughputs(report: Report) -> View:
    return _view(
        "Images from host to host, by size and batch",
        "Coder included; a batch is one call. Energy is the GPU's.",
        "engine | level | task | size | batch | p50 ms | p90 ms | images/s | bpp | GPU MiB | J/image",
        [
            (
                row.engine, row.level, row.task, row.size, row.batch, row.latency_p50_ms, row.latency_p90_ms,
                row.images_per_s, row.bpp, row.gpu_memory_mib, row.joules_per_image,
            )
            for row in report.throughputs
        ],
    )  # fmt: skip


def _device_parts(report: Report) -> View:
    return _view(
        "Parts against the device's floor",
        "Clock: device is between events of the GPU, wall is the whole call. Floor: the larger of bytes over copy "
        "bandwidth and MACs over matrix rate, both measured.",
        "engine | level | part | size | batch | clock | p50 ms | p90 ms | GMAC | MB | floor ms | times floor",
        [
            (
                row.engine, row.level, row.part, row.size, row.batch, row.clock, row.latency_p50_ms,
                row.latency_p90_ms, row.num_macs / 1e9, row.num_bytes / 1e6, row.floor_ms, row.times_floor,
            )
            for row in report.device_parts
        ],
    )  # fmt: skip


def _parts(report: Report) -> View:
    return _view(
        "Network parts",
        "Traffic counts every node's inputs, weights and outputs once, before any fusion.",
        "engine | level | part | kMAC/pixel | parameters | traffic MiB | p50 ms | p90 ms | p99 ms | CPU ms | peak MiB",
        [
            (
                row.engine, row.level, row.part, row.kmacs_per_pixel, row.num_parameters,
                None if row.traffic_bytes is None else row.traffic_bytes / 2**20,
                row.latency_p50_ms, row.latency_p90_ms, row.latency_p99_ms, row.cpu_p50_ms, row.peak_memory_mib,
            )
            for row in report.parts
        ],
    )  # fmt: skip


def _qualities(report: Report) -> View:
    return _view(
        "Rate and quality",
        "Means over the images; bpp of whole files.",
        "engine | level | quality | images | bpp | PSNR dB | MS-SSIM",
        [
            (
                row.engine, row.level, row.quality, row.num_images, f"{row.bpp:.4f}", f"{row.psnr_db:.3f}",
                None if row.ms_ssim is None else f"{row.ms_ssim:.5f}",
            )
            for row in report.qualities
        ],
    )  # fmt: skip


def _bd_rates(report: Report) -> View:
    """One line per level, one column per reference: a list of pairs is hard to read."""
    references = list(dict.fromkeys(row.reference for row in report.bd_rates))
    found = {(row.engine, row.level, row.reference): row for row in report.bd_rates}
    notes = {row.note for row in report.bd_rates if row.bd_rate_percent is None}
    lines = list(dict.fromkeys((row.engine, row.level) for row in report.bd_rates))
    cells = [
        (engine, level, *(_percent(found[engine, level, reference].bd_rate_percent) for reference in references))
        for engine, level in lines
    ]
    note = "Negative: smaller files at equal RGB PSNR. Piecewise cubic (PCHIP)."
    if notes:
        note += " No figure where: " + "; ".join(sorted(notes)) + "."
    return _view("BD-rate against", note, " | ".join(["engine", "level", *references]), cells)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:+.1f} %"


def _peers(report: Report) -> View:
    return _view(
        "Other codecs in the same run",
        "One thread unless the setting says otherwise. Random weights have no rate or quality worth a number.",
        "codec | setting | images | bpp | PSNR dB | MS-SSIM | encode ms | decode ms | encode CPU ms | decode CPU ms",
        [
            (
                row.peer, row.setting, row.num_images, row.bpp, None if row.psnr_db is None else f"{row.psnr_db:.3f}",
                None if row.ms_ssim is None else f"{row.ms_ssim:.5f}",
                row.encode_p50_ms, row.decode_p50_ms, row.encode_cpu_p50_ms, row.decode_cpu_p50_ms,
            )
            for row in report.peers
        ],
    )  # fmt: skip


def _speedups(report: Report) -> View:
    return _view(
        "Times faster than",
        "",
        "peer | engine | level | task | by CPU time | by wall time",
        [
            (row.peer, row.engine, row.level, row.task, row.cpu_times_faster, row.wall_times_faster)
            for row in report.speedups
        ],
    )


def _fits(report: Report) -> View:
    return _view(
        "Latency as a + b MACs + c bytes, over all parts",
        "± one standard error. Errors of the prediction: mean and worst, for single parts and for a level's network.",
        "engine | clock | model | points | a: ms a call | b: ms/GMAC | b in int8 | b in int16 | c: ms/MiB | "
        "parts mean | parts worst | levels mean | levels worst",
        [
            (
                row.engine, row.clock, row.model, row.num_points, _with_error(row.call_ms, row.call_error_ms),
                _with_error(row.macs_ms_per_gmac, row.macs_error_ms_per_gmac),
                _with_error(row.int8_ms_per_gmac, row.int8_error_ms_per_gmac),
                _with_error(row.int16_ms_per_gmac, row.int16_error_ms_per_gmac),
                _with_error(row.bytes_ms_per_mib, row.bytes_error_ms_per_mib),
                *(f"{error:.0f} %" for error in (
                    row.part_mean_error_percent, row.part_max_error_percent,
                    row.level_mean_error_percent, row.level_max_error_percent,
                )),
            )
            for row in report.fits
        ],
    )  # fmt: skip


def _with_error(value: float | None, error: float | None) -> str | None:
    return None if value is None or error is None else f"{value:.3g} ± {error:.2g}"


def _shares(report: Report) -> View:
    return _view(
        "Where the time goes, by the fit",
        "Unexplained is what the fit misses of the network's time; coder and glue are measured.",
        "engine | level | task | MACs ms | memory traffic ms | calls ms | unexplained ms | coder ms | glue ms",
        [
            (
                row.engine, row.level, row.task, row.macs_ms, row.bytes_ms, row.calls_ms, row.unexplained_ms,
                row.coder_ms, row.glue_ms,
            )
            for row in report.shares
        ],
    )  # fmt: skip


def _exact_rates(report: Report) -> View:
    return _view(
        "Integer entropy networks against float ones: files",
        "Means over the images, whole files. Cost: how many more bytes than with the checkpoint's float networks.",
        "engine | level | quality | images | exact bpp | float bpp | cost | exact PSNR dB | float PSNR dB",
        [
            (
                row.engine, row.level, row.quality, row.num_images, f"{row.exact_bpp:.4f}", f"{row.float_bpp:.4f}",
                f"{row.cost_percent:+.3f} %", f"{row.exact_psnr_db:.3f}", f"{row.float_psnr_db:.3f}",
            )
            for row in report.exact_rates
        ],
    )  # fmt: skip


def _exact_times(report: Report) -> View:
    return _view(
        "Integer entropy networks against float ones: time",
        "CPU time, p50; entropy: hyper and contexts. Ratios are integer over float, medians over pairs of runs.",
        "engine | level | runs | entropy exact ms | float ms | ratio | decode exact ms | float ms | ratio",
        [
            (
                row.engine, row.level, row.num_samples, row.exact_entropy_cpu_ms, row.float_entropy_cpu_ms,
                f"{row.entropy_ratio:.3f}", row.exact_decode_cpu_ms, row.float_decode_cpu_ms, f"{row.decode_ratio:.3f}",
            )
            for row in report.exact_times
        ],
    )  # fmt: skip


def _pixel_differences(report: Report) -> View:
    return _view(
        "Pixels of equal latents by two engines",
        "Latents are equal everywhere; pixels differ by rounding. Largest difference in 8-bit steps.",
        "engine | other | level | quality | images | largest | PSNR dB",
        [
            (
                row.engine, row.other, row.level, row.quality, row.num_images, row.max_difference,
                f"{row.psnr_db:.1f}" if math.isfinite(row.psnr_db) else "equal",
            )
            for row in report.pixel_differences
        ],
    )  # fmt: skip
