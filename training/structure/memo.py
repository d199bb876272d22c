"""What a search has measured so far, in a file: a search that is started again takes the same way and finds it there.

A search is a pure function of what it measures, so nothing of its own progress needs saving. The file is written to a
temporary name and renamed, every half minute and when a stop is asked for.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...runtime.files import write_whole
from ..train import StopRequest

FORMAT, FORMAT_VERSION = "basic-search-state", 1
SAVE_EVERY_S = 30.0

Values = tuple[float, ...]


class StoppedError(Exception):
    """A stop was asked for between two measurements; what was measured is saved."""


class Memo:
    """Measurements by key. `settings` is all that they depend on; a file of other settings is refused."""

    def __init__(self, path: Path, settings: dict[str, Any], stop: StopRequest | None = None) -> None:
        self.path, self.settings, self._stop = path, settings, stop
        self.values: dict[str, Values] = {}
        self.num_measured = 0
        self._saved_at = time.monotonic()
        if path.exists():
            self.values = self._load()
        self.num_found = len(self.values)

    def get(self, key: str, measure: Callable[[], Values]) -> Values:
        """The value of a key, measured where it is not known. Raises StoppedError instead, once a stop is asked for."""
        if key not in self.values:
            if self._stop is not None and self._stop.asked:
                self.save()
                raise StoppedError
            self.values[key] = tuple(float(value) for value in measure())
            self.num_measured += 1
            if time.monotonic() - self._saved_at > SAVE_EVERY_S:
                self.save()
        return self.values[key]

    def save(self) -> None:
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "settings": self.settings,
            "values": {key: [float(f"{value:.12g}") for value in values] for key, values in self.values.items()},
        }
        write_whole(self.path, json.dumps(content))
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """The search is done and its result written."""
        self.path.unlink(missing_ok=True)

    def _load(self) -> dict[str, Values]:
        try:
            content = json.loads(self.path.read_text())
            if (content["format"], content["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"expected {FORMAT} version {FORMAT_VERSION}")
            saved = content["settings"]
            values = {key: tuple(map(float, found)) for key, found in content["values"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path}: not the state of a search ({error!r}); delete it to begin anew") from error
        if saved != json.loads(json.dumps(self.settings)):
            other = sorted(k for k in saved.keys() | self.settings.keys() if saved.get(k) != self.settings.get(k))
            raise ValueError(
                f"{self.path}: state of a search with another {', '.join(other)}; delete it, or choose another output"
            )
        return values
