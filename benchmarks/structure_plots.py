"""Plots of a structure report: levels, quality over multiplications, what each control reaches, plans."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .structure import StructureReport


NOT_PLANS = (" level ", "only", "curve ")


def draw_structures(report: "StructureReport", folder: Path) -> list[Path]:
    """Write structure_levels.png, structure_control.png and structure_plans.png, those that the report has."""
    from matplotlib.figure import Figure

    written = []
    learned = [name for name in report.curves if name.startswith("learned level")]
    if learned:
        figure = Figure(figsize=(12, 5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_curves(left, report, learned)
        _draw_over_macs(right, report)
        written.append(folder / "structure_levels.png")
        figure.savefig(written[-1], dpi=110, metadata={"Software": ""})
    if any(" only " in name for name in report.curves):
        figure = Figure(figsize=(7, 5), layout="constrained")
        _draw_control(figure.subplots(), report)
        written.append(folder / "structure_control.png")
        figure.savefig(written[-1], dpi=110, metadata={"Software": ""})
    plans = {name: curve for name, curve in report.curves.items() if not any(word in name for word in NOT_PLANS)}
    if "one group" in plans:
        figure = Figure(figsize=(7, 5), layout="constrained")
        _draw_plans(figure.subplots(), plans)
        written.append(folder / "structure_plans.png")
        figure.savefig(written[-1], dpi=110, metadata={"Software": ""})
    return written


def _draw_curves(axes: "Axes", report: "StructureReport", learned: Iterable[str]) -> None:
    """Rate and distortion of every level, learned (lines) and uniform (dashes) in one colour."""
    from matplotlib import colormaps

    names = list(learned)
    for name, colour in zip(names, colormaps["viridis"](np.linspace(0, 0.9, len(names))), strict=True):
        for shown, style in ((name, "-"), (name.replace("learned", "uniform"), "--")):
            curve = report.curves[shown]
            axes.plot(curve["bpp"], curve["psnr_db"], style, color=colour, linewidth=1.2)
        axes.plot([], [], color=colour, label=f"level {name.split()[-1]}")
    axes.set(xlabel="bpp", ylabel="PSNR over RGB, dB", title="levels: learned (lines), uniform (dashes)")
    axes.grid(alpha=0.2)
    axes.legend(fontsize=8)


def _draw_over_macs(axes: "Axes", report: "StructureReport") -> None:
    """PSNR at each quality over multiplications; rates at equal quality differ little between structures."""
    for kind, style in (("learned level", "-o"), ("uniform level", "--s")):
        names = (kind, "curve ") if kind.startswith("learned") else (kind,)
        curves = [curve for name, curve in report.curves.items() if name.startswith(names)]
        curves.sort(key=lambda curve: curve["kmacs_per_pixel"])
        macs = [curve["kmacs_per_pixel"] for curve in curves]
        for place in (0, len(curves[0]["bpp"]) // 2, len(curves[0]["bpp"]) - 1):
            psnr = [curve["psnr_db"][place] for curve in curves]
            bpp = float(np.mean([curve["bpp"][place] for curve in curves]))
            axes.plot(macs, psnr, style, markersize=3, label=f"{kind.split()[0]}, about {bpp:.2f} bpp")
    axes.set(xscale="log", xlabel="kMAC/pixel, encoding and decoding", ylabel="PSNR over RGB, dB")
    axes.set_title("quality over complexity")
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8)


def _draw_control(axes: "Axes", report: "StructureReport") -> None:
    """PSNR over multiplications at the middle quality: the full scheme, and what either control alone can reach."""
    kinds = {
        "full scheme": ("learned level", "curve ", "full scheme"),
        "backbone only": ("backbone only",),
        "AR only": ("AR only",),
        "uniform": ("uniform level",),
    }
    middle = len(next(iter(report.curves.values()))["bpp"]) // 2
    for (label, names), style in zip(kinds.items(), ("-o", "-^", "-v", "--s"), strict=True):
        curves = [curve for name, curve in report.curves.items() if name.startswith(names)]
        points = sorted((curve["kmacs_per_pixel"], curve["psnr_db"][middle], curve["bpp"][middle]) for curve in curves)
        if points:
            macs, psnr, bpp = zip(*points, strict=True)
            label = f"{label}, {min(bpp):.2f} to {max(bpp):.2f} bpp"
            axes.plot(macs, psnr, style, markersize=4, label=label)
    axes.set(xscale="log", xlabel="kMAC/pixel, encoding and decoding", ylabel="PSNR over RGB, dB")
    axes.set_title("what each control reaches, at the middle quality")
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8)


def _draw_plans(axes: "Axes", plans: dict[str, dict[str, Any]]) -> None:
    """Bits of every plan over those of one group, mean over qualities, by number of groups."""
    one = np.array(plans["one group"]["bpp"])
    line: list[tuple[int, float]] = []
    for name, curve in plans.items():
        groups, saved = curve["groups"], 100 * float(np.mean(np.array(curve["bpp"]) / one - 1))
        if name.startswith("learned"):
            line.append((groups, saved))
        else:
            axes.scatter(groups, saved, color="tab:gray", s=30)
            axes.annotate(name, (groups, saved), (4, 2), textcoords="offset points", fontsize=7)
    line.sort()
    axes.plot([groups for groups, _ in line], [saved for _, saved in line], "-o", color="tab:red", label="learned")
    axes.set(xlabel="groups", ylabel="bits over one group, %", title="group plans at full widths")
    axes.grid(alpha=0.2)
    axes.legend()
