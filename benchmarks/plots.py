"""The pictures of a report; needs matplotlib, which comes with the extra `bench`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .fit import GMAC, fitted_ms
from .results import BenchError, FitRow, LevelRow, PartRow, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"analysis": "tab:blue", "hyper": "tab:purple", "context": "tab:green", "synthesis": "tab:orange"}
SHARES = {
    "macs_ms": ("MACs", "tab:blue"),
    "bytes_ms": ("memory traffic", "tab:cyan"),
    "calls_ms": ("calls", "tab:gray"),
    "unexplained_ms": ("unexplained", "tab:red"),
    "coder_ms": ("coder", "tab:green"),
    "glue_ms": ("glue", "tab:olive"),
}
TASK_MARKERS = {"encode": "s", "decode": "o"}


def check_matplotlib() -> None:
    """Raise BenchError where plots cannot be drawn, before anything is measured for them."""
    try:
        import matplotlib
    except ImportError as error:
        raise BenchError("plots: matplotlib is missing; pip install 'basic-nic[bench]'") from error
    matplotlib.use("agg")


def has_matplotlib() -> bool:
    """Whether plots can be drawn."""
    try:
        check_matplotlib()
    except BenchError:
        return False
    return True


def draw(report: Report, folder: Path) -> list[Path]:
    """Write the plots that the report has rows for; returns their paths. Raises BenchError without matplotlib."""
    check_matplotlib()
    drawings: list[tuple[str, bool, Callable[[Report], Figure]]] = [
        ("overview", bool(report.levels and report.qualities), _overview),
        ("latency_macs", bool(report.levels), _latency),
        ("rate_distortion", bool(report.qualities), _rate_distortion),
        ("time_shares", bool(report.levels), _time_shares),
    ]
    paths = []
    for name, wanted, make in drawings:
        if wanted:
            paths.append(folder / f"{name}.png")
            figure = make(report)
            figure.savefig(paths[-1], dpi=110, metadata={"Software": ""})
    return paths


def _overview(report: Report) -> "Figure":
    """Left: what a level costs. Right: what it gives."""
    figure, (left, right) = _axes(2)
    _draw_tasks(left, report)
    _draw_curves(right, report)
    return figure


def _latency(report: Report) -> "Figure":
    """Left: every part with the fitted line and its error. Right: whole tasks per level."""
    figure, (left, right) = _axes(2)
    for engine in dict.fromkeys(row.engine for row in report.parts):
        parts = [row for row in report.parts if row.engine == engine]
        _scatter_parts(left, parts)
        for fit in report.fits:
            if fit.engine == engine and fit.clock == "wall":
                draw_fit = _draw_line if fit.bytes_ms_per_mib is None else _draw_fitted
                draw_fit(left, fit, parts)
    _finish_latency(left, "network parts", "GMAC an image")
    for engine in dict.fromkeys(row.engine for row in report.shares):
        _draw_fitted_tasks(right, report, engine)
    _draw_tasks(right, report)
    return figure


def _rate_distortion(report: Report) -> "Figure":
    figure, (axes,) = _axes(1)
    _draw_curves(axes, report)
    return figure


def _draw_tasks(axes: "Axes", report: Report) -> None:
    for engine in dict.fromkeys(row.engine for row in report.levels):
        for task, marker in TASK_MARKERS.items():
            _draw_task(axes, [row for row in report.levels if (row.engine, row.task) == (engine, task)], marker)
    _finish_latency(axes, "whole images, by level", "kMAC/pixel")


def _finish_latency(axes: "Axes", title: str, xlabel: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel="p50 latency, ms", title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8)


def _scatter_parts(axes: "Axes", parts: Sequence[PartRow]) -> None:
    for kind, colour in KINDS.items():
        rows = [row for row in parts if row.part.startswith(kind)]
        macs, latency = [row.num_macs / GMAC for row in rows], [row.latency_p50_ms for row in rows]
        axes.scatter(macs, latency, s=18, color=colour, label=kind, alpha=0.8)


def _draw_line(axes: "Axes", fit: FitRow, parts: Sequence[PartRow]) -> None:
    """latency = a + b MACs, with a band of its mean relative error."""
    macs = np.geomspace(min(row.num_macs for row in parts), max(row.num_macs for row in parts), 100) / GMAC
    line = fit.call_ms + fit.macs_ms_per_gmac * macs
    error = fit.part_mean_error_percent / 100
    label = (
        f"{fit.call_ms:.2g} ms + ({fit.macs_ms_per_gmac:.3g} ± {fit.macs_error_ms_per_gmac:.1g}) ms/GMAC\n"
        f"mean error {fit.part_mean_error_percent:.0f} %"
    )
    axes.plot(macs, line, color="black", linewidth=1, label=label)
    axes.fill_between(macs, line * (1 - error), line * (1 + error), color="black", alpha=0.1)


def _draw_fitted(axes: "Axes", fit: FitRow, parts: Sequence[PartRow]) -> None:
    """a + b MACs + c bytes of every part, as far above or below its measured point as the fit errs."""
    macs = [row.num_macs / GMAC for row in parts]
    label = (
        f"{fit.call_ms:.2g} ms + {fit.rates()} + {fit.bytes_ms_per_mib:.2g} ms/MiB\n"
        f"mean error {fit.part_mean_error_percent:.0f} %"
    )
    axes.plot(macs, fitted_ms(fit, parts), "x", color="black", markersize=5, markeredgewidth=0.8, label=label)


def _draw_fitted_tasks(axes: "Axes", report: Report, engine: str) -> None:
    """The network time of every level by the larger fit, with its mean error over whole networks."""
    fit = [row for row in report.fits if (row.engine, row.clock) == (engine, "wall")][-1]
    macs = {(row.level, row.task): row.kmacs_per_pixel for row in report.levels if row.engine == engine}
    rows = [row for row in report.shares if row.engine == engine]
    times = np.array([row.macs_ms + row.bytes_ms + row.calls_ms for row in rows])
    error = fit.level_mean_error_percent
    terms = "a + b MACs" if fit.bytes_ms_per_mib is None else "a + b MACs + c bytes"
    x = [macs[row.level, row.task] for row in rows]
    label = f"network by {terms}, ± {error:.0f} %"
    axes.errorbar(
        x, times, times * error / 100, fmt="x", color="black", markersize=5, elinewidth=0.8, capsize=2, label=label
    )
    axes.legend(fontsize=8)


def _draw_task(axes: "Axes", rows: Sequence[LevelRow], marker: str) -> None:
    if not rows:
        return
    macs = [row.kmacs_per_pixel for row in rows]
    (drawn,) = axes.plot(macs, [row.latency_p50_ms for row in rows], marker=marker, label=f"{rows[0].task}, whole")
    network = [row.network_ms for row in rows]
    axes.plot(macs, network, linestyle=":", color=drawn.get_color(), label=f"{rows[0].task}, network alone")
    for row in rows if rows[0].task == "decode" else ():
        axes.annotate(str(row.level), (row.kmacs_per_pixel, row.latency_p50_ms), (3, 4), textcoords="offset points")


def _draw_curves(axes: "Axes", report: Report) -> None:
    from matplotlib import colormaps

    for i, reference in enumerate(report.references):
        (line,) = axes.plot(reference.bpp, reference.psnr_db, "--", linewidth=1, label=reference.name)
        line.set_color(colormaps["tab20"](i % 20))
    drawn = list(dict.fromkeys((row.engine, row.level) for row in report.qualities))
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(drawn)))
    for (engine, level), colour in zip(drawn, colours, strict=True):
        points = sorted(
            (row.bpp, row.psnr_db) for row in report.qualities if (row.engine, row.level) == (engine, level)
        )
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=f"level {level}, {engine}")
    rates = [row.bpp for row in report.qualities]
    psnr = [row.psnr_db for row in report.qualities]
    axes.set(xlabel="bpp", ylabel="PSNR over RGB, dB", title="rate and distortion, mean over images")
    axes.set_xlim(0, 1.15 * max(rates))
    axes.set_ylim(min(psnr) - 1, max(psnr) + 2)
    axes.grid(True, alpha=0.2)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def _time_shares(report: Report) -> "Figure":
    """Left: time per part, as measured. Right: what it is spent on, by the fit."""
    figure, (left, right) = _axes(2)
    engine = report.levels[0].engine
    rows = [row for row in report.levels if row.task == "decode" and row.engine == engine]
    names = [str(row.level) for row in rows]
    stacks = {kind: [_kind_ms(report.parts, row, kind) for row in rows] for kind in list(KINDS)[1:]}
    stacks |= {"coder": [row.coder_ms for row in rows], "glue": [row.glue_ms for row in rows]}
    colours = KINDS | {"coder": "tab:red", "glue": "tab:gray"}
    _stack(left, names, {kind: (kind, colours[kind], values) for kind, values in stacks.items()})
    by_level = {row.level: row for row in report.shares if row.task == "decode" and row.engine == engine}
    if by_level:
        chosen = [by_level[row.level] for row in rows]
        _stack(
            right,
            names,
            {
                key: (label, colour, [max(float(getattr(row, key)), 0.0) for row in chosen])
                for key, (label, colour) in SHARES.items()
            },
        )
    left.set_title(f"decode by part, {engine}")
    right.set_title("decode by cause, from the fit")
    return figure


def _kind_ms(parts: Sequence[PartRow], level: LevelRow, kind: str) -> float:
    return sum(
        row.latency_p50_ms
        for row in parts
        if (row.engine, row.level) == (level.engine, level.level) and row.part.startswith(kind)
    )


def _stack(axes: "Axes", names: Sequence[str], stacks: dict[str, tuple[str, str, list[float]]]) -> None:
    """Bars of shares in percent, one per level."""
    totals = np.sum([values for _, _, values in stacks.values()], axis=0)
    bottom = np.zeros(len(names))
    for label, colour, values in stacks.values():
        shares = 100 * np.asarray(values) / totals
        axes.bar(names, shares, bottom=bottom, label=label, color=colour)
        bottom += shares
    axes.set(xlabel="level", ylabel="share of time, %", ylim=(0, 100))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _axes(count: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * count, 4.8), layout="constrained")
    return figure, [figure.add_subplot(1, count, i + 1) for i in range(count)]
