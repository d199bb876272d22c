"""The code length's own gradients are those of its values."""

import torch

from basic.training.entropy import NUM_SCALES, gaussian_bits


def test_gradients_are_those_of_the_code_length() -> None:
    torch.manual_seed(0)
    indexes = (torch.rand(200, dtype=torch.float64) * (NUM_SCALES - 2) + 1).requires_grad_()
    scales = 0.11 * (64 / 0.11) ** (indexes.detach() / (NUM_SCALES - 1))
    residual = (1.5 * scales * torch.randn(200, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(gaussian_bits, (residual, indexes), atol=1e-6)


def test_gradients_stay_finite_for_impossible_symbols_and_end_with_the_scales() -> None:
    residual = torch.tensor([2.0, -2.0, 0.3], requires_grad=True)
    indexes = torch.tensor([0.0, 0.0, 80.0], requires_grad=True)
    gaussian_bits(residual, indexes).sum().backward()
    assert residual.grad is not None and indexes.grad is not None
    assert torch.isfinite(residual.grad).all() and torch.isfinite(indexes.grad).all()
    assert indexes.grad[2] == 0.0
