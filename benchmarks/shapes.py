"""Shapes of a part's inputs for an image size, from the strides that BUNDLE.md gives each tensor."""

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import Part

STRIDES = {"x": 1, "z_hat": 64, "state": 32}


def input_shapes(part: Part, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Input name -> (1, C, h, w) for one image of height x width pixels, both multiples of 64."""
    y_hat = 16 if part.name == "synthesis" else 32
    shapes: dict[str, tuple[int, ...]] = {}
    for name, _, dims in part.inputs:
        stride = STRIDES.get(name, y_hat)
        size = (1, 1) if "gain" in name else (height // stride, width // stride)
        shapes[name] = (1, int(dims[1]), *size)
    return shapes


def zero_inputs(part: Part, height: int, width: int) -> dict[str, NDArray[np.float32]]:
    """Inputs of these shapes, all zero: enough to run a part for its memory or its time."""
    return {name: np.zeros(shape, np.float32) for name, shape in input_shapes(part, height, width).items()}
