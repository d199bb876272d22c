"""Laws of images: every mode and array type comes in; what is lost is warned of, what is broken has its error."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from basic.runtime import image
from basic.runtime.errors import EngineError, ImageError, ImageWarning
from basic.runtime.tiles import Box

MAX = 1 << 20
RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def picture(source: image.ImageLike) -> image.Picture:
    return image.from_any(source, MAX)


def saved(source: Image.Image, kind: str, **options: object) -> Image.Image:
    """Through a file in memory."""
    file = io.BytesIO()
    source.save(file, kind, **options)
    return Image.open(file)


MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]


@pytest.mark.filterwarnings("ignore:image of mode LAB")
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_comes_in_and_comes_back(mode: str) -> None:
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        source = ImageCms.applyTransform(Image.fromarray(RGB), ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    elif mode in ("La", "PA", "RGBa"):
        source = Image.fromarray(RGB).convert("LA" if mode != "RGBa" else "RGBA").convert(mode)
    else:
        source = Image.fromarray(RGB).convert(mode)
    back = image.to_pillow(picture(source))
    expected = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, mode)
    assert back.mode == (expected if expected in ("L", "LA", "RGB", "RGBA") else "RGB")
    assert back.size == (13, 9)
    if mode in ("L", "LA", "RGB", "RGBA"):
        assert np.array_equal(np.asarray(back), np.asarray(source))
    if mode in ("YCbCr", "CMYK", "LAB", "RGBX"):
        assert np.abs(np.asarray(back).astype(int) - RGB).mean() < 6


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_transparency_of_a_png_becomes_alpha(mode: str) -> None:
    source = Image.fromarray(RGB).convert(mode)
    transparent = (1, 2, 3) if mode == "RGB" else 0
    back = image.to_pillow(picture(saved(source, "PNG", transparency=transparent)))
    assert back.mode == ("LA" if mode in ("L", "1") else "RGBA")


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_16_bits_are_reduced_with_a_warning(mode: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535, 385, 386]], ">u2" if mode == "I;16B" else np.uint16)
    source = Image.frombytes(mode, (6, 1), (values.astype(np.int32) if mode == "I" else values).tobytes())
    with pytest.warns(ImageWarning, match="16 bits"):
        assert picture(source).planes.tolist() == [[[0, 1, 128, 255, 1, 2]]]


def test_16_bit_colour_files_warn_too(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png())
    with pytest.warns(ImageWarning, match="16 bits"):
        assert picture(path).planes.shape == (3, 1, 1)


def deep_png() -> bytes:
    """A 1x1 PNG of 16 bits a channel, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(7))) + chunk(b"IEND", b"")


def test_mode_i_beyond_16_bits_is_refused() -> None:
    with pytest.raises(ImageError, match="values 0"):
        picture(Image.new("I", (2, 2), 70000))


def test_mode_f_counts_to_255() -> None:
    with pytest.warns(ImageWarning, match="mode F"):
        assert picture(Image.new("F", (1, 1), 99.6)).planes.tolist() == [[[100]]]
    with pytest.raises(ImageError, match="NaN"):
        picture(Image.new("F", (1, 1), float("nan")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = saved(Image.fromarray(RGB), "PNG", exif=exif)
    corners = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (-1, 0), 7: (-1, -1), 8: (0, -1)}
    assert np.array_equal(picture(source).planes[:, 0, 0], RGB[corners[orientation]])
    assert (picture(source).width == 9) == (orientation > 4)


def test_broken_exif_costs_only_the_orientation() -> None:
    source = Image.fromarray(RGB)
    source.info["exif"] = b"Exif\x00\x00garbage"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageWarning)
        assert picture(source).width == 13


def test_first_frame_with_a_warning() -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    with pytest.warns(ImageWarning, match="several frames"):
        assert picture(saved(frames[0], "PNG", save_all=True, append_images=frames[1:])).planes[0, 0, 0] == 10


def test_profile_is_kept_unless_colours_change() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = saved(Image.fromarray(RGB), "PNG", icc_profile=profile)
    assert image.to_pillow(picture(source)).info["icc_profile"] == profile
    cmyk = saved(Image.fromarray(RGB).convert("CMYK"), "TIFF", icc_profile=profile)
    with pytest.warns(ImageWarning, match="ICC profile no longer fits"):
        assert picture(cmyk).icc is None


def test_what_no_bitstream_can_hold_is_dropped_or_refused() -> None:
    source = Image.fromarray(RGB)
    source.info["icc_profile"] = bytes((1 << 24) + 1)
    with pytest.warns(ImageWarning, match="it is dropped"):
        assert picture(source).icc is None
    with pytest.raises(ImageError, match="sides of at most 1048576"):
        image.from_any(np.zeros((1, (1 << 20) + 1), np.uint8), 1 << 27)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
def test_arrays_of_every_shape(shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(np.asarray(image.to_pillow(picture(array))), array.squeeze())
    floats = picture(array.astype(np.float32) / 255)
    assert np.array_equal(floats.planes, picture(array).planes)
    with pytest.warns(ImageWarning):
        assert np.array_equal(picture(array.astype(np.uint16) * 257).planes, picture(array).planes)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4, np.uint8), "expected \\(H, W\\)"),
        (np.zeros((3, 4, 5), np.uint8), "channels last"),
        (np.zeros((3, 4), np.int32), "array of int32"),
        (np.zeros((0, 4), np.uint8), "at least 1x1"),
        (np.full((3, 4), 1.5), "divide by 255"),
        (np.full((3, 4), np.nan), "expected values in 0..1"),
        (np.zeros((1025, 1024), np.bool_), "at most 1048576 pixels"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        picture(array)


@pytest.mark.filterwarnings("ignore::basic.runtime.errors.ImageWarning")
@pytest.mark.parametrize("kind", ["u2", "f4", "f8"])
def test_byte_orders_are_alike(kind: str) -> None:
    values = RNG.integers(0, 65536, (5, 7, 3)) if kind == "u2" else RNG.random((5, 7, 3))
    planes = [picture(values.astype(order + kind)).planes for order in "<>"]
    assert np.array_equal(*planes) and planes[0].std() > 10


def test_bool_arrays_are_black_and_white() -> None:
    assert picture(np.array([[True, False]])).planes.tolist() == [[[255, 0]]]


def broken_files() -> dict[str, bytes]:
    good = io.BytesIO()
    Image.fromarray(np.kron(RGB, np.ones((9, 9, 1), np.uint8))).save(good, "PNG")
    png = good.getvalue()
    return {
        "empty": b"",
        "text": b"not an image at all",
        "cut": png[: len(png) // 2],
        "flipped": png[:60] + bytes([png[60] ^ 255]) + png[61:],
        "bomb": png[:16] + b"\x00\x00\xea\x60\x00\x00\xea\x60" + png[24:],
    }


@pytest.mark.parametrize("name", list(broken_files()))
def test_broken_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.png"
    path.write_bytes(broken_files()[name])
    with pytest.raises(ImageError, match=f"{name}.png"):
        picture(path)


def test_missing_files_and_other_types_are_refused() -> None:
    with pytest.raises(ImageError, match="nothing"):
        picture("nothing.png")
    with pytest.raises(ImageError, match="got int"):
        picture(7)  # type: ignore[arg-type]


def test_pixels_are_bounded_before_loading(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("L", (100, 100)).save(path)
    with pytest.raises(ImageError, match="at most 9999 pixels"):
        image.from_any(path, 9999)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("box", [Box(0, 0, 64, 64), Box(64, 0, 128, 128), Box(0, 64, 128, 192)])
def test_fill_and_store_are_inverse_and_pad(channels: int, box: Box) -> None:
    planes = RNG.integers(0, 256, (channels, 100, 150), dtype=np.uint8)
    x = np.full((3, box.height, box.width), np.nan, np.float32)
    image.fill(x, planes, box)
    expected = np.pad(planes, ((0, 0), (0, 28), (0, 42)), "edge")[:, *box.slices] / np.float32(255)
    assert np.allclose(x, np.broadcast_to(expected, x.shape), atol=1e-6)
    back = np.zeros_like(planes)
    image.store(x, back, box)
    inside = box.clipped(100, 150).slices
    assert np.array_equal(back[:, *inside], planes[:, *inside])
    back[:, *inside] = 0
    assert not back.any()


def test_store_works_in_runs_of_rows() -> None:
    x = RNG.random((3, 640, 704), dtype=np.float32)
    planes = np.zeros((3, 630, 700), np.uint8)
    image.store(x, planes, Box(0, 0, 640, 704))
    assert np.array_equal(planes, np.floor(x[:, :630, :700] * 255 + np.float32(0.5)).astype(np.uint8))


def test_store_refuses_what_is_no_number() -> None:
    x = np.zeros((3, 64, 64), np.float32)
    x[1, 2, 3] = np.nan
    with pytest.raises(EngineError, match="not numbers"):
        image.store(x, np.zeros((3, 64, 64), np.uint8), Box(0, 0, 64, 64))


def test_large_images_are_read_in_strips() -> None:
    """Pillow keeps more than 16 MB in several blocks, which it does not share."""
    pixels = RNG.integers(0, 256, (2100, 2300, 3), np.uint8)
    pillow = Image.fromarray(pixels)
    planes = pixels.transpose(2, 0, 1)
    found = image.from_any(pillow, 1 << 24)
    assert (found.height, found.width, found.grey) == (2100, 2300, False)
    assert np.array_equal(np.asarray(found.planes), planes)
    for box in (Box(0, 0, 2112, 2304), Box(1984, 2048, 2112, 2304), Box(64, 1024, 1088, 2048)):
        expected, x = (np.empty((3, box.height, box.width), np.float32) for _ in range(2))
        image.fill(expected, planes, box)
        image.fill(x, found.planes, box)
        assert np.array_equal(x, expected)
    as_bytes = np.empty((3, 128, 256), np.uint8)
    image.fill(as_bytes, found.planes, Box(1984, 2048, 2112, 2304))
    assert np.array_equal(as_bytes[:, :116, :252], planes[:, 1984:, 2048:])


def test_decoded_colours_are_lent_to_pillow() -> None:
    alpha = RNG.integers(0, 256, (20, 30), np.uint8)
    for mode, band in (("RGB", None), ("RGBA", alpha)):
        made = image.Picture.interleaved(20, 30, band)
        made.planes[:] = RNG.integers(0, 256, (3, 20, 30), np.uint8)
        expected = made.planes.copy()
        pillow = image.to_pillow(made)
        assert pillow.mode == mode
        del made
        found = np.asarray(pillow).transpose(2, 0, 1)
        assert np.array_equal(found[:3], expected)
        assert band is None or np.array_equal(found[3], band)
        pillow.putpixel((0, 0), (1, 2, 3))  # takes a copy first
        assert pillow.getpixel((0, 0))[:3] == (1, 2, 3)  # type: ignore[index]


def test_blocks_are_stored_as_planes_are() -> None:
    x = RNG.random((3, 64, 128), dtype=np.float32)
    blocks = x.reshape(3, 8, 8, 16, 8).transpose(1, 3, 0, 2, 4).reshape(8, 16, 192)
    for grey in (False, True):
        whole = np.zeros((1 if grey else 3, 100, 150), np.uint8)
        made = image.Picture(np.zeros_like(whole)) if grey else image.Picture.interleaved(100, 150)
        made.planes[:] = 0
        for box in (Box(0, 0, 64, 128), Box(64, 64, 128, 192)):
            image.store(x, whole, box)
            image.store_blocks(blocks, made, box)
        assert np.array_equal(made.planes, whole)
    x[0, 3, 4] = np.nan
    blocks = x.reshape(3, 8, 8, 16, 8).transpose(1, 3, 0, 2, 4).reshape(8, 16, 192)
    with pytest.raises(EngineError, match="not numbers"):
        image.store_blocks(blocks, image.Picture.interleaved(64, 128), Box(0, 0, 64, 128))


def test_a_masked_array_is_refused() -> None:
    with pytest.raises(ImageError, match="masked array: expected a plain one"):
        picture(np.ma.masked_array(RGB, RGB > 3))
