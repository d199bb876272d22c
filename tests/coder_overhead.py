"""What a stream of the coder takes beyond its symbols, counted from the states that the plain decoder sees."""

from collections.abc import Sequence
from math import floor, log2

import numpy as np
from plain_rans import PlainDecoder, Table, split_tables

from basic.runtime.tables import TableArrays


def plain_tables(tables: TableArrays) -> list[Table]:
    """The tables as the plain decoder takes them."""
    return split_tables(tables.frequencies.tolist(), tables.lengths.tolist(), tables.offsets.tolist())


def overhead_bytes(stream: bytes, indexes: np.ndarray, tables: Sequence[Table], precision: int = 14) -> float:
    """Header, states and termination: what is written less what the states hold of symbols."""
    states = PlainDecoder(stream, list(tables), precision).states
    decoder = PlainDecoder(stream, list(tables), precision)
    for index in indexes[: decoder.tail].tolist():
        decoder.symbol(index)
    num_bytes = 1 + next(k for k, byte in enumerate(stream) if byte < 128)
    bits = 8 * num_bytes + 32 - (log2(int.from_bytes(stream[num_bytes : num_bytes + 4], "little")) - 16)
    for first, last in zip(states[1:], decoder.states[1:], strict=True):
        bits += 20 + floor(log2(first >> 16)) - log2(first)  # written for a lane's state, which holds symbols
        bits += log2(last) - 16  # a start value holds a word of the tail
    return bits / 8
