"""Progress of a run: a line every so many steps (a live one on a terminal), TensorBoard, and metrics.jsonl."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Progress:
    """Writes only on the first rank. Numbers are means since the line before; the last steps have a line too."""

    def __init__(self, folder: Path, num_steps: int, log_every: int, active: bool) -> None:
        self.num_steps, self.log_every, self.active = num_steps, log_every, active
        self.sums: dict[str, float] = {}
        self.count, self.since = 0, time.monotonic()
        self.last = 0
        if not active:
            return
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.board: Any = SummaryWriter(str(folder / "tensorboard"))
        self.log = (folder / "metrics.jsonl").open("a")

    def step(self, step: int, values: dict[str, float]) -> None:
        """Add the numbers of a step; every `log_every` steps print and store their means."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        self.last = step + 1
        if self.active and self.last % self.log_every == 0:
            self._line()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside is no step and does not count for the steps a second."""
        start = time.monotonic()
        yield
        self.since += time.monotonic() - start

    def _line(self) -> None:
        """Print and store the means, and begin anew."""
        now = time.monotonic()
        means = {name: total / self.count for name, total in self.sums.items()}
        means["steps_per_second"] = self.count / (now - self.since)
        left = (self.num_steps - self.last) / means["steps_per_second"]
        line = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        live = sys.stderr.isatty()
        print(
            f"step {self.last}/{self.num_steps}  {line}  left {_clock(left)}",
            end="\r" if live else "\n",
            file=sys.stderr,
            flush=True,
        )
        self._store(self.last, "train", means)
        self.sums, self.count, self.since = {}, 0, now

    def validation(self, step: int, table: dict[str, dict[str, float]]) -> None:
        """Print and store a table of name/quality -> numbers."""
        for name, row in table.items():
            self._store(step, f"valid/{name}", row)
        rows = [f"{name}: {row['bpp']:.3f} bpp {row['psnr_db']:.2f} dB" for name, row in table.items()]
        print(f"step {step} valid  " + "; ".join(rows), file=sys.stderr, flush=True)

    def _store(self, step: int, group: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.board.add_scalar(f"{group}/{name}", value, step)
        self.log.write(json.dumps({"step": step, "group": group} | {k: round(v, 5) for k, v in values.items()}) + "\n")
        self.log.flush()

    def close(self) -> None:
        """End with a line of the steps since the last one."""
        if self.active:
            if self.count:
                self._line()
            self.board.close()
            self.log.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
