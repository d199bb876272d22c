"""A list of steps with a time limit, most important first; every outcome is kept as it comes, and a second run goes on.

What a newcomer gets wrong: a step that failed is not the end. It is written down with its error and tried again by the
next run; one in which the process died comes last then. Steps that are done are kept, as long as device, engine and
bundle are the same.
"""

import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.files import replacing

FORMAT, FORMAT_VERSION = "basic-gpu-suite", 1
RUNNING = "running"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """`name` as "kind:what"; `run` gives JSON data or raises. Steps of a kind are taken to last alike."""

    name: str
    run: Callable[[], Any]

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]


class Record:
    """The JSON file of a suite."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self.data: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, "identity": identity}
        self.data |= {"circumstances": {}, "targets": [], "steps": {}}
        kept = _read(path)
        self.resumed = kept is not None and kept.get("identity") == json.loads(json.dumps(identity))
        if kept is not None and self.resumed:
            self.data = kept

    @property
    def steps(self) -> dict[str, Any]:
        found: dict[str, Any] = self.data["steps"]
        return found

    def result(self, name: str) -> Any:
        """What a step found, None where it is not done."""
        step = self.steps.get(name)
        return step["result"] if step is not None and step["status"] == "done" else None

    def results(self, kind: str) -> list[Any]:
        """What every done step of a kind found."""
        names = [name for name in self.steps if name.partition(":")[0] == kind]
        return [result for name in names if (result := self.result(name)) is not None]

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as file:
            file.write((json.dumps(self.data, indent=1) + "\n").encode())


def run_steps(
    steps: Sequence[Step], record: Record, limit_s: float, say: Say, clock: Callable[[], float] = time.monotonic
) -> None:
    """Run what is not done yet, in order, as long as it is likely to end within the limit.

    A step's time is guessed from the longest of its kind so far; one that does not fit is passed over for others.
    """
    start = clock()
    for step in sorted(steps, key=lambda step: record.steps.get(step.name, {}).get("status") == RUNNING):
        before = record.steps.get(step.name)
        if before is not None and before["status"] == "done":
            continue
        spent = clock() - start
        alike = [kept["seconds"] for name, kept in record.steps.items() if name.partition(":")[0] == step.kind]
        if spent + max(alike, default=0.0) > limit_s or spent >= limit_s:
            record.steps.setdefault(step.name, {"status": "no time", "seconds": 0.0})
            say(f"{step.name}: no time left")
            continue
        say(step.name)
        record.steps[step.name] = {"status": RUNNING, "seconds": 0.0}
        record.save()
        began = clock()
        try:
            outcome = {"status": "done", "result": step.run()}
        except Exception as error:  # whatever it is, the other steps are worth running
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            outcome = {"status": "failed", "error": f"{type(error).__name__}: {error}", "where": where}
            say(f"{step.name}: {outcome['error']}")
        record.steps[step.name] = outcome | {"seconds": round(clock() - began, 3)}
        record.save()
    record.save()


def is_complete(record: Record, steps: Sequence[Step]) -> bool:
    return all(record.steps.get(step.name, {}).get("status") == "done" for step in steps)


def failures(record: Record) -> list[str]:
    """Names of steps that failed, or ended the process, in the last run that tried them."""
    return [name for name, step in record.steps.items() if step["status"] in ("failed", RUNNING)]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    good = isinstance(kept, dict) and (kept.get("format"), kept.get("format_version")) == (FORMAT, FORMAT_VERSION)
    return kept if good else None
