"""Planes to floats and back, in windows of larger arrays, as numpy would do it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime import _ans

SIZES = st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 70))


@given(SIZES, st.integers(0, 5), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_windows_there_and_back(size, margin, random):
    planes, height, width = size
    rng = np.random.default_rng(random.randrange(1000))
    image = rng.integers(0, 256, (planes, height + margin, width + margin)).astype(np.uint8)
    inside = image[:, margin:, margin:]
    floats = np.full((planes, height + 3, width + 2), -1, np.float32)
    _ans.to_floats(inside, floats[:, :height, :width])
    np.testing.assert_array_equal(floats[:, :height, :width], inside * np.float32(1 / 255))
    assert (floats[:, height:] == -1).all()
    assert (floats[:, :, width:] == -1).all()
    back = np.full_like(image, 7)
    _ans.to_bytes(floats[:, :height, :width], back[:, margin:, margin:])
    np.testing.assert_array_equal(back[:, margin:, margin:], inside)
    assert (back[:, :margin] == 7).all()
    assert (back[:, :, :margin] == 7).all()


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 40), st.sampled_from((1, 2, 3, -1)))
@settings(deadline=None)
def test_interleaved_pixels(channels, height, width, step):
    image = np.arange(height * width * channels * 3, dtype=np.int64).astype(np.uint8)
    pixels = image.reshape(3 * height, width, channels)[:height, ::step]
    source = pixels.transpose(2, 0, 1)[:3]
    floats = np.full((len(source) + 1, height, width + 3), -1, np.float32)
    taken = floats[:-1, :, : source.shape[2]]
    _ans.to_floats(source, taken)
    np.testing.assert_array_equal(taken, source * np.float32(1 / 255))
    taken[:] = -1
    assert (floats == -1).all(), "wrote beside the target"


def test_a_foreign_capsule_is_refused():
    from PIL import Image

    image = Image.new("RGB", (4, 3), (1, 2, 3))
    if not hasattr(image, "__arrow_c_array__"):
        pytest.skip("Pillow before 11.2 shares no memory")
    schema, capsule = image.__arrow_c_array__()
    with pytest.raises(TypeError, match="arrow_array"):
        _ans.arrow_bytes(schema, 48)
    for size in (47, 49, 0):
        with pytest.raises(ValueError, match=f"a list of {size} bytes"):
            _ans.arrow_bytes(capsule, size)
    with pytest.raises(ValueError, match="expected a list"):
        _ans.arrow_bytes(image.convert("L").__arrow_c_array__()[1], 12)
    shared = _ans.arrow_bytes(capsule, 48).reshape(3, 4, 4)
    del image, capsule, schema
    assert (shared[..., :3] == (1, 2, 3)).all()
    assert not shared.flags.writeable


def test_rounds_half_up_and_cuts():
    values = np.array([0.5, 1.5, 0.499, 254.5, 255.4, 300, -0.6, -3e38, 3e38, np.inf, -np.inf], np.float32)
    expected = [1, 2, 0, 255, 255, 255, 0, 0, 255, 255, 0]
    for repeat in (1, 2, 3, 9):  # with and without vectors
        source = np.tile(values / np.float32(255), repeat)[None, None]
        target = np.empty(source.shape, np.uint8)
        _ans.to_bytes(source, target)
        np.testing.assert_array_equal(target[0, 0], np.tile(expected, repeat))


def test_nan_is_refused():
    source = np.zeros((3, 5, 40), np.float32)
    source[1, 2, 33] = np.nan
    with pytest.raises(ValueError, match="source: expected numbers, got NaN"):
        _ans.to_bytes(source, np.empty((3, 5, 40), np.uint8))


def test_wrong_arrays_are_refused():
    floats, planes = np.zeros((3, 4, 5), np.float32), np.zeros((3, 4, 5), np.uint8)
    with pytest.raises(TypeError, match=r"source: expected a uint8 array .* got float32"):
        _ans.to_floats(floats, floats)
    with pytest.raises(TypeError, match=r"target: expected a float32 array .* contiguous rows"):
        _ans.to_floats(planes, np.zeros((3, 4, 10), np.float32)[:, :, ::2])
    with pytest.raises(TypeError, match=r"source: expected a float32 array .* contiguous rows"):
        _ans.to_bytes(np.zeros((3, 4, 10), np.float32)[:, :, ::2], planes)
    with pytest.raises(TypeError, match="source: expected"):
        _ans.to_floats(planes[0], floats)
    with pytest.raises(ValueError, match="source and target: expected the same shape"):
        _ans.to_floats(planes, floats[:, :3])
    floats.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _ans.to_floats(planes, floats)
