"""PSNR and MS-SSIM are the field's numbers."""

import numpy as np
import pytest
from numpy.typing import NDArray

from basic.benchmarks.quality import MIN_MS_SSIM_SIDE, ms_ssim, psnr_db


def photograph(height: int, width: int, seed: int = 1) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    waves = np.add.outer(np.sin(np.arange(height) / 9), np.cos(np.arange(width) / 13))[..., None]
    return np.clip(128 + 50 * waves + rng.normal(0, 9, (height, width, 3)), 0, 255).astype(np.uint8)


def noisy(x: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(2).normal(0, sigma, x.shape)
    return np.clip(x + noise, 0, 255).astype(np.uint8)


def test_psnr_of_a_known_error() -> None:
    x = np.full((8, 8, 3), 100, np.uint8)
    assert psnr_db(x, x + np.uint8(5)) == pytest.approx(10 * np.log10(255**2 / 25))
    assert psnr_db(x, x) == float("inf")


def test_psnr_does_not_wrap_around() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert psnr_db(black, white) == pytest.approx(0)


def test_ms_ssim_of_identical_images_is_one() -> None:
    x = photograph(192, 200)
    assert ms_ssim(x, x) == pytest.approx(1)


def test_ms_ssim_falls_with_noise() -> None:
    x = photograph(192, 256)
    values = [ms_ssim(x, noisy(x, sigma)) for sigma in (2, 10, 40)]
    assert all(value is not None for value in values)
    assert sorted(values, key=lambda value: -(value or 0)) == values


def test_ms_ssim_needs_five_scales() -> None:
    small = photograph(MIN_MS_SSIM_SIDE - 1, 300)
    assert ms_ssim(small, small) is None
    enough = photograph(MIN_MS_SSIM_SIDE, 300)
    assert ms_ssim(enough, enough) == pytest.approx(1)


@pytest.mark.parametrize("size", [(256, 320), (177, 203)])
@pytest.mark.parametrize("sigma", [3, 30])
def test_ms_ssim_equals_pytorch_msssim(size: tuple[int, int], sigma: float) -> None:
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("pytorch_msssim")
    x = photograph(*size)
    x_hat = noisy(x, sigma)
    a, b = (torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None] for image in (x, x_hat))
    expected = reference.ms_ssim(a, b, data_range=255).item()
    assert ms_ssim(x, x_hat) == pytest.approx(expected, abs=1e-5)  # float32 here, a float32 window there
