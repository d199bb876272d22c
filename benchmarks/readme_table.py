"""Puts measured numbers into README.md: between its two `measured` comments, from a report of basic-bench.

What a newcomer gets wrong: numbers are never typed into the README. Measure again, then run this again.

    basic-bench --images kodak --peers -o report
    python -m basic.benchmarks.readme_table report README.md
"""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.command import run_main
from ..runtime.files import write_whole
from .results import REPORT_FORMAT, REPORT_VERSION, BdRow, BenchError, FitRow, LevelRow, QualityRow, SpeedupRow

START, END = "<!-- measured -->", "<!-- /measured -->"
PLOT = "latency_macs.png"
REFERENCES = ("JPEG", "WebP", "AV1", "BPG 4:4:4", "mbt2018-mean")


@dataclass(frozen=True, slots=True)
class Measured:
    """The rows of one engine that the README shows, and the circumstances of the run."""

    circumstances: Mapping[str, Any]
    tasks: Mapping[tuple[int, str], LevelRow]
    rates: Mapping[int, QualityRow]
    bd_rates: Mapping[tuple[int, str], float]
    speedups: Mapping[tuple[int, str], SpeedupRow]
    fit: FitRow | None


def _load(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found = report["format"], report["format_version"]
    if found != (REPORT_FORMAT, REPORT_VERSION):
        raise BenchError(f"{path.name}: expected {REPORT_FORMAT} version {REPORT_VERSION}, found {found}")
    return report


def read_qualities(path: Path) -> list[QualityRow]:
    """The rates and qualities of the first engine of a report.json. Raises BenchError where there are none."""
    try:
        rows = [QualityRow(**row) for row in _load(path)["qualities"]]
        return [row for row in rows if row.engine == rows[0].engine]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path}: expected the report.json of basic-bench -o with qualities: {error!r}") from error


def read_report(path: Path, quality: int) -> Measured:
    """The first engine of a report.json, rates at one quality. Raises BenchError where something is missing."""
    try:
        report = _load(path)
        levels = [LevelRow(**row) for row in report["levels"]]
        qualities = [QualityRow(**row) for row in report["qualities"]]
        bd_rates = [BdRow(**row) for row in report.get("bd_rates", [])]
        speedups = [SpeedupRow(**row) for row in report.get("speedups", [])]
        fits = [FitRow(**row) for row in report.get("fits", [])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path}: expected the report.json of basic-bench -o with times and qualities: {error!r}"
        ) from error
    engine = levels[0].engine
    rates = {row.level: row for row in qualities if (row.engine, row.quality) == (engine, quality)}
    if not rates:
        here = ", ".join(str(number) for number in sorted({row.quality for row in qualities}))
        raise BenchError(f"quality {quality}: expected one that was measured, the report has {here}")
    return Measured(
        report["circumstances"],
        {(row.level, row.task): row for row in levels if row.engine == engine},
        rates,
        {
            (row.level, row.reference): row.bd_rate_percent
            for row in bd_rates
            if row.engine == engine and row.bd_rate_percent is not None
        },
        {(row.level, row.task): row for row in speedups if row.engine == engine},
        next((fit for fit in fits if (fit.engine, fit.clock) == (engine, "cpu") and fit.model.endswith("bytes")), None),
    )


def block(measured: Measured, plot: str | None) -> str:
    """Markdown between the two comments."""
    prose = (textwrap.fill(text, 120) for text in (_speedup(measured), _fit(measured.fit)))
    parts = [textwrap.fill(_circumstances(measured), 120), _level_table(measured), *prose]
    parts += [f"![latency against MACs]({plot})" if plot else "", _bd_table(measured)]
    return "\n\n".join(part for part in parts if part)


def replace_block(text: str, content: str, start: str = START, end: str = END) -> str:
    """`text` with `content` between two comments, everything else as it was. Raises BenchError without them."""
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise BenchError(f"expected {start} and {end}, once each and in this order; put them where the numbers belong")
    head, rest = text.split(start)
    return f"{head}{start}\n{content}\n{end}{rest.split(end)[1]}"


def fill_page(page: Path, content: str, start: str = START, end: str = END) -> None:
    """`replace_block` on a file, which is replaced whole. Raises BenchError, OSError."""
    write_whole(page, filled(page, content, start, end))


def filled(page: Path, content: str, start: str = START, end: str = END) -> str:
    """What `fill_page` would write. Raises BenchError, OSError."""
    try:
        return replace_block(page.read_text(encoding="utf-8"), content, start, end)
    except BenchError as error:
        raise BenchError(f"{page}: {error}") from error


def _circumstances(measured: Measured) -> str:
    facts, images = measured.circumstances, measured.circumstances["images"]
    versions = ", ".join(f"{name} {facts['versions'][name]}" for name in ("basic-nic", "onnxruntime"))
    row = next(iter(measured.tasks.values()))
    quality = next(iter(measured.rates.values())).quality
    threads = "one thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    steps = facts.get("bundle", {}).get("training", {}).get("steps")
    trained = "" if steps is None else f" Weights after {steps} training steps."
    return (
        f"{facts['cpu_model']}, {threads}, engine {row.engine}; {versions}. Times: median of {row.num_samples} runs on "
        f"{images['timed_sizes'][0]} at quality {facts['timing_quality']}, file and image conversion included. bpp and "
        f"PSNR: means over {images['num_images']} images at quality {quality}.{trained}"
    )


def _level_table(measured: Measured) -> str:
    titles = ("level", "groups", "encode kMAC/pixel", "decode kMAC/pixel", "encode ms", "decode ms", "decode CPU ms")
    rows: list[Sequence[str]] = []
    for level, rate in sorted(measured.rates.items()):
        encode, decode = measured.tasks[level, "encode"], measured.tasks[level, "decode"]
        macs = (f"{task.kmacs_per_pixel:.2f}" for task in (encode, decode))
        times = (f"{ms:.1f}" for ms in (encode.latency_p50_ms, decode.latency_p50_ms, decode.cpu_p50_ms))
        rows.append((str(level), str(decode.num_groups), *macs, *times, f"{rate.bpp:.3f}", f"{rate.psnr_db:.2f}"))
    return markdown_table((*titles, "bpp", "PSNR dB"), rows)


def _speedup(measured: Measured) -> str:
    rows = {level: row for (level, task), row in measured.speedups.items() if task == "decode"}
    if not rows:
        return ""
    by_level = ", ".join(f"level {level} {rows[level].cpu_times_faster:.0f} times" for level in sorted(rows))
    peer = next(iter(rows.values())).peer
    return f"Decoding in less CPU time than {peer} (random weights, same run, same image): {by_level}."


def _fit(fit: FitRow | None) -> str:
    if fit is None or fit.bytes_ms_per_mib is None:
        return ""
    return (
        f"CPU time of a network part = {fit.call_ms:.2g} ms + {fit.rates()} + {fit.bytes_ms_per_mib:.2g} ms/MiB of the "
        f"transforms' memory traffic, fitted over {fit.num_points} parts; error for a level's whole network "
        f"{fit.level_mean_error_percent:.0f} % on average, {fit.level_max_error_percent:.0f} % at worst."
    )


def _bd_table(measured: Measured) -> str:
    """BD-rates against the references that the run compared with; nothing where it compared with none."""
    here = {reference for _, reference in measured.bd_rates}
    references = [name for name in REFERENCES if name in here] or sorted(here)
    if not references:
        return ""
    rows = []
    for level in sorted({level for level, _ in measured.bd_rates}):
        values = (measured.bd_rates.get((level, reference)) for reference in references)
        rows.append((str(level), *("–" if value is None else f"{value:+.0f} %" for value in values)))
    note = "BD-rate over RGB PSNR: bytes for equal quality, negative is smaller; – where the curves hardly overlap."
    return note + "\n\n" + markdown_table(("level", *(f"against {name}" for name in references)), rows)


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its columns to the right."""
    lines = [" | ".join(titles), " | ".join("---:" for _ in titles), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 the report or the page is not as it should be, 2 the command line alone is wrong."""
    parser = argparse.ArgumentParser(prog="python -m basic.benchmarks.readme_table", description="Fill README.md.")
    parser.add_argument("report", type=Path, metavar="DIR", help="what basic-bench -o wrote")
    parser.add_argument("readme", type=Path, metavar="README.md", help="page to fill; the plot goes into its docs/")
    parser.add_argument("--quality", type=int, default=32, metavar="Q", help="of bpp and PSNR (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        measured = read_report(args.report / "report.json", args.quality)
        plot, source = Path("docs") / PLOT, args.report / PLOT
        content = block(measured, plot.as_posix() if source.exists() else None)
        fill_page(args.readme, content)
        if source.exists():
            shutil.copyfile(source, args.readme.parent / plot)
    except (BenchError, OSError) as error:
        print(f"readme_table: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_main("readme_table", main))
