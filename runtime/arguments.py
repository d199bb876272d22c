"""Arguments of the wrong type or out of their range, refused by name before anything is begun.

What a newcomer gets wrong: `True` is an int in Python and 3.0 equals 3; neither is a whole number here. numpy's
integers are.
"""

import math
import operator
import os
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from .errors import ArgumentError


def whole(name: str, value: Any, low: int | None = None, high: int | None = None, unit: int = 1) -> int:
    """`value` as an int, a multiple of `unit` in low..high (None: without end). Raises ArgumentError."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        found = operator.index(value)
        if (low is None or low <= found) and (high is None or found <= high) and found % unit == 0:
            return found
    except TypeError:
        pass
    kind = "a whole number" if unit == 1 else f"a multiple of {unit}"
    span = "" if low is None else f" from {low} up" if high is None else f" in {low}..{high}"
    raise ArgumentError(f"{name}: expected {kind}{span}, got {_shown(value)}")


def positive(name: str, value: Any, unit: str, zero: bool = False) -> float:
    """`value` as a finite float above 0, or from 0 up where `zero`. `unit` is for the message. Raises ArgumentError."""
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if is_number and math.isfinite(value) and (value > 0 or (zero and value == 0)):
        return float(value)
    kind = f"a number of at least 0 {unit}" if zero else f"a positive number of {unit}"
    raise ArgumentError(f"{name}: expected {kind}, got {_shown(value)}")


def several(name: str, value: Any, each: str) -> Sequence[Any]:
    """`value` where it can be a sequence of things, not the text or bytes of one. Raises ArgumentError."""
    if isinstance(value, str | bytes | bytearray | memoryview | os.PathLike) or not hasattr(value, "__iter__"):
        raise ArgumentError(f"{name}: expected a list of {each}, got {_shown(value)}; put it in a list: [...]")
    return list(value)


def file_bytes(value: Any) -> memoryview:
    """The bytes of a file, or another buffer in one piece, as a view of single bytes. Raises ArgumentError."""
    try:
        return memoryview(value).cast("B")
    except TypeError:
        pass
    cure = "; read the file first: pathlib.Path(name).read_bytes()" if isinstance(value, str | os.PathLike) else ""
    raise ArgumentError(f"data: expected the bytes of a file, got {_shown(value)}{cure}")


def _shown(value: Any) -> str:
    """Numbers as they are; of anything else its type too, and no more than a line."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
