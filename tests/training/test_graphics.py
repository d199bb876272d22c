"""Laws of drawn crops: they depend on seed and step alone, leave the photographs as they were, and own no step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from basic.training import graphics
from basic.training.data import Photographs
from basic.training.graphics import graphic
from basic.training.loss import OUTLIER, rate_distortion_loss
from basic.training.model import Output
from basic.training.nodes import Architecture


def test_a_drawing_is_a_function_of_its_random_numbers() -> None:
    a, b = (graphic(np.random.default_rng(5), 96) for _ in range(2))
    assert a.shape == (96, 96, 3) and a.dtype == np.uint8 and np.array_equal(a, b)
    rng = np.random.default_rng(5)
    assert not np.array_equal(graphic(rng, 96), graphic(rng, 96))


@pytest.mark.parametrize("kind", [graphics.pattern, graphics.text, graphics.shapes, graphics.noise])
def test_every_kind_reaches_full_contrast_and_is_never_empty(kind: graphics.Kind) -> None:
    drawn = [kind(np.random.default_rng(seed), 64) for seed in range(60)]
    assert all(d.shape == (64, 64, 3) and d.dtype == np.uint8 for d in drawn)
    if kind is not graphics.shapes:  # shapes may hide each other
        assert all(np.ptp(d.reshape(-1, 3), axis=0).any() for d in drawn)
    assert any(np.ptp(d.reshape(-1, 3), axis=0).max() == 255 for d in drawn)


def test_drawings_take_the_place_of_some_crops_and_leave_the_others(photographs: Path) -> None:
    source = Photographs(photographs, 64)
    plain, none = source.batch(3, 7, 64)
    (some, drawn), (again, _) = (source.batch(3, 7, 64, graphics_share=0.25) for _ in range(2))
    same = (plain == some).flatten(1).all(1)
    assert torch.equal(some, again) and not none.any()
    assert torch.equal(same, ~drawn) and 0.5 < same.float().mean() < 0.95
    assert torch.equal(source.batch(3, 7, 4, graphics_share=0.0)[0], source.batch(3, 7, 4)[0])
    everywhere, drawn = source.batch(3, 7, 64, graphics_share=1.0)
    assert drawn.all() and not (plain == everywhere).flatten(1).all(1).any()


def test_a_drawing_beyond_the_others_counts_by_its_logarithm() -> None:
    """Its loss keeps growing, with the gradient of one at the limit; photographs keep theirs."""
    arch, x = Architecture(), torch.zeros(5, 3, 8, 8)
    off = torch.tensor([0.1, 0.1, 0.1, 0.9, 0.9]).view(5, 1, 1, 1).expand_as(x).clone().requires_grad_()
    output = Output(x_hat=off, y_bits=torch.zeros(5), z_bits=torch.zeros(5))
    quality, drawn = torch.full((5,), 30.0), torch.tensor([True, False, False, False, True])
    plain, tame = (rate_distortion_loss(arch, output, x, quality, drawn=which) for which in (None, drawn))
    (whole,), (bounded,) = torch.autograd.grad(plain, off), torch.autograd.grad(tame, off)
    assert float(tame.detach()) < float(plain.detach())
    assert torch.equal(whole[:4], bounded[:4])
    assert torch.allclose(bounded[4], whole[4] * OUTLIER / 81.0)
