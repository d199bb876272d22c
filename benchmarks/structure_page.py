"""Puts measured structures into docs/structure.md: between its `measured` comments, from reports of the benchmarks.

    python -m basic.benchmarks.structure_page report docs/structure.md --latency check.json --budgets budgets.json

What a newcomer gets wrong: no figure of that page is typed. `benchmarks/structure.sh` measures them all and runs this.
"""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.command import run_main
from ..training.nodes import Architecture
from ..training.structure.levels import LEARNED, load_learned
from ..training.structure.picture import draw_plans
from .readme_table import fill_page, markdown_table
from .results import BenchError

PLOTS = {
    "levels": "structure_levels.png",
    "control": "structure_control.png",
    "plans": "structure_plans.png",
}
UNIFORM, PLANS = "learned against uniform", "learned plan against hand-made"
CONTROLS = ("backbone only", "AR only")
WIDTH = 120
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """structure.json of a report, the notes of the learned table, and what the other benchmarks printed."""

    report: Mapping[str, Any]
    notes: Mapping[str, Any]
    latency: Mapping[str, Any] | None = None
    budgets: Mapping[str, Any] | None = None

    def rows(self, comparison: str) -> list[Row]:
        return [row for row in self.report["rows"] if row["comparison"] == comparison]


def levels_block(m: Measured) -> str:
    """Learned against uniform levels: held-out loss and real files."""
    about, rows = m.report["circumstances"], []
    levels = {row["level"]: row for row in m.notes["levels"]}
    for number, row in enumerate(m.rows(UNIFORM)):
        held_out = levels[number]["against_uniform"]
        loss = interval(held_out["percent"], held_out["low"], held_out["high"], 1, "%")
        groups = f"{row['ours_groups']} / {row['theirs_groups']}"
        macs = f"{row['ours_kmacs_per_pixel']:.2f} / {row['theirs_kmacs_per_pixel']:.2f}"
        rows.append((str(number), macs, groups, loss, *gain(row), won(row)))
    steps = "" if about.get("training") is None else f" by weights of {about['training']} steps"
    searched = "" if m.notes.get("training_steps") is None else f" (weights of {m.notes['training_steps']} steps)"
    intro = (
        f"Learned against uniform levels of the same budget (learned / uniform): the training's loss on "
        f"{m.notes['num_crops']} photographs kept from the search{searched}, and real files of "
        f"{about['images']['num_images']} images of Kodak{steps} at qualities "
        f"{', '.join(map(str, about['qualities']))}. In brackets the middle 95 % over resampled images."
    )
    titles = ("level", "kMAC/pixel", "groups", "loss, held out", "BD-rate", "BD-PSNR", "won")
    return f"{prose(intro)}\n\n{markdown_table(titles, rows)}\n\n{prose(_control_sentence(m))}"


def _control_sentence(m: Measured) -> str:
    control = m.report["control"]
    ours, theirs = control["learned"], control["uniform"]
    many, many_theirs = (next(v for k, v in control.items() if k.startswith(f"{kind},")) for kind in KINDS)
    return (
        f"Complexity control, |actual - target| / target: at most {ours['largest_error_percent']:.2f} % at the table's "
        f"{len(ours['error_percent'])} budgets over {ours['reach']:.1f} times the multiplications (uniform "
        f"{theirs['largest_error_percent']:.2f} %), {many['largest_error_percent']:.2f} % at "
        f"{len(many['error_percent'])} budgets (uniform {many_theirs['largest_error_percent']:.2f} %)."
    )


KINDS = ("learned", "uniform")


def plans_block(m: Measured) -> str:
    """Learned plans against all hand-made ones of as many groups."""
    found = [row for row in m.rows(PLANS) if row["ours_groups"] == row["theirs_groups"]]
    rows = [(str(row["ours_groups"]), row["theirs"], *gain(row, 2), won(row)) for row in found]
    against_one = [row for row in m.rows(PLANS) if row["theirs_groups"] == 1]
    saved = ", ".join(
        f"{row['ours_groups']} groups {interval_of(row, 'bd_rate', 'percent', 1, '%')}" for row in against_one
    )
    table = markdown_table(("groups", "hand-made plan", "BD-rate", "BD-PSNR", "won"), rows)
    return f"{table}\n\n{prose(f'Learned plans against one group, BD-rate: {saved}.')}"


def control_block(m: Measured) -> str:
    """The full scheme against either control alone."""
    rows, reach = [], []
    for name in CONTROLS:
        for row in m.rows(f"full scheme against {name}"):
            macs = f"{row['ours_kmacs_per_pixel']:.2f} / {row['theirs_kmacs_per_pixel']:.2f}"
            groups = f"{row['ours_groups']} / {row['theirs_groups']}"
            rows.append((name, macs, groups, *gain(row), won(row)))
        if name in m.report["control"]:
            reach.append(f"{name} {m.report['control'][name]['reach']:.2f} times")
    if not rows:
        return "Not measured."
    titles = ("only this may change", "kMAC/pixel, full scheme / it", "groups", "BD-rate", "BD-PSNR", "won")
    ours = m.report["control"]["learned"]["reach"]
    said = f"From the lightest to the full model the multiplications change {ours:.1f} times, with {', '.join(reach)}."
    return f"{markdown_table(titles, rows)}\n\n{prose(said)}"


def paper_block(m: Measured) -> str:
    """Every row of the result and ablation tables, with what was measured."""
    uniform = [row for row in m.rows(UNIFORM) if row["ours"] not in ("learned level 0", _last(m.rows(UNIFORM)))]
    plans = [row for row in m.rows(PLANS) if row["ours_groups"] == row["theirs_groups"]]
    checkerboard = [row for row in plans if row["theirs"] == "checkerboard"]
    controls = {name: m.rows(f"full scheme against {name}") for name in CONTROLS}
    every = [*uniform, *(row for rows in controls.values() for row in rows)]
    ours, theirs = m.report["control"]["learned"], m.report["control"]["uniform"]
    errors = f"largest error {ours['largest_error_percent']:.2f} % against {theirs['largest_error_percent']:.2f} %"
    better = ours["largest_error_percent"] < theirs["largest_error_percent"]
    rows = [
        ("Kodak, BD-rate at equal computation, against slimmable", f"levels 1 to 6: {_span(uniform)}", _tally(uniform)),
        ("Kodak, accuracy of complexity control, against slimmable", errors, "yes" if better else "no"),
        ("backbone-only control", _span(controls["backbone only"]), _tally(controls["backbone only"])),
        ("AR-only control (fixed backbone)", _span(controls["AR only"]), _tally(controls["AR only"])),
        ("uniform channel pruning", _span(uniform), _tally(uniform)),
        ("full scheme", f"against all of these: {_span(every)}", _tally(every)),
        ("learned grouping against checkerboard", _span(checkerboard), _tally(checkerboard)),
        ("learned grouping against every hand-made one", _span(plans), _tally(plans)),
    ]
    return markdown_table(("row of the paper", "measured here", "won"), rows)


def _last(rows: Sequence[Row]) -> str:
    return str(rows[-1]["ours"]) if rows else ""


def _span(rows: Sequence[Row]) -> str:
    """Smallest to largest gain."""
    if not rows:
        return "not measured"
    parts = []
    for key, unit, digits in (("bd_rate_percent", "% BD-rate", 1), ("bd_psnr_db", "dB", 2)):
        values = [row["gain"][key] for row in rows if row["gain"][key] is not None]
        if values:
            low, high = (f"{value:+.{digits}f}" for value in (min(values), max(values)))
            parts.append(f"{low} {unit}" if low == high else f"{low} to {high} {unit}")
    return ", ".join(parts)


def _tally(rows: Sequence[Row]) -> str:
    count = sum(row["won"] for row in rows)
    return "–" if not rows else "yes" if count == len(rows) else f"{count} of {len(rows)}"


def rates_block(m: Measured) -> str:
    """What the entropy part and the transforms are worth at low and at high rates."""
    found = m.notes.get("trade_off", [])
    rows = [
        (
            str(row["level"]),
            f"{row['quality']:g}",
            str(row["groups"]),
            f"{100 * row['entropy_share']:.0f} %",
            f"{row['entropy_gain_percent']:.3f} %",
            f"{row['backbone_gain_percent']:.3f} %",
        )
        for row in found
    ]
    titles = (
        "level",
        "quality",
        "groups",
        "multiplications of the entropy part",
        "next 1 % of cost, to the entropy part",
        "to the transforms",
    )
    parts = [markdown_table(titles, rows)] if rows else []
    curves = m.report["curves"]
    most = max((name for name in curves if name.startswith("learned ") and name[8:].isdigit()), key=_groups, default="")
    if most and "one group" in curves and "learned level 3" in curves:
        bits = 100 * (np.array(curves[most]["bpp"]) / np.array(curves["one group"]["bpp"]) - 1)
        full, light = (np.array(curves[name]["psnr_db"]) for name in ("one group", "learned level 3"))
        lines = [
            ("bpp, full widths and one group", *(f"{value:.3f}" for value in curves["one group"]["bpp"])),
            (f"bits with {most[8:]} groups instead of one", *(f"{value:+.2f} %" for value in bits)),
            ("PSNR of level 3, below full widths", *(f"{value:+.2f} dB" for value in light - full)),
        ]
        qualities = (f"quality {q}" for q in m.report["circumstances"]["qualities"])
        parts.append(markdown_table(("Kodak, means of real files", *qualities), lines))
    return "\n\n".join(parts) or "Not measured."


def _groups(name: str) -> int:
    return int(name.split()[-1])


def latency_block(m: Measured) -> str:
    """How well the latency table foretells networks."""
    assert m.latency is not None
    rows = [
        (
            row["name"],
            f"{row['measured_ms']:.1f}",
            f"{row['foretold_ms']:.1f}",
            f"{row['error_percent']:+.1f} %",
        )
        for row in m.latency["structures"]
        if row["name"].startswith(("level", "learned"))
    ]
    said = (
        f"Over {m.latency['rows']} structures, packaged, learned, uniform and random ones, the table misses the "
        f"network time of encoding and decoding by {m.latency['mean_error_percent']:.1f} % on average and "
        f"{m.latency['largest_error_percent']:.1f} % at worst; {m.latency['within_limit']} are within "
        f"{m.latency['limit_percent']:.0f} %. Of them the packaged (level) and the learned ones, 768x512, one thread:"
    )
    return f"{prose(said)}\n\n{markdown_table(('structure', 'measured ms', 'foretold ms', 'error'), rows)}"


def budgets_block(m: Measured) -> str:
    """How often calls with a time budget kept it."""
    assert m.budgets is not None
    b = m.budgets
    return prose(
        f"{b['encodes_in_budget']} of {b['num_encodes']} encodes ({100 * b['encode_share']:.1f} %) and "
        f"{b['decodes_in_budget']} of {b['num_decodes']} decodes ({100 * b['decode_share']:.1f} %) kept a budget drawn "
        "between 10 and 80 ms; the others of as many calls were refused, with the least time that would do."
    )


BLOCKS: dict[str, Callable[[Measured], str]] = {
    "levels": levels_block,
    "plans": plans_block,
    "control": control_block,
    "paper": paper_block,
    "rates": rates_block,
    "latency": latency_block,
    "budgets": budgets_block,
}


def gain(row: Row, digits: int = 1) -> tuple[str, str]:
    """BD-rate and BD-PSNR with their intervals."""
    return interval_of(row, "bd_rate", "percent", digits, "%"), interval_of(row, "bd_psnr", "db", digits + 1, "dB")


def interval_of(row: Row, kind: str, unit: str, digits: int, shown: str) -> str:
    value, low, high = (row["gain"][f"{kind}_{part}{unit}"] for part in ("", "low_", "high_"))
    if value is None or low is None or high is None:
        return "no common range"
    return interval(value, low, high, digits, shown)


def interval(value: float, low: float, high: float, digits: int, unit: str) -> str:
    """ "+1.20 dB [+1.00, +1.40]"."""
    return f"{value:+.{digits}f} {unit} [{low:+.{digits}f}, {high:+.{digits}f}]"


def won(row: Row) -> str:
    """By more than the noise over images."""
    return "yes" if row["won"] else "no"


def prose(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def marks(name: str) -> tuple[str, str]:
    """The comments around a block."""
    return f"<!-- measured: {name} -->", f"<!-- /measured: {name} -->"


def read(report: Path, table: Path, latency: Path | None, budgets: Path | None) -> Measured:
    """Raises BenchError naming the file that is not as it should be."""
    found: list[Any] = []
    for path in (report / "structure.json", table, latency, budgets):
        try:
            found.append(None if path is None else json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise BenchError(f"{path}: expected the JSON of a benchmark or of basic-search: {error}") from error
    return Measured(found[0], found[1]["notes"], *found[2:])


def fill(page: Path, measured: Measured) -> list[str]:
    """Fill every block that something was measured for; gives their names. Raises BenchError, OSError."""
    given = {"latency": measured.latency is not None, "budgets": measured.budgets is not None}
    names = [name for name in BLOCKS if given.get(name, True)]
    for name in names:
        try:
            content = BLOCKS[name](measured)
        except (KeyError, IndexError, TypeError, StopIteration) as error:
            raise BenchError(f"{name}: the reports lack {error!r}; measure with benchmarks/structure.sh") from error
        if name in PLOTS and (page.parent / PLOTS[name]).exists():
            content += f"\n\n![{PLOTS[name].removesuffix('.png').replace('_', ' ')}]({PLOTS[name]})"
        fill_page(page, content, *marks(name))
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """0 done, 1 a report or the page is not as it should be, 2 the command line alone is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m basic.benchmarks.structure_page", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("report", type=Path, metavar="DIR", help="what basic.benchmarks.structure -o wrote")
    parser.add_argument("page", type=Path, help="page to fill; plots go beside it")
    parser.add_argument("--table", type=Path, default=LEARNED, help="learned table (default: the shipped one)")
    parser.add_argument("--latency", type=Path, help="what basic.benchmarks.latency_check printed")
    parser.add_argument("--budgets", type=Path, help="what basic-bench --save-profile printed")
    args = parser.parse_args(argv)
    try:
        measured = read(args.report, args.table, args.latency, args.budgets)
        for name in PLOTS.values():
            if (args.report / name).exists():
                shutil.copyfile(args.report / name, args.page.parent / name)
        filled = fill(args.page, measured)
        learned = load_learned(Architecture(), args.table)
        if learned is not None:
            draw_plans(args.page.parent / "plans.png", learned.plans)
    except (BenchError, ValueError, OSError) as error:
        print(f"structure_page: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"page": str(args.page), "filled": filled}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main("structure_page", main))
