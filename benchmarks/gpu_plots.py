"""The plots of a GPU suite, drawn from its JSON wherever matplotlib is: python -m basic.benchmarks.gpu_plots JSON DIR

Latency against MACs with both fits, parts against their floor, images a second by level.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.command import run_main
from .results import BenchError, make_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
KINDS = {"analysis": "C0", "hyper": "C1", "context": "C2", "synthesis": "C3"}


def rows_of(data: Row, kind: str) -> list[Row]:
    """Rows of every done step of a kind."""
    done = [s["result"] for name, s in data["steps"].items() if name.startswith(f"{kind}:") and s["status"] == "done"]
    return [row for result in done if isinstance(result, list) for row in result]


def draw(data: Row, folder: Path) -> list[Path]:
    """Write the plots that there are rows for; their paths. Raises BenchError without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise BenchError(f"plots need matplotlib ({error}); pip install 'basic-nic[bench]'") from error
    parts, images = rows_of(data, "parts"), rows_of(data, "images") + rows_of(data, "beside")
    wanted: list[tuple[str, list[Row], Callable[[Axes, list[Row]], None]]] = [
        ("gpu_latency", parts, lambda axes, rows: _latency(axes, rows, data.get("fits", []))),
        ("gpu_floor", [row for row in parts if row["floor_ms"]], _floor),
        ("gpu_images", images, _images),
    ]
    make_folder(folder)
    paths = []
    for name, rows, plot in wanted:
        if not rows:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
        plot(axes, rows)
        axes.set_title(f"{data['circumstances'].get('device', '')}, {data['circumstances'].get('engine', '')}", size=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=130)
        pyplot.close(figure)
    return paths


def _latency(axes: "Axes", rows: list[Row], fits: list[Row]) -> None:
    for kind, colour in KINDS.items():
        chosen = [row for row in rows if row["part"].startswith(kind)]
        axes.scatter(
            [r["num_macs"] / 1e9 for r in chosen], [r["latency_p50_ms"] for r in chosen], 12, colour, label=kind
        )
    for fit in fits:
        clock = fit["clock"].split(", ")[-1]
        label = f"{clock}, {fit['model']}: worst level {fit['level_max_error_percent']:.0f} %"
        axes.plot([], [], " ", label=label)
    axes.set(xscale="log", yscale="log", xlabel="GMAC of a part", ylabel="ms")


def _floor(axes: "Axes", rows: list[Row]) -> None:
    for kind, colour in KINDS.items():
        chosen = [row for row in rows if row["part"].startswith(kind)]
        axes.scatter([r["floor_ms"] for r in chosen], [r["latency_p50_ms"] for r in chosen], 12, colour, label=kind)
    ends = [min(row["floor_ms"] for row in rows), max(row["floor_ms"] for row in rows)]
    for times in (1, 3):
        axes.plot(ends, [times * end for end in ends], "k--" if times > 1 else "k-", lw=0.8, label=f"{times} x floor")
    axes.set(xscale="log", yscale="log", xlabel="floor, ms", ylabel="measured, ms")


def _images(axes: "Axes", rows: list[Row]) -> None:
    for key in dict.fromkeys((row["engine"], row["task"], row["size"], row["batch"]) for row in rows):
        chosen = sorted(
            (row["level"], row["images_per_s"])
            for row in rows
            if (row["engine"], row["task"], row["size"], row["batch"]) == key
        )
        style = "o-" if key[1] == "encode" else "s--"
        label = f"{key[0]} {key[1]}, {key[3]} of {key[2]}"
        axes.plot([level for level, _ in chosen], [rate for _, rate in chosen], style, ms=4, label=label)
    axes.set(yscale="log", xlabel="level", ylabel="images/s, host to host")


def main(argv: Sequence[str] | None = None) -> int:
    """0 drawn, 1 no such file or no matplotlib, 2 the command line alone is wrong."""
    made = argparse.ArgumentParser(prog="gpu_plots", description=(__doc__ or "").splitlines()[0])
    made.add_argument("result", type=Path, metavar="JSON", help="gpu_suite.json")
    made.add_argument("output", type=Path, metavar="DIR", help="for the plots")
    args = made.parse_args(argv)
    try:
        data = json.loads(args.result.read_text(encoding="utf-8"))
        for path in draw(data, args.output):
            print(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"gpu_plots: {args.result}: expected the JSON of gpu_suite ({error!r})", file=sys.stderr)
        return 1
    except BenchError as error:
        print(f"gpu_plots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_main("gpu_plots", main))
