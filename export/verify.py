"""Every exported part on real images: transforms against the torch model, entropy parts against the oracle.

Each part gets the very inputs that its reference saw. A float part may differ from torch by rounding; hyper and
contexts must equal the integer oracle bit for bit; an int8 transform may cost a little quality, which is measured.
Anything else is a wrong graph and stops the export.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.engine_oracle import run_parts
from ..runtime.groups import Plan, group_channels, pack, unpack
from ..runtime.layers import Layers
from ..training.data import read_one, spread
from ..training.entropy import gaussian_bits
from ..training.model import Model
from ..training.nodes import Widths
from .graphs import PartFile

SAMPLES = Path(__file__).parent / "samples"
FLOAT_TOLERANCE = 1e-4  # of the largest value of the tensor (at least 1)
VERIFY_QUALITY = 32
INT8_LOSS_DB = 0.1  # of an int8 synthesis against the float one, both against the photograph
INT8_LATENT_RMS = 0.02  # of an int8 analysis, in steps of rounding, whose own is 0.29; at quality 63 five times that
INT8_HYPER_RMS = 0.1  # of the hyper-latent that it gives, which is rounded too and moves scales alone
INT8_WRONG = 5.0  # times these limits: no photograph explains it, the graph or its ranges are wrong

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Difference:
    """Largest absolute difference of a part's output from its reference; for an int8 synthesis its loss of PSNR, for an
    int8 analysis the root of the mean square."""

    part: str
    output: str
    largest: float
    loss_db: float = 0.0
    rms: float = 0.0


def load_images(folder: str | Path | None, limit: int = 4) -> list[Tensor]:
    """Photographs as (1, 3, H, W) in 0..1, cut to multiples of 64 and at most 512 a side; spread over the folder."""
    source = Path(folder) if folder else SAMPLES
    paths = sorted(p for p in source.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not source.is_dir():
        raise ValueError(f"{source}: expected a folder of photographs to verify the export on, there is none")
    found: list[Tensor] = []
    for path in spread(paths, limit):
        if len(found) == limit:
            break
        read = read_one(path.name, path.read_bytes())
        if read is None:
            continue
        pixels = read.astype(np.float32) / np.float32(255.0)
        height, width = (min(512, side // 64 * 64) for side in pixels.shape[:2])
        if height and width:
            found.append(torch.from_numpy(pixels[:height, :width]).permute(2, 0, 1)[None].contiguous())
    if not found:
        raise ValueError(f"{source}: expected photographs of at least 64x64 pixels to verify the export on, found none")
    return found


@torch.no_grad()
def reference(
    model: Model, widths: Widths, plan: Plan, layers: Layers, x: Tensor, quality: int = VERIFY_QUALITY
) -> list[tuple[str, Arrays, Arrays]]:
    """What torch (transforms) and the oracle (entropy part) give for an image: (part, inputs, outputs) as they run."""
    gain, inverse_gain = (g.numpy() for g in model.modulator(torch.tensor([float(quality)])))
    y = model.g_a(x, widths) * torch.from_numpy(gain)
    z = model.h_a(y, widths)
    steps: list[tuple[str, Arrays, Arrays]] = [
        ("analysis", {"x": x.numpy(), "gain": gain}, {"y": y.numpy(), "z": z.numpy()})
    ]
    packed = pack(y.numpy())
    y_hat = np.empty_like(packed)

    def code(group: int, means: NDArray[np.int16]) -> NDArray[np.int64]:
        channels = group_channels(plan[group], model.arch.latent_channels)
        eighths: NDArray[np.int64] = 8 * np.rint(packed[:, channels] - means / np.float32(8)).astype(np.int64) + means
        y_hat[:, channels] = eighths / np.float32(8)
        return eighths

    steps += run_parts(layers, plan, np.rint(z.numpy()).astype(np.int64), code)
    latent = unpack(y_hat)
    x_hat = model.g_s(torch.from_numpy(latent * inverse_gain), widths).clamp(0.0, 1.0)
    steps.append(("synthesis", {"y_hat": latent, "inverse_gain": inverse_gain}, {"x_hat": x_hat.numpy()}))
    return steps


def verify_level(
    model: Model,
    widths: Widths,
    plan: Plan,
    layers: Layers,
    parts: list[PartFile],
    images: list[Tensor],
    decided: Collection[str] = (),
) -> list[Difference]:
    """The largest difference of every output over the images; raises ValueError where one is too large. Of the parts
    `decided` it is known from other photographs that 8 bits do, so that only a wrong graph is refused."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    sessions = {
        part.name: onnxruntime.InferenceSession(part.data, options, providers=["CPUExecutionProvider"])
        for part in parts
    }
    precisions = {part.name: part.precision for part in parts}
    worst: dict[tuple[str, str], Difference] = {}
    for x in images:
        for name, inputs, expected in reference(model, widths, plan, layers, x):
            names = [output.name for output in sessions[name].get_outputs()]
            got = dict(zip(names, sessions[name].run(names, inputs), strict=True))
            for output, want in expected.items():
                if precisions[name] == "int8":
                    slack = INT8_WRONG if name in decided else 1.0
                    found = compare_int8(name, output, got[output], want, x.numpy(), slack)
                else:
                    found = compare(name, output, got[output], want)
                old = worst.get((name, output))
                if old is None or (old.loss_db, old.rms, old.largest) < (found.loss_db, found.rms, found.largest):
                    worst[name, output] = found
    return list(worst.values())


def _check_kind(part: str, output: str, got: NDArray[Any], want: NDArray[Any]) -> None:
    if got.shape != want.shape or got.dtype != want.dtype:
        raise ValueError(
            f"{part}: {output}: expected {want.dtype} {want.shape}, the graph gives {got.dtype} {got.shape}"
        )


class Int8LossError(ValueError):
    """A transform loses too much in 8 bits; `part` names it, `reason` says how much."""

    def __init__(self, part: str, what: str) -> None:
        self.part, self.reason = part, f"{part}: {what}"
        super().__init__(f"{self.reason}; export it in float (--int8 none)")


def compare_int8(
    part: str, output: str, got: NDArray[Any], want: NDArray[Any], image: NDArray[Any], slack: float = 1.0
) -> Difference:
    """What 8 bits cost: noise in a latent, PSNR of a picture. Int8LossError beyond `slack` times the limit."""
    _check_kind(part, output, got, want)
    largest = float(np.abs(got - want).max())
    if output != "x_hat":
        rms = float(np.sqrt(np.mean(np.square(got - want))))
        limit = slack * (INT8_LATENT_RMS if output == "y" else INT8_HYPER_RMS)
        if not rms <= limit:
            raise Int8LossError(part, f"{output} in int8 is off by {rms:.3g} on average, more than {limit:g}")
        return Difference(part, output, largest, rms=rms)
    loss = 10.0 * float(np.log10(np.mean(np.square(got - image)) / np.mean(np.square(want - image))))
    limit = slack * INT8_LOSS_DB
    if not loss <= limit:
        raise Int8LossError(part, f"{output} in int8 loses {loss:.3g} dB, more than {limit:g}")
    return Difference(part, output, largest, loss)


def compare(part: str, output: str, got: NDArray[Any], want: NDArray[Any]) -> Difference:
    """The difference of one output; ValueError names the part where it is more than it may be."""
    _check_kind(part, output, got, want)
    if part == "hyper" or part.startswith("context"):
        if not np.array_equal(got, want):
            raise ValueError(
                f"{part}: {output} differs from the integer oracle in {np.mean(got != want):.2%} of its values"
            )
        return Difference(part, output, 0.0)
    largest = float(np.abs(got - want).max())
    limit = FLOAT_TOLERANCE * max(1.0, float(np.abs(want).max()))
    if not largest <= limit:  # also where either holds no number
        raise ValueError(f"{part}: {output} differs from torch by {largest:.3g}, more than {limit:.3g}")
    return Difference(part, output, largest)


@torch.no_grad()
def exactness_cost(
    model: Model, widths: Widths, plan: Plan, layers: Layers, images: list[Tensor], quality: int = VERIFY_QUALITY
) -> float:
    """Bits of y by the integer networks over bits by the float ones, both as ideal Gaussian code lengths."""
    exact = floating = 0.0
    for x in images:
        steps = reference(model, widths, plan, layers, x, quality)
        packed = pack(steps[0][2]["y"])
        for name, _, outputs in steps[2:-1]:
            group = plan[int(name.removeprefix("context_g"))]
            means = outputs["means"] / np.float32(8)
            symbols = np.rint(packed[:, group_channels(group, model.arch.latent_channels)] - means)
            indexes = torch.from_numpy(outputs["indexes"].astype(np.float32))
            exact += float(gaussian_bits(torch.from_numpy(symbols), indexes).sum())
        qualities = torch.full((1,), float(quality))
        floating += float(model(x, qualities, widths, plan, hard=True).y_bits.sum())
    return exact / floating
