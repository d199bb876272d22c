"""What commands share: a missing extra, an interruption, a terminal of few letters end in a line, not a traceback.

What a newcomer gets wrong: importing the packages of a command takes seconds, in which it may be interrupted too. So
entry points import this alone, and the rest from inside.
"""

import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType


def run_command(command: str, module: str, argv: Sequence[str] | None, extra: str | None = None) -> int:
    """`run_main` of `main(argv)` of a module; 1 too where a package is missing that comes with an extra, with the
    cure."""

    def main() -> int:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if extra is None:
                raise
            cure = f"needs {error.name}; install the extra: pip install 'basic-nic[{extra}]'"
            print(f"{command}: {cure}", file=sys.stderr)
            return 1
        return int(found.main(argv))

    return run_main(command, main)


def run_main(command: str, main: Callable[[], int]) -> int:
    """What `main` gives; 1 where it is interrupted (Ctrl-C, SIGTERM), where its output cannot be written or is read no
    further (`| head`)."""
    _make_streams_sound()
    with _terminated_as_interrupted():
        try:
            status = main()
            return status if _is_written(command) else 1
        except SystemExit:  # argparse, after --help
            if _is_written(command):
                raise
            return 1
        except BrokenPipeError:
            _is_written(command)
            return 1
        except KeyboardInterrupt:
            print(f"{command}: interrupted", file=sys.stderr)
            return 1


def _is_written(command: str) -> bool:
    """Whether all that was printed went out. Where it was read no further nothing is said; the rest goes nowhere."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):  # the latter is Windows' word for the former
            said = f"standard output: cannot be written: {error.strerror}; free some space, or send it elsewhere"
            print(f"{command}: {said}", file=sys.stderr)
        with suppress(OSError, ValueError):  # else Python would try once more at its end
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return False
    return True


def _make_streams_sound() -> None:
    """Letters that a stream's encoding lacks are escaped; what is said to a closed stream is lost."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (until the end of the process)
        elif hasattr(stream, "reconfigure"):
            with suppress(ValueError):
                stream.reconfigure(errors="backslashreplace")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt inside, so that what is half done is cleared away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
