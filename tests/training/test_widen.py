"""Laws of widening: what was trained stays, what is new is silent until fitted, and then loses less."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from basic.runtime.groups import default_plan
from basic.training import widen
from basic.training.checkpoint import load_checkpoint, save_checkpoint
from basic.training.model import Model
from basic.training.nodes import Architecture

ARCH = replace(Architecture(), latent_channels=128, trunk16=128)
WIDER = replace(ARCH, latent_channels=160, trunk16=160)


def crops(count: int) -> torch.Tensor:
    """Smooth noise with some fine grain, (count, 3, 128, 128)."""
    draw = torch.Generator().manual_seed(1)
    coarse = torch.rand((count, 3, 16, 16), generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=128, mode="bilinear")
    return (smooth + 0.1 * torch.rand(smooth.shape, generator=draw)).clamp(0.0, 1.0)


@pytest.fixture(scope="module")
def old() -> Model:
    torch.manual_seed(0)
    return Model(ARCH).eval()


@torch.no_grad()
def test_before_the_fit_it_is_the_old_model(old: Model) -> None:
    torch.manual_seed(1)
    new = Model(WIDER).eval()
    widen.copy_into(old, new)
    x, quality = crops(1), torch.tensor([30.0])
    y, wide = old.g_a(x, ARCH.full()), new.g_a(x, WIDER.full())
    torch.testing.assert_close(wide[:, :128], y, atol=1e-5, rtol=1e-5)
    assert not wide[:, 128:].any()
    torch.testing.assert_close(new.g_s(wide, WIDER.full()), old.g_s(y, ARCH.full()), atol=1e-5, rtol=1e-5)
    plan = default_plan(1)
    before, after = old(x, quality, ARCH.full(), plan, hard=True), new(x, quality, WIDER.full(), plan, hard=True)
    torch.testing.assert_close(after.z_bits, before.z_bits, rtol=1e-3, atol=0.5)
    torch.testing.assert_close(after.x_hat, before.x_hat, atol=2e-2, rtol=0.0)


@torch.no_grad()
def test_the_fitted_model_loses_less_and_uses_every_channel(old: Model) -> None:
    torch.manual_seed(1)
    x = crops(8)
    new = widen.widen(old, WIDER, x).eval()
    gain, inverse_gain = new.modulator(torch.full((8,), widen.MIDDLE_QUALITY))
    y = new.g_a(x, WIDER.full())
    assert float(y[:, 128:].std(dim=(0, 2, 3)).min()) > 0.1
    gain_old, inverse_old = old.modulator(torch.full((8,), widen.MIDDLE_QUALITY))
    before = (old.g_s(y[:, :128] * gain_old * inverse_old, ARCH.full()) - x).square().mean()
    after = (new.g_s(y * gain * inverse_gain, WIDER.full()) - x).square().mean()
    assert float(after) < float(before)
    torch.testing.assert_close((gain * inverse_gain)[:, 128:], torch.ones(8, 32, 1, 1))


def test_only_wider_will_do(old: Model) -> None:
    with pytest.raises(ValueError, match="as many new trunk channels"):
        widen.widen(old, replace(ARCH, latent_channels=160), crops(1))
    with pytest.raises(ValueError, match="as many new trunk channels"):
        widen.widen(old, replace(ARCH, latent_channels=96, trunk16=96), crops(1))


def test_the_command_keeps_the_record(
    old: Model, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, made = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    save_checkpoint(given, old, {"steps": 5})
    options = ["-o", str(made), "--data", str(photographs), "--crop-size", "64", "--num-crops", "3"]
    assert widen.main([str(given), *options, "--latent-channels", "144", "--trunk16", "144"]) == 0
    checkpoint = load_checkpoint(made)
    assert checkpoint.model.arch == replace(ARCH, latent_channels=144, trunk16=144)
    assert checkpoint.training == {"steps": 5, "widened_from": 128}
    assert widen.main([str(given), *options, "--latent-channels", "64"]) == 1
    assert "as many new trunk channels" in capsys.readouterr().err
