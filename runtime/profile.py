"""Where the time of one encode or decode goes, part by part."""

import time
from contextlib import AbstractContextManager, nullcontext

from .errors import ArgumentError

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

    def part(self, name: str) -> AbstractContextManager[None]:
        """Count what runs inside for part `name`."""
        return _Part(self, name)

    def whole(self) -> AbstractContextManager[None]:
        """Count for "glue" what runs inside and is not counted for a part."""
        return _Whole(self, "glue")


class _Part:
    """One piece of work; a class of its own, since a generator would take as long as the shortest parts."""

    __slots__ = ("_cpu", "_name", "_profile", "_wall")

    def __init__(self, profile: Profile, name: str) -> None:
        self._profile, self._name = profile, name

    def __enter__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, kind: type[BaseException] | None, error: object, at: object) -> None:
        if kind is None:
            self._profile.add(self._name, time.perf_counter() - self._wall, time.process_time() - self._cpu)


class _Whole(_Part):
    """All of a call, less what its parts count."""

    __slots__ = ()

    def __enter__(self) -> None:
        wall, cpu = sum(self._profile.wall_s.values()), sum(self._profile.cpu_s.values())
        self._wall, self._cpu = time.perf_counter() - wall, time.process_time() - cpu

    def __exit__(self, kind: type[BaseException] | None, error: object, at: object) -> None:
        wall, cpu = sum(self._profile.wall_s.values()), sum(self._profile.cpu_s.values())
        if kind is None:
            self._profile.add(
                self._name, time.perf_counter() - self._wall - wall, time.process_time() - self._cpu - cpu
            )


def measure(profile: Profile | None, part: str) -> AbstractContextManager[None]:
    """`profile.part(part)`, or nothing where nobody measures."""
    return _NOTHING if profile is None else _checked(profile).part(part)


def measure_whole(profile: Profile | None) -> AbstractContextManager[None]:
    """`profile.whole()`, or nothing where nobody measures."""
    return _NOTHING if profile is None else _checked(profile).whole()


def _checked(profile: Profile) -> Profile:
    if not isinstance(profile, Profile):
        raise ArgumentError(f"profile: expected a basic.runtime.profile.Profile, got {type(profile).__name__}")
    return profile
