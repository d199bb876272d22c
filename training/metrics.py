"""Quality of a model on held-out crops: the full, a middle and the lightest level, hard rounding, several qualities."""

import torch
from torch import Tensor

from ..runtime.groups import Plan, default_plan
from .loss import bits_per_pixel, mean_squared_error
from .model import Model, quality_to_lambda
from .nodes import Widths

QUALITIES = (4.0, 20.0, 36.0, 52.0)


def psnr_db(mse: Tensor) -> Tensor:
    """PSNR in dB of a mean squared error on 0..1."""
    return -10.0 * mse.clamp_min(1e-10).log10()


@torch.no_grad()
def evaluate(model: Model, x: Tensor, quality: float, widths: Widths, plan: Plan) -> dict[str, float]:
    """Mean bpp, PSNR and rate-distortion cost of crops x (B, 3, S, S) with hard rounding."""
    qualities = torch.full((len(x),), quality, device=x.device)
    output = model(x, qualities, widths, plan, hard=True)
    output.x_hat.clamp_(0.0, 1.0)
    mse, bpp = mean_squared_error(output, x), bits_per_pixel(output)
    cost = bpp + quality_to_lambda(model.arch, qualities) * 255.0**2 * mse
    return {"bpp": float(bpp.mean()), "psnr_db": float(psnr_db(mse).mean()), "cost": float(cost.mean())}


def evaluate_levels(model: Model, x: Tensor) -> dict[str, dict[str, float]]:
    """The table of a validation: name/quality -> bpp, psnr_db, cost; under the precision that training uses."""
    levels = {
        "full": (model.arch.full(), default_plan(8)),
        "half": (model.arch.between(0.4), default_plan(4)),
        "lightest": (model.arch.lightest(), default_plan(1)),
    }
    found = {}
    with torch.autocast(x.device.type, torch.bfloat16):
        for name, (widths, plan) in levels.items():
            for quality in QUALITIES:
                found[f"{name}/{quality:g}"] = evaluate(model, x, quality, widths, plan)
    return found
