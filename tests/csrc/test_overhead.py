"""What a stream takes beyond its symbols keeps the limit."""

import numpy as np
import pytest
from coder_cases import SCALES, coder, gaussian
from coder_overhead import overhead_bytes, plain_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime import _ans
from basic.runtime.tables import gaussian_tables

CODER = coder()
PLAIN = plain_tables(gaussian_tables(SCALES))


@given(
    st.integers(0, 6000), st.integers(1, 64), st.sampled_from((0, 2, 8, 16, 32)), st.integers(5, 30), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_any_limit_is_kept(num_symbols, num_tables, num_lanes, limit, seed):
    symbols, indexes = gaussian(num_symbols, seed, escapes=num_symbols // 1000, tables=num_tables)
    stream = _ans.encode(symbols, indexes, CODER, num_lanes, limit)
    assert overhead_bytes(stream, indexes, PLAIN) <= limit
    decoder = _ans.Decoder(stream, CODER)
    np.testing.assert_array_equal(decoder.decode(indexes), symbols)
    decoder.finish()


def test_a_limit_that_is_kept_anyway_changes_nothing():
    symbols, indexes = gaussian(20_000)
    stream = _ans.encode(symbols, indexes, CODER, 16)
    assert overhead_bytes(stream, indexes, PLAIN) > 8
    assert _ans.encode(symbols, indexes, CODER, 16, 17) == stream
    assert _ans.encode(symbols, indexes, CODER, 16, 8)[0] % 8 < 4


def test_fewer_lanes_where_the_usual_ones_pass_the_limit():
    symbols, indexes = gaussian(2**19 + 4096, seed=146, tables=14)
    usual, limited = _ans.encode(symbols, indexes, CODER), _ans.encode(symbols, indexes, CODER, 0, 14)
    assert (1 << usual[0] % 8, 1 << limited[0] % 8) == (16, 8)
    assert overhead_bytes(usual, indexes, PLAIN) > 14 > 11 > overhead_bytes(limited, indexes, PLAIN)


@pytest.mark.parametrize("wrong", [-1, 1, 4])
def test_a_limit_below_one_lane_is_refused(wrong):
    with pytest.raises(ValueError, match=f"max_overhead: expected at least 5 bytes, or 0 for no limit, got {wrong}"):
        _ans.encode(*gaussian(10), CODER, 0, wrong)
