"""What options of benchmarks may be, checked as the command line is read: a wrong one ends the command with 2.

Nothing is imported here that a GPU host lacks: the suite that runs there reads its options with these too.
"""

import argparse

from ..runtime.bitstream import MAX_QUALITY
from ..runtime.engine import MAX_THREADS, engine_names
from .engines import TORCH_ENGINES
from .gpu import parse_size
from .results import BenchError

KNOWN = (*engine_names(), *TORCH_ENGINES)
"""Engines by name, whether they work here or not."""


def numbers(text: str) -> tuple[int, ...]:
    """ "0,3,7" -> (0, 3, 7), each once."""
    try:
        found = tuple(dict.fromkeys(int(item) for item in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers separated by commas, got {text!r}") from None
    if any(number < 0 for number in found):
        raise argparse.ArgumentTypeError(f"expected numbers from 0 up, got {text!r}")
    return found


def engines(text: str) -> tuple[str, ...]:
    """ "ort,oracle" -> ("ort", "oracle"), each once."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in found:
        if name not in KNOWN:
            raise argparse.ArgumentTypeError(f"engine {name!r}: expected one of {', '.join(KNOWN)}")
    return found


def sizes(text: str) -> tuple[str, ...]:
    """ "768x512,1920x1080", each once."""
    found = tuple(dict.fromkeys(text.split(",")))
    try:
        for size in found:
            parse_size(size)
    except BenchError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return found


def batches(text: str) -> tuple[int, ...]:
    """Numbers from 1 up."""
    return tuple(positive(str(number)) for number in numbers(text))


def threads(text: str) -> int:
    """What an engine takes."""
    number = positive(text)
    if number > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_THREADS} threads, got {text}")
    return number


def qualities(text: str) -> tuple[int, ...]:
    """Numbers in 0..63."""
    return tuple(quality(str(number)) for number in numbers(text))


def quality(text: str) -> int:
    """One number in 0..63."""
    (number,) = numbers(text) if "," not in text else (MAX_QUALITY + 1,)
    if number > MAX_QUALITY:
        raise argparse.ArgumentTypeError(f"quality: expected 0..{MAX_QUALITY}, got {text}")
    return number


def positive(text: str) -> int:
    """A whole number from 1 up."""
    (number,) = numbers(text) if "," not in text else (0,)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text!r}")
    return number
