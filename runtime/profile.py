"""Where the time of one encode or decode goes, part by part."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

GLUE = ("image", "pixels", "latents", "file", "glue")
"""Neither network nor coder: Pillow <-> planes; planes <-> what networks take and give, windows; rounding, packing and
cutting latents; header, checksums, side segments; the rest."""
_NOTHING = nullcontext()


class Profile:
    """Seconds per part, summed over every call that it is given to; use it from one thread at a time.

    Parts are the networks "analysis", "hyper", "context_g0" .., "synthesis"; "coder"; and GLUE, of which "glue" is what
    no other part accounts for. `wall_s` is elapsed time, `cpu_s` processor time of the whole process.
    """

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}

    def add(self, part: str, wall_s: float, cpu_s: float) -> None:
        """Count so many seconds for a part."""
        self.wall_s[part] = self.wall_s.get(part, 0.0) + wall_s
        self.cpu_s[part] = self.cpu_s.get(part, 0.0) + cpu_s

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what runs inside for part `name`."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.add(name, time.perf_counter() - wall, time.process_time() - cpu)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Count for "glue" what runs inside and is not counted for a part."""
        wall = time.perf_counter() - sum(self.wall_s.values())
        cpu = time.process_time() - sum(self.cpu_s.values())
        yield
        wall = time.perf_counter() - sum(self.wall_s.values()) - wall
        cpu = time.process_time() - sum(self.cpu_s.values()) - cpu
        self.add("glue", wall, cpu)


def measure(profile: Profile | None, part: str) -> AbstractContextManager[None]:
    """`profile.part(part)`, or nothing where nobody measures."""
    return _NOTHING if profile is None else profile.part(part)
