"""Every exported part against the torch model on real images, each part given the very inputs that torch saw.

Tolerances: a float part may differ by rounding; a mean or scale index that lies on a rounding edge may fall to either
side, so few of them may differ by one. Anything more is a wrong graph and stops the export.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..runtime.groups import Plan
from ..training.context import OUTPUT_SCALE, pack, unpack
from ..training.entropy import NUM_SCALES
from ..training.model import Model
from ..training.nodes import Widths
from .graphs import MEAN_LIMIT, PartFile

SAMPLES = Path(__file__).parent / "samples"
FLOAT_TOLERANCE = 2e-3  # of the largest value of the tensor (at least 1)
MAX_EDGE_SHARE = 0.01  # of the integers of a part
VERIFY_QUALITY = 32

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Difference:
    """Largest absolute difference of a part's output, and for integers the share that differ at all."""

    part: str
    output: str
    largest: float
    share: float


def load_images(folder: str | Path | None, limit: int = 4) -> list[Tensor]:
    """Photographs as (1, 3, H, W) in 0..1, cut to multiples of 64 and at most 512 a side."""
    source = Path(folder) if folder else SAMPLES
    found = []
    for path in sorted(p for p in source.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))[:limit]:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32) / np.float32(255.0)
        height, width = (min(512, side // 64 * 64) for side in pixels.shape[:2])
        if height and width:
            found.append(torch.from_numpy(pixels[:height, :width]).permute(2, 0, 1)[None].contiguous())
    if not found:
        raise ValueError(f"{source}: expected photographs of at least 64x64 pixels to verify the export on, found none")
    return found


@torch.no_grad()
def reference(model: Model, widths: Widths, plan: Plan, x: Tensor) -> list[tuple[str, Arrays, Arrays]]:
    """What the torch model computes for an image: (part, inputs, outputs) in the order in which parts run."""
    gain, inverse_gain = model.modulator(torch.tensor([float(VERIFY_QUALITY)]))
    y = model.g_a(x, widths) * gain
    z = model.h_a(y, widths)
    state = model.h_s(z.round(), widths)
    steps = [
        ("analysis", {"x": x, "gain": gain}, {"y": y, "z": z}),
        ("hyper", {"z_hat": z.round()}, {"state": state}),
    ]
    packed = pack(y)
    y_hat_packed = torch.zeros_like(packed)
    inputs, previous = {"state": state}, None
    for g, group in enumerate(plan):
        if previous is not None:
            inputs = {"state": state, "y_hat": previous}
            state = state + model.context.update(previous, plan[g - 1], state.shape[1])
        means, indexes = model.context.outputs(model.context.head(state, widths["context.inner"]), group)
        eighths = (means * OUTPUT_SCALE).clamp(-MEAN_LIMIT, MEAN_LIMIT).round()
        outputs = {"means": eighths, "indexes": indexes.clamp(0, NUM_SCALES - 1).round()}
        if 0 < g < len(plan) - 1:
            outputs["state_out"] = state
        steps.append((f"context_g{g}", inputs, outputs))
        channels = model.context.channels(group, x.device)
        previous = (packed[:, channels] - eighths / 8.0).round() + eighths / 8.0
        y_hat_packed[:, channels] = previous
    y_hat = unpack(y_hat_packed)
    x_hat = model.g_s(y_hat * inverse_gain, widths).clamp(0.0, 1.0)
    steps.append(("synthesis", {"y_hat": y_hat, "inverse_gain": inverse_gain}, {"x_hat": x_hat}))
    return [(name, _numpy(inputs), _numpy(outputs)) for name, inputs, outputs in steps]


def verify_level(
    model: Model, widths: Widths, plan: Plan, parts: list[PartFile], images: list[Tensor]
) -> list[Difference]:
    """The largest difference of every output over the images; raises ValueError where one is too large."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    sessions = {
        part.name: onnxruntime.InferenceSession(part.data, options, providers=["CPUExecutionProvider"])
        for part in parts
    }
    worst: dict[tuple[str, str], Difference] = {}
    for x in images:
        for name, inputs, expected in reference(model, widths, plan, x):
            names = [output.name for output in sessions[name].get_outputs()]
            got = dict(zip(names, sessions[name].run(names, inputs), strict=True))
            for output, want in expected.items():
                found = compare(name, output, got[output], want)
                if (name, output) not in worst or worst[name, output].largest < found.largest:
                    worst[name, output] = found
    return list(worst.values())


def compare(part: str, output: str, got: NDArray[Any], want: NDArray[Any]) -> Difference:
    """The difference of one output; ValueError names the part where it is more than rounding."""
    if got.shape != want.shape:
        raise ValueError(f"{part}: {output}: expected shape {want.shape} as in torch, the graph gives {got.shape}")
    gaps = np.abs(got.astype(np.float64) - want.astype(np.float64))
    largest, share = float(gaps.max()), float((gaps > 0).mean())
    if not np.isfinite(largest):
        raise ValueError(f"{part}: {output} is not finite; the checkpoint has diverged")
    if got.dtype == np.float32:
        limit = FLOAT_TOLERANCE * max(1.0, float(np.abs(want).max()))
        if largest > limit:
            raise ValueError(f"{part}: {output} differs from torch by {largest:.3g}, more than {limit:.3g}")
    elif largest > 1 or share > MAX_EDGE_SHARE:
        raise ValueError(f"{part}: {output} differs from torch by up to {largest:g} in {share:.2%} of its integers")
    return Difference(part, output, largest, share)


def _numpy(tensors: dict[str, Tensor]) -> Arrays:
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}
