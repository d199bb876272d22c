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


SHAPES = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 20))
STEPS = st.tuples(*[st.sampled_from((1, 2, 3, -1, -2))] * 3)


def strided(shape, steps):
    """float32 of that shape inside a larger array of sevens, and the larger one."""
    whole = np.full([abs(step) * length for step, length in zip(steps, shape, strict=True)], 7, np.float32)
    return whole[tuple(slice(None, None, step) for step in steps)], whole


def quantised(y, means, indexes=None, y_hat=None, num_silent=0):
    """What `quantise` codes of y: (symbols, indexes)."""
    indexes = np.zeros(y.shape, np.uint8) if indexes is None else indexes
    symbols, coded = np.full(y.size + 9, -77, np.int32), np.full(y.size + 9, 77, np.uint8)
    num = _ans.quantise(y, means, indexes, symbols[: y.size], coded[: y.size], y_hat, num_silent)
    assert (symbols[y.size :] == -77).all() and (coded[y.size :] == 77).all(), "wrote beyond its room"
    return symbols[:num], coded[:num]


def drawn_indexes(data, shape):
    """Scale indexes around a number of silent ones; runs of them, as channels that are hardly used have."""
    indexes = data.draw(arrays(np.uint8, shape, elements=st.sampled_from((0, 0, 1, 2, 9, 63))))
    indexes[data.draw(arrays(np.bool_, shape[:1]))] = 0
    return indexes, data.draw(st.sampled_from((0, 1, 2, 10, 64)))


@given(st.data(), SHAPES, STEPS, st.booleans())
@settings(deadline=None)
def test_quantise_is_numpys_wherever_y_lies(data, shape, steps, wants_y_hat):
    y, _ = strided(shape, steps)
    y[:] = data.draw(arrays(np.float32, shape, elements=FLOATS))
    means = data.draw(arrays(np.int16, shape))
    indexes, num_silent = drawn_indexes(data, shape)
    loud = indexes >= num_silent
    y[~loud] = np.nan  # nobody looks at it
    y_hat = np.empty(shape, np.float32) if wants_y_hat else None
    symbols, coded = quantised(y, means, indexes, y_hat, num_silent)
    expected = np.where(loud, np.rint(y - means * np.float32(0.125)), np.float32(0))
    np.testing.assert_array_equal(symbols, expected[loud])
    np.testing.assert_array_equal(coded, indexes[loud])
    if y_hat is not None:
        np.testing.assert_array_equal(y_hat, expected + means * np.float32(0.125))


def test_quantise_rounds_ties_to_even():
    y = np.arange(-4.5, 5, 1, np.float32)[None, None]
    np.testing.assert_array_equal(quantised(y, np.zeros(y.shape, np.int16))[0], np.rint(y).ravel())


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 2.0**20 + 1, -3e38])
def test_quantise_refuses_what_is_no_latent(wrong, step):
    y = np.zeros((1, 30, 140 * step), np.float32)[:, :, ::step]
    y[0, 29, 137] = wrong
    with pytest.raises(ValueError, match="y: expected numbers within"):
        quantised(y, np.zeros(y.shape, np.int16))
    indexes = np.ones(y.shape, np.uint8)
    indexes[0, 29, 137] = 0
    assert len(quantised(y, np.zeros(y.shape, np.int16), indexes, num_silent=1)[0]) == y.size - 1


def test_quantise_refuses_wrong_arrays():
    y, means, symbols = (np.zeros((1, 1, 5), dtype) for dtype in (np.float32, np.int16, np.int32))
    indexes, coded = np.zeros(y.shape, np.uint8), np.zeros(y.shape, np.uint8)
    with pytest.raises(TypeError, match=r"y: expected a float32 array \(n, h, w\), got float64"):
        _ans.quantise(y.astype(np.float64), means, indexes, symbols, coded)
    with pytest.raises(TypeError, match="y: expected a float32 array"):
        _ans.quantise(y[0], means[0], indexes[0], symbols, coded)
    with pytest.raises(TypeError, match="means: expected a contiguous int16"):
        _ans.quantise(y, symbols, indexes, symbols, coded)
    with pytest.raises(TypeError, match="indexes: expected a contiguous uint8"):
        _ans.quantise(y, means, means, symbols, coded)
    with pytest.raises(ValueError, match="y and indexes: expected the same shape"):
        _ans.quantise(y, means, indexes[:, :, :4], symbols, coded)
    with pytest.raises(ValueError, match="symbols: expected room for 5"):
        _ans.quantise(y, means, indexes, symbols[:, :, :4], coded)
    with pytest.raises(ValueError, match="coded: expected room for 5"):
        _ans.quantise(y, means, indexes, symbols, coded[:, :, :4])
    with pytest.raises(ValueError, match="means and y_hat: expected the same shape"):
        _ans.quantise(y, means, indexes, symbols, coded, y[0])
    with pytest.raises(TypeError, match="y_hat: expected a contiguous float32 array"):
        _ans.quantise(y, means, indexes, symbols, coded, means)
    with pytest.raises(TypeError, match="y_hat: expected a float32 array or None"):
        _ans.quantise(y, means, indexes, symbols, coded, [0.0] * 5)
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match=f"num_silent: expected 0 to 255, got {wrong}"):
            _ans.quantise(y, means, indexes, symbols, coded, None, wrong)
    symbols.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _ans.quantise(y, means, indexes, symbols, coded)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("steps", [(1, 1, 1), (1, 2, 2), (2, -1, 3)])
@pytest.mark.parametrize("wants_y_hat", [False, True])
@pytest.mark.parametrize("num_silent", [0, 1, 30, 64])
def test_decode_latents_adds_the_means(dtype, steps, wants_y_hat, num_silent):
    shape = (4, 30, 100)
    tables = coder()
    symbols, indexes = gaussian(12000)
    indexes[4000:7000] = 0  # whole planes and some more
    loud = indexes >= num_silent
    symbols[~loud] = 0
    means = np.random.default_rng(2).integers(-800, 800, shape).astype(np.int16)
    decoder = _ans.Decoder(_ans.encode(symbols[loud], indexes[loud], tables), tables)
    y, whole = strided(shape, steps)
    y_hat = np.empty(shape, np.float32) if wants_y_hat else None
    decoder.decode_latents(indexes.reshape(shape).astype(dtype), means, y, y_hat, num_silent)
    assert decoder.position == loud.sum()
    decoder.finish()
    expected = symbols.reshape(shape) * 8 + means
    np.testing.assert_array_equal(y * 8, expected)
    if y_hat is not None:
        np.testing.assert_array_equal(y_hat * 8, expected)
    y[:] = 7
    assert (whole == 7).all(), "wrote beside its places"


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(("symbol", "fits"), [(2**20, True), (-(2**20), True), (2**20 + 1, False), (-(2**31), False)])
def test_decode_latents_refuses_far_symbols(symbol, fits, step):
    tables = coder()
    symbols, indexes = gaussian(2000)
    symbols[1500] = symbol
    decoder = _ans.Decoder(_ans.encode(symbols, indexes, tables), tables)
    y = np.empty((1, 1, 2000 * step), np.float32)[:, :, ::step]
    arguments = indexes.reshape(y.shape), np.zeros(y.shape, np.int16), y
    if fits:
        decoder.decode_latents(*arguments)
        assert y[0, 0, 1500] == symbol
        return
    with pytest.raises(BitstreamError, match="a latent beyond"):
        decoder.decode_latents(*arguments)
    with pytest.raises(BitstreamError, match="earlier call"):
        decoder.finish()


def test_decode_latents_refuses_other_shapes():
    tables = coder()
    symbols, indexes = gaussian(60)
    decoder = _ans.Decoder(_ans.encode(symbols, indexes, tables), tables)
    shape = (1, 6, 10)
    with pytest.raises(ValueError, match="indexes and means: expected the same shape"):
        decoder.decode_latents(indexes, np.zeros(shape, np.int16), np.empty(shape, np.float32))
    indexes = indexes.reshape(shape)
    with pytest.raises(ValueError, match="indexes and y: expected the same shape"):
        decoder.decode_latents(indexes, np.zeros(shape, np.int16), np.empty((1, 10, 6), np.float32))
    y = np.empty(shape, np.float32)
    with pytest.raises(ValueError, match="num_silent: expected 0 to 255, got 256"):
        decoder.decode_latents(indexes, np.zeros(shape, np.int16), y, None, 256)
    y.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        decoder.decode_latents(indexes, np.zeros(shape, np.int16), y)
    assert decoder.position == 0


@given(arrays(np.float32, st.integers(0, 70), elements=st.floats(width=32)), st.sampled_from((np.int16, np.uint8)))
def test_floors_are_cut_to_the_type(values, dtype):
    limits = np.iinfo(dtype)
    found = np.empty(values.shape, dtype)
    _ans.floors(values, found)
    expected = np.where(np.isnan(values), limits.min, np.floor(values.astype(np.float64)).clip(limits.min, limits.max))
    np.testing.assert_array_equal(found, expected)


def test_floors_refuses_other_arrays():
    values = np.zeros((3, 8), np.float32)
    with pytest.raises(TypeError, match="target: expected a contiguous int16 or uint8 array"):
        _ans.floors(values, np.zeros((3, 8), np.int32))
    with pytest.raises(TypeError, match="target: expected a contiguous"):
        _ans.floors(values, np.zeros((3, 16), np.int16)[:, ::2])
    with pytest.raises(TypeError, match="source: expected a contiguous float32 array"):
        _ans.floors(values[:, ::2], np.zeros((3, 4), np.int16))
    with pytest.raises(ValueError, match="source and target: expected the same shape"):
        _ans.floors(values, np.zeros((3, 7), np.int16))
