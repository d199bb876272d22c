"""Group plans as a picture: for each plan the 2x2 cell of phases beside 8 channel slices, coloured by group."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...runtime.files import whole_file
from ...runtime.groups import NUM_PHASES, NUM_SLICES, Plan


def draw_plans(path: Path, plans: Mapping[int, Plan]) -> None:
    """Write a PNG: rows are phases (row and column parity of the latent), columns channel slices, numbers groups."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(f"--picture: {error}; pip install 'basic-nic[bench]'") from error
    shown = {count: plan for count, plan in plans.items() if count > 1} or dict(plans)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.5 * rows), layout="constrained")
    for place, (count, plan) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        group_of = np.zeros(NUM_PHASES * NUM_SLICES, int)
        for number, group in enumerate(plan):
            group_of[list(group)] = number
        grid = group_of.reshape(NUM_PHASES, NUM_SLICES)
        axes.imshow(grid, cmap="viridis", vmin=0, vmax=max(1, count - 1))
        for (row, column), number in np.ndenumerate(grid):
            colour = "white" if number <= 0.6 * (count - 1) else "black"
            axes.text(column, row, str(number + 1), ha="center", va="center", color=colour)
        axes.set_title(f"{count} groups", fontsize=10)
        axes.set_xticks(range(NUM_SLICES), [str(n) for n in range(NUM_SLICES)])
        axes.set_yticks(range(NUM_PHASES), ["even, even", "even, odd", "odd, even", "odd, odd"])
        axes.tick_params(labelsize=7)
        axes.set_xlabel("channel slice", fontsize=8)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=110)
