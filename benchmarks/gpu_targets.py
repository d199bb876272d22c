"""What the GPU suite's numbers have to reach, and whether they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .gpu_steps import Record

FULL_HD, UHD = "1920x1080", "3840x2160"


@dataclass(frozen=True, slots=True)
class Target:
    """`found` None: not measured. `at_least` False: at most."""

    name: str
    needed: float
    found: float | None
    at_least: bool = True

    @property
    def is_met(self) -> bool | None:
        if self.found is None:
            return None
        return self.found >= self.needed if self.at_least else self.found <= self.needed


def targets(record: Record, engine: str, levels: Sequence[int]) -> list[Target]:
    """Every target with what the record has of it; those of speed are meant for an H100 with TensorRT."""
    measured = [*record.results("images"), *record.results("beside")]
    rows = [row for result in measured if isinstance(result, list) for row in result]
    parts = [row for result in record.results("parts") for row in result]
    fits = record.data.get("fits", [])
    heaviest, lightest = max(levels), min(levels)
    found = [
        Target(
            f"level {heaviest}, {FULL_HD}, one at a time: {task}, images/s", 150, _rate(rows, engine, heaviest, task, 1)
        )
        for task in ("encode", "decode")
    ]
    for level, needed in ((heaviest, 300.0), (lightest, 500.0)):
        found += [
            Target(f"level {level}, {FULL_HD}, in batches: {task}, images/s", needed, _rate(rows, engine, level, task))
            for task in ("encode", "decode")
        ]
    for task in ("encode", "decode"):
        mine, eager = (_rate(rows, name, heaviest, task, 1) for name in (engine, "torch"))
        ratio = None if mine is None or eager is None else mine / eager
        found.append(Target(f"level {heaviest}, {FULL_HD}: {task}, times eager PyTorch", 4, ratio))
    above = [
        row["times_floor"] for row in parts if row["size"] == UHD and row["engine"] == engine and row["times_floor"]
    ]
    found.append(Target(f"parts at {UHD}: most times above the floor", 3, max(above, default=None), at_least=False))
    errors = {fit["model"]: fit["level_max_error_percent"] for fit in fits if FULL_HD in fit["clock"]}
    for model in ("call + macs", "call + macs + bytes"):
        name = f"fit of {model} to level latency at {FULL_HD}: worst error, percent"
        found.append(Target(name, 10, errors.get(model), at_least=False))
    losses = [loss for result in record.results("quality") for loss in result["mean_loss_db"].values()]
    found.append(Target("loss of half precision, dB", 0.02, max(losses, default=None), at_least=False))
    return found


def as_json(target: Target) -> dict[str, Any]:
    kind = "at least" if target.at_least else "at most"
    return {"target": target.name, kind: target.needed, "found": target.found, "met": target.is_met}


def _rate(rows: list[dict[str, Any]], engine: str, level: int, task: str, batch: int | None = None) -> float | None:
    """Images a second in 1080p; the best batch above 1 where none is given."""
    chosen = [
        row["images_per_s"]
        for row in rows
        if (row["engine"], row["level"], row["task"], row["size"]) == (engine, level, task, FULL_HD)
        and (row["batch"] == batch if batch is not None else row["batch"] > 1)
    ]
    return max(chosen, default=None)
