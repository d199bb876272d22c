"""Coding of one batch of tiles while the networks run on another.

What a newcomer gets wrong: the networks of one batch must run in order and so must its coding, but different batches
share nothing. So each batch is a job, jobs run in a few threads, and a lock (or, on a GPU, its own queue) keeps the
networks one at a time: while one batch holds the networks, others are being coded. Results do not depend on any of it.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from .engine import Array, Session, Traits

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_JOBS = 8
"""More batches under way than this gain nothing: the networks are always busy."""
MAX_SIDE_BY_SIDE = 4
"""Networks that run at once, each with memory of its own."""


class InTurn:
    """A session that waits until no other one with the same lock runs."""

    def __init__(self, session: Session, lock: threading.Lock) -> None:
        self._session, self._lock = session, lock

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._lock:
            return self._session.run(inputs)


class Overlap:
    """Runs batches for one codec, as its engine's traits say."""

    def __init__(self, traits: Traits) -> None:
        self._kind = traits.overlap
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self.num_jobs = {"none": 1, "turns": 2, "queue": min(MAX_JOBS, max(2, os.cpu_count() or 1))}[traits.overlap]
        """Batches under way at once."""
        self.num_threads = traits.num_threads if traits.num_threads <= MAX_SIDE_BY_SIDE else 1
        """Networks of one thread that may run side by side instead of one with all threads."""

    def session(self, session: Session) -> Session:
        """The session as the jobs should use it."""
        return InTurn(session, self._lock) if self._kind == "turns" else session

    def shared_out(self, batches: Sequence[list[Any]]) -> list[list[Any]] | None:
        """As many batches as there are threads, or None where there are too few, or one thread. Work that is shared out
        so takes networks of one thread: nothing waits for anything, glue and coder least of all."""
        found = divided(batches, self.num_threads)
        return found if 1 < self.num_threads <= len(found) else None

    def run(self, work: Callable[[Item], Result], batches: Sequence[Item], one_by_one: bool = False) -> list[Result]:
        """`work` of every batch, in their order; the first error in that order is raised, the rest is not begun.

        Nothing of it runs on when this returns or raises: jobs write into memory of the caller.
        """
        if one_by_one or max(self.num_jobs, self.num_threads) == 1 or len(batches) < 2:
            return [work(batch) for batch in batches]
        if self._process != os.getpid():  # after a fork the pool has no threads
            self._pool, self._process = None, os.getpid()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max(self.num_jobs, self.num_threads), thread_name_prefix="basic-tiles")
            pool = self._pool
        futures: list[Future[Result]] = [pool.submit(work, batch) for batch in batches]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)

    def close(self) -> None:
        """Let the threads end."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


def divided(batches: Sequence[list[Any]], at_least: int) -> list[list[Any]]:
    """Batches, the largest ones halved until there are `at_least` of them or each holds a single tile."""
    found = [list(batch) for batch in batches]
    while len(found) < at_least:
        largest = max(range(len(found)), key=lambda i: len(found[i]), default=None)
        if largest is None or len(found[largest]) < 2:
            break
        batch = found[largest]
        found[largest : largest + 1] = [batch[: (len(batch) + 1) // 2], batch[(len(batch) + 1) // 2 :]]
    return found
