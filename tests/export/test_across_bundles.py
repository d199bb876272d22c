"""Laws of files across bundles: what may change without losing them, and what may not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from basic.export import to_onnx
from basic.export.cli import main
from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.errors import BitstreamError
from basic.training.checkpoint import load_checkpoint, save_checkpoint

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)


def changed_bundle(checkpoint: Path, folder: Path, part: str) -> Path:
    """A bundle of the checkpoint with other weights in one part."""
    model = load_checkpoint(checkpoint).model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(part):
                parameter.mul_(0.9)
    save_checkpoint(folder / "changed.safetensors", model, {})
    return export(folder / "changed.safetensors", folder / "changed.bundle")


def export(checkpoint: Path, target: Path) -> Path:
    assert main([str(checkpoint), "-o", str(target), "--only", "0"]) == 0
    return target


def test_another_synthesis_decodes_old_files_to_the_same_latents(
    checkpoint: Path, untrained: Path, tmp_path: Path
) -> None:
    with Codec.open(untrained) as old, Codec.open(changed_bundle(checkpoint, tmp_path, "g_s")) as new:
        data = old.encode(IMAGE, level=0)
        np.testing.assert_array_equal(new.decode_latents(data), old.decode_latents(data))
        assert new.decode(data).size == (90, 70)


def test_another_entropy_part_refuses_old_files_and_names_both_ids(
    checkpoint: Path, untrained: Path, tmp_path: Path
) -> None:
    with Codec.open(untrained) as old, Codec.open(changed_bundle(checkpoint, tmp_path, "context")) as new:
        data = old.encode(IMAGE, level=0)
        with pytest.raises(BitstreamError) as refused:
            new.decode(data)
        for codec in (old, new):
            assert codec.bundle.levels[0].entropy_id.hex() in str(refused.value)


def test_another_opset_keeps_the_entropy_id_and_old_files(
    checkpoint: Path, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "OPSET", 19)
    other = export(checkpoint, tmp_path / "opset.bundle")
    part = Bundle.open(other).levels[0].parts["hyper"]
    assert part.sha256 != Bundle.open(untrained).levels[0].parts["hyper"].sha256
    with Codec.open(untrained) as old, Codec.open(other) as new:
        data = old.encode(IMAGE, level=0)
        np.testing.assert_array_equal(new.decode_latents(data), old.decode_latents(data))


def test_the_oracle_decodes_what_onnxruntime_encoded(untrained: Path) -> None:
    with Codec.open(untrained, verify=True) as ort, Codec.open(untrained, engine="oracle", verify=True) as oracle:
        for level in (0, 3):
            data = ort.encode(IMAGE, level=level)
            np.testing.assert_array_equal(oracle.decode_latents(data), ort.decode_latents(data))
            assert oracle.encode(IMAGE, level=level) == data
            assert oracle.decode_latents(data).shape == (oracle.bundle.latent_channels, 8, 8)
