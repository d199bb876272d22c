"""The fused passes do what numpy would do, to the last bit, and refuse what has no exact answer."""

import numpy as np
import pytest
from coder_cases import coder, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from basic.runtime import _ans
from basic.runtime.errors import BitstreamError

FLOATS = st.floats(-(2.0**19), 2.0**19, width=32)


@given(st.data(), st.integers(0, 70))
@settings(deadline=None)
def test_quantise_is_numpys(data, size):
    y = data.draw(arrays(np.float32, size, elements=FLOATS))
    means = data.draw(arrays(np.int16, size))
    symbols = np.empty(size, np.int32)
    y_hat = _ans.quantise(y, means, symbols)
    expected = np.rint(y - means * np.float32(0.125))
    np.testing.assert_array_equal(symbols, expected)
    np.testing.assert_array_equal(y_hat, expected + means * np.float32(0.125))


def test_quantise_rounds_ties_to_even():
    y = np.arange(-4.5, 5, 1, np.float32)
    symbols = np.empty(len(y), np.int32)
    _ans.quantise(y, np.zeros(len(y), np.int16), symbols)
    np.testing.assert_array_equal(symbols, np.rint(y))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 2.0**20 + 1, -3e38])
def test_quantise_refuses_what_is_no_latent(wrong):
    y = np.zeros((3, 40), np.float32)
    y[1, 7] = wrong
    with pytest.raises(ValueError, match="y: expected numbers within"):
        _ans.quantise(y, np.zeros((3, 40), np.int16), np.empty((3, 40), np.int32))


def test_quantise_refuses_wrong_arrays():
    y, means, symbols = np.zeros(5, np.float32), np.zeros(5, np.int16), np.zeros(5, np.int32)
    with pytest.raises(TypeError, match="y: expected a contiguous float32 array, got float64"):
        _ans.quantise(y.astype(np.float64), means, symbols)
    with pytest.raises(TypeError, match="means: expected a contiguous int16"):
        _ans.quantise(y, symbols, symbols)
    with pytest.raises(ValueError, match="y and symbols: expected the same shape"):
        _ans.quantise(y, means, symbols[:4])
    symbols.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _ans.quantise(y, means, symbols)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_decode_latents_adds_the_means(dtype):
    tables = coder()
    symbols, indexes = gaussian(6000)
    means = np.random.default_rng(2).integers(-800, 800, (2, 30, 100)).astype(np.int16)
    decoder = _ans.Decoder(_ans.encode(symbols, indexes, tables), tables)
    y_hat = decoder.decode_latents(indexes.reshape(2, 30, 100).astype(dtype), means)
    decoder.finish()
    assert y_hat.dtype == np.float32
    np.testing.assert_array_equal(y_hat * 8, symbols.reshape(y_hat.shape) * 8 + means)


@pytest.mark.parametrize(("symbol", "fits"), [(2**20, True), (-(2**20), True), (2**20 + 1, False), (-(2**31), False)])
def test_decode_latents_refuses_far_symbols(symbol, fits):
    tables = coder()
    symbols, indexes = gaussian(2000)
    symbols[1500] = symbol
    decoder = _ans.Decoder(_ans.encode(symbols, indexes, tables), tables)
    if fits:
        assert decoder.decode_latents(indexes, np.zeros(2000, np.int16))[1500] == symbol
        return
    with pytest.raises(BitstreamError, match="a latent beyond"):
        decoder.decode_latents(indexes, np.zeros(2000, np.int16))
    with pytest.raises(BitstreamError, match="earlier call"):
        decoder.finish()


def test_decode_latents_refuses_other_shapes():
    tables = coder()
    symbols, indexes = gaussian(60)
    decoder = _ans.Decoder(_ans.encode(symbols, indexes, tables), tables)
    with pytest.raises(ValueError, match="indexes and means: expected the same shape"):
        decoder.decode_latents(indexes, np.zeros((6, 10), np.int16))
