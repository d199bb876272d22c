"""MuonAdam: matrices are updated together as they would be alone, and what has no gradient stays as it is."""

import torch
from torch import nn

from basic.training.optimizer import MuonAdam


def parameters(count: int) -> list[tuple[str, nn.Parameter]]:
    torch.manual_seed(3)
    return [(f"layer{i}", nn.Parameter(torch.randn(6, 4))) for i in range(count)]


def steps(named: list[tuple[str, nn.Parameter]], skipped: set[int]) -> MuonAdam:
    """Three steps with fixed gradients; in the second one `skipped` parameters have none."""
    optimizer = MuonAdam(named, lr=0.1, adam_lr=0.1)
    for step in range(3):
        for i, (_, parameter) in enumerate(named):
            generator = torch.Generator().manual_seed(10 * step + i)
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = None if step == 1 and i in skipped else gradient
        optimizer.step()
    return optimizer


def test_stacked_matrices_learn_as_each_would_alone() -> None:
    together, alone = parameters(3), parameters(3)
    steps(together, {1})
    optimizers = [MuonAdam([named], lr=0.1, adam_lr=0.1) for named in alone]
    for step in range(3):
        for i, ((_, parameter), optimizer) in enumerate(zip(alone, optimizers, strict=True)):
            generator = torch.Generator().manual_seed(10 * step + i)
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = None if step == 1 and i == 1 else gradient
            optimizer.step()
    for (_, one), (_, other) in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_a_skipped_matrix_keeps_weights_and_momentum() -> None:
    named = parameters(2)
    optimizer = steps(named, set())
    before = [parameter.detach().clone() for _, parameter in named]
    momenta = [optimizer.state[parameter]["momentum"].clone() for _, parameter in named]
    named[0][1].grad = None
    optimizer.step()
    assert torch.equal(named[0][1], before[0]) and torch.equal(optimizer.state[named[0][1]]["momentum"], momenta[0])
    assert not torch.equal(named[1][1], before[1])
    assert not torch.equal(optimizer.state[named[1][1]]["momentum"], momenta[1])
