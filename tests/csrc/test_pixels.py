"""Planes to floats and back, in windows of larger arrays, as numpy would do it."""

import sys

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


def block_planes(blocks, height, width):
    """What blocks (h, w, 192) stand for: (3, height, width)."""
    rows, columns = blocks.shape[:2]
    planes = blocks.reshape(rows, columns, 3, 8, 8).transpose(2, 0, 3, 1, 4)
    return planes.reshape(3, 8 * rows, 8 * columns)[:, :height, :width]


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from((1, 3, 4)), st.integers(0, 3), st.integers(0, 99))
@settings(deadline=None)
def test_blocks_become_pixels_in_any_order(height, width, channels, margin, seed):
    rng = np.random.default_rng(seed)
    rows, columns = -(-height // 8), -(-width // 8)
    blocks = rng.uniform(-0.1, 1.1, (rows, columns + margin, 192)).astype(np.float32)
    taken = blocks[:, margin:]
    planes = block_planes(taken, height, width)
    if channels == 1:
        planes = planes.mean(0, keepdims=True)
    expected = np.floor((planes * np.float32(255) + np.float32(0.5)).clip(0, 255)).astype(np.uint8)
    if channels == 4:
        expected = np.concatenate([expected, np.full_like(expected[:1], 255)])
    for order in ((0, 1, 2), (1, 2, 0)):  # planes, or interleaved pixels
        wide = np.full([(channels, height + 1, width + 2)[axis] for axis in order], 7, np.uint8)
        target = wide.transpose(np.argsort(order))
        _ans.blocks_to_bytes(taken, target[:, :height, :width])
        np.testing.assert_array_equal(target[:, :height, :width], expected)
        assert (target[:, height:] == 7).all(), "wrote beside the target"
        assert (target[:, :, width:] == 7).all(), "wrote beside the target"


def test_blocks_are_rounded_and_cut_as_planes_are():
    values = np.array([0.5, 1.5, 0.499, 254.5, 255.4, 300, -0.6, -3e38, 3e38, np.inf, -np.inf], np.float32)
    blocks = np.resize(values / np.float32(255), (2, 3, 192)).astype(np.float32)
    found, expected = np.empty((3, 16, 24), np.uint8), np.empty((3, 16, 24), np.uint8)
    _ans.blocks_to_bytes(blocks, found)
    _ans.to_bytes(np.ascontiguousarray(block_planes(blocks, 16, 24)), expected)
    np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from((1, 3, 4)), st.integers(0, 99))
@settings(deadline=None)
def test_a_bias_is_added_to_every_block_before_its_limits(height, width, channels, seed):
    rng = np.random.default_rng(seed)
    blocks = rng.normal(0.2, 1.0, (-(-height // 8), -(-width // 8), 192)).astype(np.float32)
    bias = rng.normal(0.3, 0.3, 192).astype(np.float32)
    found, expected = np.empty((2, channels, height, width), np.uint8)
    _ans.blocks_to_bytes(blocks, found, bias)
    _ans.blocks_to_bytes(np.clip(blocks + bias, 0.0, 1.0), expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bias", [None, np.full(192, 0.5, np.float32)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_nan_in_a_block_is_refused(channels, bias):
    for place in range(192):
        blocks = np.zeros((1, 2, 192), np.float32)
        blocks[0, 1, place] = np.nan
        with pytest.raises(ValueError, match="source: expected numbers, got NaN"):
            _ans.blocks_to_bytes(blocks, np.empty((channels, 8, 16), np.uint8), bias)
        if bias is not None:
            bad = bias.copy()
            bad[place] = np.nan
            with pytest.raises(ValueError, match="source: expected numbers, got NaN"):
                _ans.blocks_to_bytes(np.zeros_like(blocks), np.empty((channels, 8, 16), np.uint8), bad)


def test_wrong_blocks_are_refused():
    blocks, pixels = np.zeros((2, 3, 192), np.float32), np.zeros((3, 16, 24), np.uint8)
    with pytest.raises(TypeError, match=r"source: expected a float32 array \(rows, columns, 192\)"):
        _ans.blocks_to_bytes(blocks.astype(np.float64), pixels)
    with pytest.raises(TypeError, match="source: expected"):
        _ans.blocks_to_bytes(blocks[:, :, :191], pixels)
    with pytest.raises(TypeError, match="source: expected"):
        _ans.blocks_to_bytes(np.zeros((2, 6, 192), np.float32)[:, ::2], pixels)
    with pytest.raises(TypeError, match="target: expected a uint8 array"):
        _ans.blocks_to_bytes(blocks, pixels[:2])
    for bias in (np.zeros(191, np.float32), np.zeros(192), np.zeros((1, 192), np.float32), np.zeros(384, "f4")[::2], 0):
        with pytest.raises(TypeError, match="bias: expected a"):
            _ans.blocks_to_bytes(blocks, pixels, bias)
    for height, width in ((8, 24), (17, 24), (16, 16), (16, 25)):
        with pytest.raises(ValueError, match="expected a block for 8x8 pixels"):
            _ans.blocks_to_bytes(blocks, np.zeros((3, height, width), np.uint8))
    pixels.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        _ans.blocks_to_bytes(blocks, pixels)


def test_lent_bytes_live_as_long_as_their_reader():
    from PIL import Image

    class Lent:
        def __arrow_c_array__(self, requested_schema=None):
            return _ans.arrow_capsules(pixels)

    if not hasattr(Image, "fromarrow"):
        pytest.skip("Pillow before 11.2.1 borrows no memory")
    pixels = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    before = sys.getrefcount(pixels)
    _ans.arrow_capsules(pixels)
    assert sys.getrefcount(pixels) == before, "capsules that nobody took must let go"
    image = Image.fromarrow(Lent(), "RGB", (4, 3))
    assert sys.getrefcount(pixels) == before + 1
    pixels[0, 0, 0] = 77
    assert image.getpixel((0, 0)) == (77, 1, 2), "it is the same memory"
    del image
    assert sys.getrefcount(pixels) == before
    with pytest.raises(TypeError, match="bytes: expected a contiguous uint8 array"):
        _ans.arrow_capsules(pixels[:, ::2])
