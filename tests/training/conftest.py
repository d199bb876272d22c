"""A model small enough for tests: the flagship's shape with narrow layers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from basic.training.model import Model
from basic.training.nodes import Architecture


@pytest.fixture(scope="session")
def model() -> Model:
    torch.manual_seed(0)
    return Model(Architecture()).eval()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of noise and ramps, large enough for crops of 64."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 96)[:, None, None] * np.ones((1, 128, 3))
    for i in range(3):
        pixels = np.clip(ramp + rng.normal(0, 20, ramp.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder
