"""PSNR and MS-SSIM of decoded images, in numpy alone.

What a newcomer gets wrong: published Kodak curves are means over images of each image's PSNR, and PSNR is over the
three RGB channels together. The PSNR of the mean error would be lower by up to a decibel.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
_Planes = NDArray[np.float32]

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_BLOCK_ROWS, _BLOCK_COLUMNS = 64, 32

MIN_MS_SSIM_SIDE = (_WINDOW - 1) * 2 ** (len(_SCALE_WEIGHTS) - 1) + 1
"""Pixels: below this the coarsest of the five scales is smaller than its window."""


def psnr_db(x: Pixels, x_hat: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of two (H, W, 3) 8-bit images; identical images give infinity."""
    error = x.astype(np.float64) - x_hat
    mse = float(np.mean(error * error))
    return float("inf") if mse == 0 else 10 * float(np.log10(255**2 / mse))


def ms_ssim(x: Pixels, x_hat: Pixels) -> float | None:
    """Multi-scale SSIM (Wang et al. 2003) of two (H, W, 3) 8-bit images, mean over channels.

    Window, weights, pooling and clamping are those of pytorch-msssim, whose values the published curves use.
    None where the shorter side is below MIN_MS_SSIM_SIDE.
    """
    if min(x.shape[:2]) < MIN_MS_SSIM_SIDE:
        return None
    a, b = _planes(x), _planes(x_hat)
    result = np.ones(len(a), np.float32)
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            a, b = _halve(a), _halve(b)
        ssim, contrast = _ssim(a, b)
        last = scale == len(_SCALE_WEIGHTS) - 1
        result *= np.maximum(ssim if last else contrast, 0) ** weight
    return float(result.mean())


def _ssim(a: _Planes, b: _Planes) -> tuple[_Planes, _Planes]:
    """Mean SSIM and mean contrast-structure term of (C, H, W) planes in 0..1, per channel."""
    mean_a, mean_b, aa, bb, ab = _blur(np.stack([a, b, a * a, b * b, a * b]))  # (5, C, H-10, W-10)
    variance_a, variance_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (luminance * contrast).mean(axis=(1, 2)), contrast.mean(axis=(1, 2))


def _planes(image: Pixels) -> _Planes:
    """(H, W, C) 8-bit -> (C, H, W) in 0..1."""
    planes = np.ascontiguousarray(np.moveaxis(image, 2, 0), dtype=np.float32)
    planes /= 255
    return planes


def _halve(planes: _Planes) -> _Planes:
    """2x2 means; an odd side gets one zero in front, as pytorch-msssim pads."""
    _, height, width = planes.shape
    planes = np.pad(planes, ((0, 0), (height % 2, 0), (width % 2, 0)))
    total: _Planes = planes[:, ::2, ::2] + planes[:, 1::2, ::2] + planes[:, ::2, 1::2] + planes[:, 1::2, 1::2]
    total /= 4
    return total  # (C, ceil(H/2), ceil(W/2))


def _blur(planes: _Planes) -> _Planes:
    """Gaussian window over the last two axes, valid positions only: (..., H, W) -> (..., H-10, W-10)."""
    return _blur_rows(_blur_rows(planes).swapaxes(-1, -2)).swapaxes(-1, -2)


def _blur_rows(planes: _Planes) -> _Planes:
    """(..., n, m) -> (..., n-10, m), as products with a banded matrix: BLAS beats eleven shifted sums by far.

    Blocks are too small for BLAS to wake its threads, which would spin on and spoil every CPU time measured next.
    """
    num_outputs, num_columns = planes.shape[-2] - _WINDOW + 1, planes.shape[-1]
    blurred = np.empty((*planes.shape[:-2], num_outputs, num_columns), np.float32)
    for top in range(0, num_outputs, _BLOCK_ROWS):
        bottom = min(top + _BLOCK_ROWS, num_outputs)
        band = _band(bottom - top).T
        for left in range(0, num_columns, _BLOCK_COLUMNS):
            right = left + _BLOCK_COLUMNS
            seen = planes[..., top : bottom + _WINDOW - 1, left:right]
            np.matmul(band, seen, out=blurred[..., top:bottom, left:right])
    return blurred


@cache
def _band(num_outputs: int) -> _Planes:
    """(num_outputs + 10, num_outputs): column j holds the window at rows j .. j + 10."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    window /= window.sum()
    band = np.zeros((num_outputs + _WINDOW - 1, num_outputs), np.float32)
    for column in range(num_outputs):
        band[column : column + _WINDOW, column] = window
    return band
