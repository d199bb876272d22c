"""Rate-distortion loss for many rates at once, and the schedule of the learning rate."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .model import Output, quality_to_lambda
from .nodes import Architecture

# Without a weight the highest rates own the gradient: R + lambda D there is ten times that of the lowest.
BALANCE = 0.25
OUTLIER = 3.0  # times the median of a batch: from there on a drawing's loss counts by its logarithm
MS_SSIM_SCALE = 0.12  # turns lambda (for 255^2 x MSE) into one for 1 - MS-SSIM of about the same rates


def balance(arch: Architecture, lambdas: Tensor) -> Tensor:
    """The weight of a rate in the loss, (lambda / geometric mean of the range)^-BALANCE."""
    weight: Tensor = (lambdas / (arch.lambda_min * arch.lambda_max) ** 0.5) ** -BALANCE
    return weight


def bits_per_pixel(output: Output) -> Tensor:
    """bpp of each image, (B,)."""
    return (output.y_bits + output.z_bits) / (output.x_hat.shape[-1] * output.x_hat.shape[-2])


def mean_squared_error(output: Output, x: Tensor) -> Tensor:
    """MSE of each image on 0..1, (B,)."""
    return F.mse_loss(output.x_hat, x, reduction="none").mean(dim=(1, 2, 3))


def rate_distortion_loss(
    arch: Architecture,
    output: Output,
    x: Tensor,
    quality: Tensor,
    metric: str = "mse",
    mse: Tensor | None = None,
    drawn: Tensor | None = None,
) -> Tensor:
    """Mean over the batch of (bpp + lambda x distortion) x (lambda / geometric mean of lambda)^-BALANCE.

    `mse` (B,) is what `mean_squared_error` gives, where the caller has it already. Of the crops that are
    `drawn` (B,) the loss grows as its logarithm beyond OUTLIER times the batch's median, so that none owns the step.
    """
    lambdas = quality_to_lambda(arch, quality)
    if metric == "mse":
        distortion = 255.0**2 * (mean_squared_error(output, x) if mse is None else mse)
    else:
        from pytorch_msssim import ms_ssim

        values = ms_ssim(output.x_hat.clamp(0.0, 1.0), x, data_range=1.0, size_average=False)
        distortion = 255.0**2 * MS_SSIM_SCALE * (1.0 - values)
    losses: Tensor = (bits_per_pixel(output) + lambdas * distortion) * balance(arch, lambdas)
    if drawn is not None:
        limit = OUTLIER * losses.detach().median()
        bounded = limit * (1.0 + (losses / limit).clamp_min(1.0).log())
        losses = torch.where(drawn & (losses > limit), bounded, losses)
    return losses.mean()


def warmup_stable_decay(step: int, num_steps: int, warmup_steps: int, decay_steps: int) -> float:
    """1 in the stable part, up from 0 before it, down to 0 along 1 - sqrt after it (Haegele et al. 2024)."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    left = num_steps - step
    if left < decay_steps:
        return float(1.0 - (1.0 - torch.tensor(left / decay_steps)).sqrt())
    return 1.0
