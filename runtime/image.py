"""Any Pillow image or numpy array <-> planes of 8 bits <-> network input and output.

What a newcomer gets wrong: planes are (channels, height, width), not Pillow's interleaved pixels: every pass below then
runs along contiguous rows. Alpha is not a channel of the codec; it travels beside the planes, lossless (alpha.py).
"""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from . import _ans
from .alpha import MAX_ICC_BYTES
from .bitstream import MAX_SIDE
from .errors import EngineError, ImageError, ImageWarning
from .ort_graph import BLOCK
from .tiles import Box

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_ORIENTATION = 0x0112
_STRIP_PIXELS = 1 << 18
_VIA = {
    "1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB",
    "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB",
}  # fmt: skip
_OTHER_COLOURS = ("CMYK", "YCbCr", "HSV", "LAB")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as the codec sees it: planes uint8 (1 or 3, H, W), alpha uint8 (H, W) or None, ICC profile or None.

    Planes to encode may lie in any order, interleaved too; of a large Pillow image they are `_Strips`, read where they
    are wanted. Those that a decoder fills have contiguous rows, or are the first three bytes of `pixels`, uint8
    (H, W, 4), which is how Pillow keeps colours.
    """

    planes: Bytes
    alpha: Bytes | None = None
    icc: bytes | None = None
    pixels: Bytes | None = None

    @classmethod
    def interleaved(cls, height: int, width: int, alpha: Bytes | None = None, icc: bytes | None = None) -> "Picture":
        """In colour, to be filled by `store_blocks`."""
        pixels = np.empty((height, width, 4), np.uint8)
        return cls(pixels.transpose(2, 0, 1)[:3], alpha, icc, pixels)

    @property
    def grey(self) -> bool:
        return len(self.planes) == 1

    @property
    def height(self) -> int:
        return int(self.planes.shape[1])

    @property
    def width(self) -> int:
        return int(self.planes.shape[2])


ImageLike = Image.Image | NDArray[Any] | str | os.PathLike[str] | io.BytesIO | Picture


def from_any(image: ImageLike, max_pixels: int) -> Picture:
    """A Pillow image of any mode, a numpy array, or an image file by its path or its bytes in an io.BytesIO, as planes
    (a Picture as it is).

    Arrays are (H, W) or (H, W, 1..4) for grey, grey + alpha, RGB, RGBA; uint8, bool, uint16 (reduced to 8 bits with a
    warning) or floats in 0..1, of any byte order. EXIF orientation is applied, the first frame of an
    animation is taken.

    Raises:
        ImageError: it cannot be read, its type is not supported, or it has more than `max_pixels`.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, np.ndarray):
        return _from_array(image, max_pixels)
    if isinstance(image, Image.Image):
        return _from_pillow(image, max_pixels, "image")
    if not isinstance(image, str | os.PathLike | io.BytesIO):
        raise ImageError(f"image: expected a Pillow image, a numpy array or a path, got {type(image).__name__}")
    name = "image" if isinstance(image, io.BytesIO) else os.fspath(image)
    with _reading(name), Image.open(image) as opened:
        return _from_pillow(opened, max_pixels, name)


def read_rgb(image: str | os.PathLike[str] | io.BytesIO, max_pixels: int) -> Bytes:
    """An image file as (H, W, 3) uint8, as `from_any` reads it: grey three times, without alpha. Raises ImageError."""
    planes = np.asarray(from_any(image, max_pixels).planes)
    return np.ascontiguousarray(np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0))


def to_pillow(picture: Picture) -> Image.Image:
    """The picture as a Pillow image of mode L, LA, RGB or RGBA; the ICC profile is in `info["icc_profile"]`.

    Colours are not copied where Pillow borrows memory (from 11.2.1 on).
    """
    size = (picture.width, picture.height)
    if picture.pixels is not None:
        image = _from_pixels(picture.pixels, picture.alpha, size)
    else:
        bands = [*picture.planes, *([] if picture.alpha is None else [picture.alpha])]
        images = [Image.frombuffer("L", size, np.ascontiguousarray(band), "raw", "L", 0, 1) for band in bands]
        image = Image.merge(("L" if picture.grey else "RGB") + ("" if picture.alpha is None else "A"), images)
    if picture.icc is not None:
        image.info["icc_profile"] = picture.icc
    return image


class _Lent:
    """An array as Arrow's interface gives it; the image that borrows it keeps it alive."""

    def __init__(self, array: Bytes) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        return _ans.arrow_capsules(self._array)


def _from_pixels(pixels: Bytes, alpha: Bytes | None, size: tuple[int, int]) -> Image.Image:
    """Interleaved pixels (H, W, 4) and alpha (H, W), which goes into their last byte."""
    mode = "RGB" if alpha is None else "RGBA"
    if alpha is not None:
        pixels[..., 3] = alpha
    if not hasattr(Image, "fromarrow"):
        return Image.frombytes(mode, size, pixels.data, "raw", "RGBX" if alpha is None else mode)
    return Image.fromarrow(_Lent(pixels), mode, size)


def fill(x: Floats | Bytes, planes: Bytes, box: Box) -> None:
    """Write the pixels of `box` into x (3, box.height, box.width), repeating the image's last row and column: as 0..1
    where x is float32, as they are where it is uint8.

    `box` may reach beyond the image to the right and below, by less than its own size.
    """
    inside = box.clipped(*planes.shape[1:])
    height, width = inside.height, inside.width
    rows, columns = inside.slices
    for run in _runs(height, width) if isinstance(planes, _Strips) else (slice(0, height),):
        part = planes[:, slice(rows.start + run.start, rows.start + run.stop), columns]
        if x.dtype == np.uint8:
            x[: len(planes), run, :width] = part
        else:
            _ans.to_floats(part, x[: len(planes), run, :width])
    x[: len(planes), :height, width:] = x[: len(planes), :height, width - 1 : width]
    x[: len(planes), height:] = x[: len(planes), height - 1 : height]
    if len(planes) == 1:
        x[1:] = x[0]


def store(x_hat: Floats | Bytes, planes: Bytes, box: Box) -> None:
    """Round x_hat (3, h, w) in 0..1 to 8 bits, half up, into `box` of the planes, as far as the image reaches; bytes
    are taken as they are.

    A grey image gets the mean of the three. x_hat starts at the corner of `box`.

    Raises:
        EngineError: x_hat has values that are not numbers.
    """
    inside = box.clipped(*planes.shape[1:])
    source = x_hat[:, : inside.height, : inside.width]
    if source.dtype == np.uint8:
        grey = len(planes) == 1
        planes[:, *inside.slices] = (source.sum(0, np.uint16, keepdims=True) + np.uint16(1)) // 3 if grey else source
        return
    if len(planes) == 1:
        source = source.mean(0, keepdims=True)
    with _numbers():
        _ans.to_bytes(source, planes[:, *inside.slices])


def store_blocks(x_hat: Floats, picture: Picture, box: Box, bias: Floats | None = None) -> None:
    """As `store`, from blocks of 8x8 pixels (h/8, w/8, 192), to each of which `bias` (192,) is added, see
    `ort_graph`."""
    inside = box.clipped(picture.height, picture.width)
    whole = picture.planes if picture.pixels is None else picture.pixels.transpose(2, 0, 1)
    rows, columns = -(-inside.height // BLOCK), -(-inside.width // BLOCK)
    with _numbers():
        _ans.blocks_to_bytes(x_hat[:rows, :columns], whole[:, *inside.slices], bias)


@contextmanager
def _numbers() -> Iterator[None]:
    """The coder's library refuses NaN: EngineError."""
    try:
        yield
    except ValueError as error:
        raise EngineError("synthesis gave values that are not numbers; the file or the bundle is damaged") from error


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Pillow's decoders raise errors of many types on damaged files; all become ImageError."""
    try:
        yield
    except (ImageError, Warning):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: no image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: {error}; raise PIL.Image.MAX_IMAGE_PIXELS too if you trust the file") from error
    except Exception as error:
        raise ImageError(f"{name}: cannot be read as an image: {error or type(error).__name__}") from error


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if not (width and height):
        raise ImageError(f"{name} of {width}x{height}: expected at least 1x1")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{name} of {width}x{height}: expected sides of at most {MAX_SIDE}; cut it in pieces")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} of {width}x{height}: at most {max_pixels} pixels are allowed; raise max_pixels if you trust it"
        )


def _from_pillow(image: Image.Image, max_pixels: int, name: str) -> Picture:
    _check_size(name, *image.size, max_pixels)
    with _reading(name):
        if getattr(image, "is_animated", False):
            _warn("image has several frames: only one is kept, the first unless another was chosen with seek()")
        deep = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
        image.load()
        if deep and not image.mode.startswith("I"):
            _warn("image has 16 bits a channel: reduced to 8")
        if _orientation(image) in range(2, 9):
            image = ImageOps.exif_transpose(image)
        icc = image.info.get("icc_profile") or None
        if icc and image.mode in _OTHER_COLOURS:
            _warn(f"image of mode {image.mode} becomes RGB: its ICC profile no longer fits and is dropped")
            icc = None
        elif icc and len(icc) > MAX_ICC_BYTES:
            _warn(f"image has an ICC profile of {len(icc)} bytes, more than {MAX_ICC_BYTES}: it is dropped")
            icc = None
        return _from_bands(_simplify(image), icc)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # broken EXIF raises anything, and costs nothing but the orientation
        _warn(f"image has EXIF data that cannot be read, its orientation is not applied: {error}")
        return 1
    return value if isinstance(value, int) else 1


def _simplify(image: Image.Image) -> Image.Image:
    """To mode L, LA, RGB or RGBA."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_reduce_grey(image))
    if mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB")) or image
    if mode in ("L", "RGB", "P", "1") and image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        return with_alpha.convert("LA") if mode in ("L", "1") else with_alpha
    if mode in ("L", "LA", "RGB", "RGBA"):
        return image
    if mode not in _VIA:
        raise ImageError(f"image of mode {mode}: not supported; convert it to L, LA, RGB or RGBA")
    return image.convert(_VIA[mode])


def _from_bands(image: Image.Image, icc: bytes | None) -> Picture:
    alpha = np.asarray(image.getchannel("A")) if image.mode.endswith("A") else None
    if image.mode.startswith("L"):
        return Picture(np.asarray(image.getchannel("L"))[None], alpha, icc)
    return Picture(_pixels(image), alpha, icc)


def _pixels(image: Image.Image) -> Bytes:
    """Planes (3, H, W) of an RGB or RGBA image: Pillow's own memory where it shares that."""
    width, height = image.size
    if not hasattr(image, "__arrow_c_array__"):  # Pillow before 11.2
        return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, -1).transpose(2, 0, 1)[:3]
    try:
        return _shared(image)
    except ValueError:  # more than a block of Pillow's memory
        return cast(Bytes, _Strips(image))


class _Strips:
    """Planes (3, H, W) of a large RGB or RGBA image, of which Pillow gives a copy of any part that is one block.

    `[:, rows, columns]` of runs is such a part; small ones stay in the cache until they are read.
    """

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self.shape = (3, image.height, image.width)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, place: tuple[slice, slice, slice]) -> Bytes:
        rows, columns = (of.indices(side) for of, side in zip(place[1:], self.shape[1:], strict=True))
        return _shared(self._image.crop((columns[0], rows[0], columns[1], rows[1])))[place[0]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Bytes:
        whole = np.empty(self.shape, np.uint8)
        for run in _runs(*self.shape[1:]):
            whole[:, run] = self[:, run, :]
        return whole if dtype is None else whole.astype(dtype)


def _runs(height: int, width: int) -> Iterator[slice]:
    """Rows in runs of so many pixels."""
    rows = max(1, _STRIP_PIXELS // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _shared(image: Image.Image) -> Bytes:
    """Pillow's memory of an RGB or RGBA image, (3, H, W). Raises ValueError where it is not in one piece."""
    _, capsule = image.__arrow_c_array__()
    pixels = _ans.arrow_bytes(capsule, 4 * image.width * image.height).reshape(image.height, image.width, 4)
    return pixels.transpose(2, 0, 1)[:3]


def _reduce_grey(image: Image.Image) -> Bytes:
    """Modes I, I;16* and F to 8 bits: I counts as 16 bits, F as 0..255."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not np.isfinite([low, high]).all():
            raise ImageError("image of mode F: expected numbers in 0..255, got NaN or infinity")
        _warn("image of mode F: rounded to 8 bits, clipped to 0..255")
        rounded: Bytes = np.rint(values.clip(0, 255)).astype(np.uint8)
        return rounded
    if low < 0 or high > 65535:
        raise ImageError(f"image of mode {image.mode}: expected 16-bit values 0..65535, got {low}..{high}")
    return _reduce_16(values)


def _reduce_16(values: NDArray[Any]) -> Bytes:
    """round(v * 255 / 65535): exact for 8-bit values that were widened by repetition."""
    _warn("image has 16 bits a channel: reduced to 8")
    wide: NDArray[np.uint32] = values.astype(np.uint32)
    return ((wide + np.uint32(128)) // np.uint32(257)).astype(np.uint8)


def _from_array(array: NDArray[Any], max_pixels: int) -> Picture:
    if isinstance(array, np.ma.MaskedArray):
        raise ImageError("masked array: expected a plain one; fill what is masked first: array.filled(0)")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f"array of shape {array.shape}: expected (H, W) or (H, W, 1..4), channels last")
    _check_size("array", array.shape[1], array.shape[0], max_pixels)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == np.uint16:
        array = _reduce_16(array)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):
            raise ImageError(f"array of {array.dtype}: expected values in 0..1, got {low}..{high}; divide by 255?")
        array = (array * array.dtype.type(255) + array.dtype.type(0.5)).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"array of {array.dtype}: expected uint8, uint16, bool or floats in 0..1")
    bands = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    num_planes = 1 if len(bands) < 3 else 3
    alpha = np.ascontiguousarray(bands[num_planes]) if len(bands) > num_planes else None
    return Picture(bands[:num_planes], alpha)


def _warn(message: str) -> None:
    warnings.warn(message, ImageWarning, stacklevel=5)
