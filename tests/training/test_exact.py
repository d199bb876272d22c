"""Laws of the fine-tuning for integer networks: grids keep the bounds, transforms stay, float weights come back."""

from pathlib import Path

import pytest
import torch

from basic.training import cli
from basic.training.checkpoint import load_checkpoint, save_checkpoint
from basic.training.exact import fine_tune_entropy, round_to_bound, rounded_weights
from basic.training.model import Model


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_rounded_weights_are_integers_within_the_bounds(scale: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(16, 320) * scale
    step_in, step_out, max_input = 8 / 255, 8 / 255, 255.0
    rounded = round_to_bound(weight, max_input, step_in, step_out) * (step_in / step_out)
    for row in rounded:
        exponent = next(s for s in range(-9, 30) if torch.equal((row * 2.0**s).round(), row * 2.0**s))
        integers = row * 2.0**exponent
        assert integers.abs().max() < 2**11
        assert integers.abs().sum() * max_input < 2**22


def test_float_weights_come_back() -> None:
    model = Model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with rounded_weights(model):
        changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed and all(name.startswith(("h_s", "context")) for name in changed)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_activations_take_255_steps_and_pass_their_gradient() -> None:
    model = Model()
    fine_tune_entropy(model)
    state = (torch.randn(1, model.arch.state, 2, 2) * 3).requires_grad_()
    features = model.context.head(state, model.arch.context_inner)
    units = features.detach() * 255 / 8
    assert torch.allclose(units, units.round(), atol=1e-3)
    features.sum().backward()
    assert state.grad is not None and state.grad.abs().sum() > 0


def test_only_the_entropy_part_learns(photographs: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "init.safetensors", Model(), {})
    arguments = [
        "--data",
        str(photographs),
        "--output",
        str(tmp_path / "run"),
        "--init",
        str(tmp_path / "init.safetensors"),
    ]
    options = ["--exact", "--steps", "2", "--batch-size", "2", "--crop-size", "64", "--warmup-steps", "1"]
    assert cli.main([*arguments, *options, "--threads", "1", "--precision", "32-true"]) == 0
    before = load_checkpoint(tmp_path / "init.safetensors").model.state_dict()
    after = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"h_s", "context"}
