"""More latent channels for a trained model: `python -m basic.training.widen`, weights kept, new channels fitted.

What a newcomer gets wrong: the number of latent channels bounds the quality that any rate can buy. On held-out
photographs the best linear transform of 16x16 blocks with 192 coefficients ends at 34.9 dB, with 256 at 40.3 dB and
with 320 at 47.8 dB; a trained transform with 192 ended at 34.7.

The wider model computes what the old one did, plus new channels that ride the residual stream of the trunks at 1/16
untouched. g_a makes of them the strongest directions of what the old model loses, a linear function of its trunk at 1/8
(reduced rank regression); what g_s hears of them is learned in a few steps without rounding. New inner channels start
silent: random rows in, zero columns out.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..runtime.command import run_main
from ..runtime.groups import NUM_PHASES
from .checkpoint import load_checkpoint, save_checkpoint
from .context import OUTPUT_SCALE
from .data import Photographs
from .entropy import LOG_SCALE_STEP
from .model import NUM_QUALITIES, Model
from .nodes import Architecture

MIDDLE_QUALITY = (NUM_QUALITIES - 1) / 2
SIZES = ("latent_channels", "trunk16", "inner16", "hyper_width")
FIT_RATE = 3e-4  # of Adam; ten times as much blew up on a model of 30 000 steps
RIDGE = 1e-3  # of the mean variance of a feature


def copy_into(old: Model, new: Model) -> None:
    """Old weights into the leading corner of new ones; what is new stays silent until its inputs are fitted."""
    before, after = old.state_dict(), new.state_dict()
    m, t = old.arch.latent_channels, old.arch.trunk16
    for name, tensor in after.items():
        source = before[name]
        if source.shape == tensor.shape:
            tensor.copy_(source)
            continue
        if name.startswith("context.") and source.shape[-1 if name == "context.write" else 0] == NUM_PHASES * m:
            _copy_packed(name, source, tensor, m, new.arch.latent_channels)
            continue
        if name.startswith("modulator.second"):
            for half in range(2):
                tensor[half * new.arch.latent_channels :][:m] = source[half * m : (half + 1) * m]
            continue
        if name.endswith(("merge.weight", "project.weight")) and "blocks" in name:
            tensor.zero_()  # new inner channels say nothing, new trunk channels hear nothing
        elif name.endswith((".value.weight", ".gate.weight", ".spread.weight")):
            tensor[:, t:] = 0.0
        elif name in ("g_a.down.weight", "g_a.project.weight", "g_s.embed.weight", "g_s.up.weight", "h_a.first.weight"):
            tensor.zero_()
        common = tuple(slice(0, min(sizes)) for sizes in zip(source.shape, tensor.shape, strict=True))
        tensor[common] = source[common]


def _copy_packed(name: str, source: Tensor, tensor: Tensor, old: int, new: int) -> None:
    """Tensors with one row (of write: column) for each packed channel, phase-major."""
    if name in ("context.mean.weight", "context.write"):
        tensor.zero_()
    for phase in range(NUM_PHASES):
        if name == "context.write":
            tensor[:, phase * new : phase * new + old] = source[:, phase * old : (phase + 1) * old]
        else:
            tensor[phase * new : phase * new + old] = source[phase * old : (phase + 1) * old]


@torch.no_grad()
def fit(old: Model, new: Model, x: Tensor) -> None:
    """Set the layers that make and read the new channels from crops x (B, 3, S, S)."""
    m, t = old.arch.latent_channels, old.arch.trunk16
    count = new.arch.latent_channels - m
    assert count == new.arch.trunk16 - t
    widths = old.arch.full()
    features, residuals, latents = [], [], []
    quality = torch.tensor([MIDDLE_QUALITY])
    gain, inverse_gain = old.modulator(quality)
    for i in range(len(x)):
        crop = x[i : i + 1]
        unshuffled = torch.nn.functional.pixel_unshuffle(crop * 2.0 - 1.0, 8)
        feature = old.g_a.run("8", old.g_a.embed(unshuffled), widths)
        y = old.g_a(crop, widths)
        x_hat = old.g_s(y * gain * inverse_gain, widths)
        residual = torch.nn.functional.pixel_unshuffle((crop - x_hat) * 2.0, 8)
        features.append(_cells(feature))
        residuals.append(_cells(residual))
        latents.append(_rows(y))
    f, r, y_old = (torch.cat(found).double() for found in (features, residuals, latents))
    f_mean = f.mean(0)
    centred = f - f_mean
    gram = centred.T @ centred / len(f)
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    project = torch.kron(
        old.g_s.project.weight.double(), torch.eye(4, dtype=torch.float64)
    )  # trunk -> pixels of a cell
    target = r @ torch.linalg.pinv(project).T  # residual as trunk features
    weights = torch.linalg.solve(gram, centred.T @ target / len(f))  # (4 N, 4 N)
    pixels = centred @ weights @ project.T
    directions = torch.linalg.svd(pixels.T @ pixels)[0][:, :count]  # strongest in the picture
    make = (project @ weights.T).T @ directions  # (4 N, count): features -> new channel, orthonormal in pixels
    made = centred @ make
    std = made.std(0)
    make = make / std
    n = new.arch.trunk8
    corner = make.T.reshape(count, n, 2, 2).float()
    new.g_a.down.weight[t:, :, 1:, 1:] = corner
    new.g_a.down.bias[t:] = -(f_mean @ make).float()
    new.g_a.project.weight[m:, t:] = torch.eye(count)
    new.g_a.project.bias[m:] = 0.0
    new.g_s.embed.weight[t:, m:] = torch.eye(count)
    new.g_s.embed.bias[t:] = 0.0
    _fit_synthesis(new, x, t)
    _fit_entropy(old, new, y_old, made / std, _pixel_norms(new, y_old))


@torch.enable_grad()
def _fit_synthesis(new: Model, x: Tensor, t: int, num_steps: int = 240) -> None:
    """Learn what g_s's trunk at 1/8 hears of the new channels, all else fixed, without rounding."""
    widths = new.arch.full()
    new.requires_grad_(False)
    heard = torch.zeros_like(new.g_s.up.weight[:, t:]).requires_grad_()
    kept = new.g_s.up.weight[:, :t].clone()
    optimizer = torch.optim.Adam([heard], lr=FIT_RATE)
    gain, inverse_gain = new.modulator(torch.tensor([MIDDLE_QUALITY]))
    product = gain * inverse_gain
    product[:, -(new.arch.trunk16 - t) :] = 1.0
    draw, size = torch.Generator().manual_seed(0), min(128, x.shape[-1])
    for step in range(num_steps):
        rows = torch.randint(len(x), (4,), generator=draw)
        top, left = (int(torch.randint((x.shape[-1] - size) // 64 + 1, (1,), generator=draw)) * 64 for _ in range(2))
        crop = x[rows, :, top : top + size, left : left + size]
        for group in optimizer.param_groups:
            group["lr"] = FIT_RATE * (1 - step / num_steps)
        optimizer.zero_grad()
        weights = {"g_s.up.weight": torch.cat([kept, heard], dim=1)}
        x_hat = _synthesise(new, crop, product, widths, weights)
        loss = (x_hat - crop).square().mean()
        torch.autograd.backward([loss])
        optimizer.step()
        if step % 40 == 0 or step == num_steps - 1:
            print(f"step {step}: {-10 * float(loss.detach().log10()):.2f} dB", file=sys.stderr)
    new.g_s.up.weight.data[:, t:] = heard.detach()
    new.requires_grad_(True)


def _synthesise(
    new: Model, crop: Tensor, product: Tensor, widths: dict[str, int], weights: dict[str, Tensor]
) -> Tensor:
    with torch.no_grad():
        y = new.g_a(crop, widths) * product
    synthesis = {name.removeprefix("g_s."): value for name, value in weights.items()}
    x_hat: Tensor = torch.func.functional_call(new.g_s, synthesis, (y, widths))
    return x_hat


def _cells(x: Tensor) -> Tensor:
    """(1, C, h, w) -> (cells of 2x2, C * 4) with index c * 4 + 2 dy + dx."""
    return torch.nn.functional.pixel_unshuffle(x, 2)[0].flatten(1).T


def _rows(x: Tensor) -> Tensor:
    return x[0].flatten(1).T


def _pixel_norms(new: Model, y: Tensor) -> Tensor:
    """Root of the energy that one unit of each latent channel makes in the picture, (M,), around the mean latent."""
    m, widths = new.arch.latent_channels, new.arch.full()
    middle = torch.zeros(1, m, 8, 8)
    middle[:, : y.shape[1]] = y.mean(0).float()[None, :, None, None]
    still = new.g_s(middle, widths)
    norms = torch.zeros(m)
    for start in range(0, m, 32):
        channels = torch.arange(start, min(start + 32, m))
        moved = middle.repeat(len(channels), 1, 1, 1)
        moved[torch.arange(len(channels)), channels, 4, 4] += 1.0
        norms[channels] = (new.g_s(moved, widths) - still).square().sum(dim=(1, 2, 3)).sqrt()
    return norms


def _fit_entropy(old: Model, new: Model, y_old: Tensor, made: Tensor, norms: Tensor) -> None:
    """Gains by which a step of a new channel costs the picture what an old one's does; scales as a like channel's."""
    m, count = old.arch.latent_channels, new.arch.latent_channels - old.arch.latent_channels
    gain, inverse_gain = (g[0, :, 0, 0] for g in old.modulator(torch.tensor([MIDDLE_QUALITY])))
    usual = (norms[:m] * inverse_gain)[m // 2 :].median()
    centred = (y_old - y_old.mean(0)).abs()
    like = torch.tensor(
        [
            int(torch.corrcoef(torch.cat([made[:, i : i + 1].abs(), centred], dim=1).T)[0, 1:].argmax())
            for i in range(count)
        ]
    )
    second, first = new.modulator.second, new.arch.latent_channels
    wanted = usual / norms[m:]  # inverse gain of the new channels at the middle quality
    second.weight[m:first], second.weight[first + m :] = second.weight[like], -second.weight[like]
    second.bias[m:first] = second.bias[like] - (wanted * gain[like]).log()  # gain and inverse gain: exact inverses
    second.bias[first + m :] = -second.bias[m:first]
    scale_like = centred[:, like].std(0).float() * gain[like]
    scale_made = made.std(0).float() / wanted
    shift = (scale_made / scale_like).log() / LOG_SCALE_STEP / OUTPUT_SCALE
    for phase in range(NUM_PHASES):
        rows = phase * new.arch.latent_channels + m + torch.arange(count)
        source = phase * new.arch.latent_channels + like
        new.context.scale.weight[rows] = new.context.scale.weight[source]
        new.context.scale.bias[rows] = new.context.scale.bias[source] + shift
        new.context.mean.bias[rows] = 0.0
        new.context.read.weight[rows] = new.context.read.weight[source]
        new.context.read.bias[rows] = 0.0


def widen(old: Model, arch: Architecture, x: Tensor) -> Model:
    """A model of a wider architecture that starts where `old` is, its new channels fitted to crops x.

    `arch` has as many new trunk channels at 1/16 as latent channels; inner widths may also be smaller than before.
    """
    before, after = (old.arch.latent_channels, old.arch.trunk16), (arch.latent_channels, arch.trunk16)
    if after[0] - before[0] != after[1] - before[1] or after[1] <= before[1]:
        raise ValueError(
            f"expected as many new trunk channels as latent channels, got latent channels {before[0]} -> {after[0]} "
            f"and trunk16 {before[1]} -> {after[1]}; give both"
        )
    new = Model(arch)
    with torch.no_grad():
        copy_into(old, new)
    fit(old, new, x)
    return new


def main(argv: list[str] | None = None) -> int:
    """Entry point: 0 done, 1 bad input, 2 the command line alone is wrong."""
    p = argparse.ArgumentParser(prog="python -m basic.training.widen", description=(__doc__ or "").splitlines()[0])
    p.add_argument("checkpoint")
    p.add_argument("-o", "--output", required=True)
    p.add_argument("--data", required=True, help="folder of photographs to fit the new channels to")
    for size in SIZES:
        default = getattr(Architecture, size)
        p.add_argument(f"--{size.replace('_', '-')}", type=int, default=default, help="of the new model (%(default)s)")
    p.add_argument("--num-crops", type=int, default=48)
    p.add_argument("--crop-size", type=int, default=256, help="multiple of 64")
    args = p.parse_args(argv)
    if args.crop_size < 64 or args.crop_size % 64:
        p.error(f"--crop-size: expected a multiple of 64, got {args.crop_size}")
    for name in ("num_crops", *SIZES):
        if getattr(args, name) < 1:
            p.error(f"--{name.replace('_', '-')}: expected a positive number, got {getattr(args, name)}")
    if args.latent_channels % 16:
        p.error(f"--latent-channels: expected a multiple of 16, got {args.latent_channels}")
    try:
        checkpoint = load_checkpoint(args.checkpoint)
        torch.manual_seed(0)
        x = Photographs(args.data, args.crop_size, limit=args.num_crops).center_crops(args.num_crops, args.crop_size)
        sizes = {size: getattr(args, size) for size in SIZES}
        model = widen(checkpoint.model, replace(checkpoint.model.arch, **sizes), x)
        record = checkpoint.training | {"widened_from": checkpoint.model.arch.latent_channels}
        save_checkpoint(Path(args.output), model, record)
    except (ValueError, OSError) as error:
        print(f"basic.training.widen: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"checkpoint": args.output, "latent_channels": args.latent_channels}))
    return 0


if __name__ == "__main__":
    sys.exit(run_main("basic.training.widen", main))
