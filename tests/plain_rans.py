"""A decoder in plain Python, written from docs/coder.md alone: it proves that the page says enough.

Slow and simple on purpose. usage: plain_rans.py FILE.npz, a golden file; prints the number of symbols it decoded.
"""

import sys
from collections.abc import Sequence

import numpy as np


class Table:
    """One quantised CDF: `frequencies` with the escape last, the first symbol `offset`."""

    def __init__(self, frequencies: Sequence[int], offset: int) -> None:
        self.frequencies = list(frequencies)
        self.offset = offset
        self.slots = [k for k, frequency in enumerate(frequencies) for _ in range(frequency)]
        self.starts = [sum(self.frequencies[:k]) for k in range(len(self.frequencies))]


def split_tables(frequencies: Sequence[int], lengths: Sequence[int], offsets: Sequence[int]) -> list[Table]:
    """The tables of a table set."""
    tables, first = [], 0
    for length, offset in zip(lengths, offsets, strict=True):
        tables.append(Table(frequencies[first : first + length], offset))
        first += length
    return tables


class PlainDecoder:
    """Reads one stream."""

    def __init__(self, stream: bytes, tables: list[Table], precision: int) -> None:
        self.tables, self.precision = tables, precision
        first, at = 0, 0
        while True:
            first |= (stream[at] & 127) << (7 * at)
            at += 1
            if stream[at - 1] < 128:
                break
        self.num_lanes, self.tail = 1 << first % 8, first // 8 * 256
        self.states = [int.from_bytes(stream[at : at + 4], "little")]
        self.words = [int.from_bytes(stream[k : k + 2], "little") for k in range(at + 4, len(stream), 2)]
        self.words.reverse()  # the next word is the last element
        self.position = 0
        self.in_tail = self.num_lanes == 1
        for _ in range(1, self.num_lanes):
            exponent = self.get_bits(0, 4)
            high = 1 << exponent | self.get_bits(0, exponent)
            self.states.append(high << 16 | self.get_bits(0, 16))

    def renormalise(self, lane: int) -> None:
        if self.states[lane] < 1 << 16:
            self.states[lane] = self.states[lane] << 16 | self.words.pop()

    def get_bits(self, lane: int, num_bits: int) -> int:
        value = self.states[lane] % (1 << num_bits)
        self.states[lane] >>= num_bits
        self.renormalise(lane)
        return value

    def enter_tail(self) -> None:
        for state in reversed(self.states[1:]):
            assert state >> 16 == 1
            self.words.append(state & 0xFFFF)
        self.in_tail = True

    def symbol(self, index: int) -> int:
        if not self.in_tail and self.position == self.tail:
            self.enter_tail()
        lane = 0 if self.in_tail else self.position % self.num_lanes
        self.position += 1
        table = self.tables[index]
        state = self.states[lane]
        slot = state % (1 << self.precision)
        k = table.slots[slot]
        self.states[lane] = table.frequencies[k] * (state >> self.precision) + slot - table.starts[k]
        self.renormalise(lane)
        if k < len(table.frequencies) - 1:
            return table.offset + k
        return self.escape(lane, table)

    def escape(self, lane: int, table: Table) -> int:
        head = self.get_bits(lane, 4)
        distance = head >> 1
        if distance == 6:
            distance = 6 + self.get_bits(lane, 8)
        elif distance == 7:
            distance = self.get_bits(lane, 16) << 16
            distance |= self.get_bits(lane, 16)
        if head & 1:
            return table.offset - 1 - distance
        return table.offset + len(table.frequencies) - 1 + distance

    def finish(self) -> None:
        if not self.in_tail and self.position == self.tail:
            self.enter_tail()
        assert self.in_tail and not self.words and self.states[0] == 1 << 16


def decode_golden(path: str) -> tuple[list[int], list[int]]:
    """(decoded symbols, expected symbols) of a golden file."""
    with np.load(path) as golden:
        tables = split_tables(*(golden[name].tolist() for name in ("frequencies", "lengths", "offsets")))
        decoder = PlainDecoder(golden["stream"].tobytes(), tables, int(golden["precision"]))
        symbols = [decoder.symbol(index) for index in golden["indexes"].tolist()]
        decoder.finish()
        return symbols, golden["symbols"].tolist()


if __name__ == "__main__":
    decoded, expected = decode_golden(sys.argv[1])
    print(len(decoded))
    sys.exit(decoded != expected)
