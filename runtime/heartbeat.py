"""A line now and then while something takes minutes and says nothing itself.

What a newcomer gets wrong: silence of ten minutes looks like a hang. The lines come from a thread of their own, so what
runs must let other threads run, as TensorRT's builder does.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 30.0


@contextmanager
def heartbeat(say: Callable[[str], None], what: str, every_s: float = EVERY_S) -> Iterator[None]:
    """Calls `say` with `what` and the seconds so far, every `every_s` seconds until the block ends."""
    over, started = threading.Event(), time.monotonic()

    def beat() -> None:
        while not over.wait(every_s):
            say(f"{what}: {time.monotonic() - started:.0f} s")

    thread = threading.Thread(target=beat, name="basic-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
