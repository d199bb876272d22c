"""A checkpoint of untrained weights and its bundle of three levels."""

from pathlib import Path

import pytest
import torch

from basic.export.cli import main
from basic.training.checkpoint import save_checkpoint
from basic.training.model import Model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    save_checkpoint(path, Model(), {"steps": 0})
    return path


@pytest.fixture(scope="session")
def untrained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Levels 0 and 3 of eight, as a zip."""
    path = tmp_path_factory.mktemp("bundle") / "untrained.bundle"
    assert main([str(checkpoint), "-o", str(path), "--only", "0,3"]) == 0
    return path
