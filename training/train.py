"""`basic-train`: photographs -> one slimmable checkpoint. Exact resume, warm restart, a clean stop on SIGTERM.

What a newcomer gets wrong: everything random in a step (crops, widths, plan, qualities, noise) is a function of the
seed and the step's number, so a resumed run is the run that was never stopped, bit for bit on the same machine.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from .checkpoint import FORMAT_VERSION, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from .data import Photographs
from .draw import Mix, draw, draw_level
from .exact import fine_tune_entropy, rounded_weights
from .loss import bits_per_pixel, mean_squared_error, rate_distortion_loss, warmup_stable_decay
from .memory import keep_freed_memory, keep_kernels
from .metrics import evaluate_levels, psnr_db
from .model import Model
from .nodes import Architecture
from .optimizer import MuonAdam
from .report import Progress
from .structure.levels import LevelEntry, load_learned, load_table

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

STATE, LOCK = "state.safetensors", ".lock"
GRAPHICS_SHARE = 0.04
EMA_DECAY = 0.998
EMA_EVERY, EMA_FROM = 4, 100  # the average is a pass over all weights: every fourth step is enough after the first ones
CLIP_NORM = 1.0
MODEL_BYTES, STEP_BYTES_PER_PIXEL = 1 << 28, 1 << 11  # what weights, optimizer and a step take, generously
MS_SSIM_CROP = 192  # five scales with windows of 11 need more than 160 pixels


@dataclass(frozen=True)
class Settings:
    """What a run is made of; a resumed run keeps its own, save for the horizon (steps, decay), the learning rate and
    which of its photographs it leaves out."""

    data: str
    steps: int
    decay_steps: int
    warmup_steps: int = 200
    full_share: float = Mix.full  # probability of the full model, per draw
    matched_share: float = Mix.matched  # probability that one draw is for all parts of a step
    graphics_share: float = GRAPHICS_SHARE  # probability that a crop is drawn and no photograph
    full_steps: int = 0  # so many steps of the full model alone come first
    batch_size: int = 8
    crop_size: int = 256
    lr: float = 4e-4
    adam_lr: float = 4e-4
    metric: str = "mse"
    exact: bool = False  # fine-tune the entropy part for its integer networks
    table: str | None = None  # fine-tune for this level table: draw its levels alone
    seed: int = 0
    skip: str | None = None  # files of `data` that are left out


PATHS = ("data", "table")
SHARES = ("full_share", "matched_share")
BEFORE = {"matched_share": 0.0, "graphics_share": 0.0}  # what older runs did, which say nothing of these
NO_SHARES = "leave out --full-share and --matched-share"
OPTIONS: dict[str, Any] = {
    "valid": None,
    "valid_every": 1000,
    "num_valid": 16,
    "save_every": 500,
    "log_every": 50,
    "precision": "bf16-mixed",
    "compile": "auto",
    "threads": None,
}
"""How a run is watched and computed, with what is taken where nothing is said: a resumed run keeps these too, but any
of them may be given anew."""


@torch.no_grad()
def _clip(model: nn.Module) -> None:
    """Scale the gradients down to a norm of CLIP_NORM; smaller ones are left alone, which saves a pass over them."""
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(grads)
    if not norm <= CLIP_NORM:
        torch._foreach_mul_(grads, CLIP_NORM / (norm + 1e-6))


class Trainer:
    """Model, moving average, optimizer and step number: everything that a state file holds."""

    def __init__(
        self,
        settings: Settings,
        model: Model,
        levels: Sequence[LevelEntry] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """`levels` are those of `settings.table`, where it names one; `options` go into the state."""
        self.settings, self.options = settings, dict(options or {})
        self.model = model
        self.average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self.optimizer = MuonAdam(model.named_parameters(), settings.lr, settings.adam_lr)
        self.levels = levels
        self.learned = load_learned(model.arch)
        self.step = 0

    def train_step(self, run: nn.Module, x: Tensor, fabric: Any, graphics: Tensor | None = None) -> dict[str, float]:
        """One update on crops x (B, 3, S, S), of which `graphics` (B,) are drawings; `run` is the model as Fabric
        wrapped it. Returns the step's numbers."""
        s = self.settings
        if self.levels and self.step >= s.full_steps:
            step = draw_level(self.model.arch, self.levels, s.seed, self.step, len(x))
        else:
            mix = Mix.warm() if self.step < s.full_steps else Mix.of(s.full_share, s.matched_share)
            step = draw(self.model.arch, mix, s.seed, self.step, len(x), self.learned)
        quality = step.quality.to(x.device)
        torch.manual_seed(((s.seed + (fabric.global_rank << 10)) << 32) + self.step)
        self.optimizer.zero_grad()
        with rounded_weights(self.model) if s.exact else nullcontext():
            output = run(x, quality, step.widths, step.plan)
            mse = mean_squared_error(output, x)
            loss = rate_distortion_loss(self.model.arch, output, x, quality, s.metric, mse, graphics)
            fabric.backward(loss)
        _clip(self.model)
        self.optimizer.set_scale(warmup_stable_decay(self.step, s.steps, s.warmup_steps, s.decay_steps))
        self.optimizer.step()
        self.step += 1
        if self.step % EMA_EVERY == 0 or self.step < EMA_FROM:
            self._follow()
        return {
            "loss": float(loss.detach()),
            "bpp": float(bits_per_pixel(output).detach().mean()),
            "psnr_db": float(psnr_db(mse.detach()).mean()),
        }

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights; it starts as their running mean."""
        decay = EMA_DECAY if self.step < EMA_FROM else EMA_DECAY**EMA_EVERY
        rate = 1.0 - min(decay, self.step / (self.step + 10.0))
        now = self.model.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [now[name] for name in self.average], rate)

    def averaged(self) -> Model:
        """A copy of the model with the averaged weights, in evaluation mode."""
        model = Model(self.model.arch)
        model.load_state_dict(self.average)
        return model.to(next(self.model.parameters()).device).eval()

    def save(self, folder: Path, training: dict[str, Any]) -> None:
        """Write state.safetensors (resume) and checkpoint.safetensors (averaged weights, float16)."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        for parameter, state in self.optimizer.state.items():
            tensors |= {f"{key}.{names[id(parameter)]}": tensor for key, tensor in state.items()}
        config = {
            "format": "basic-training-state",
            "format_version": FORMAT_VERSION,
            "step": self.step,
            "optimizer_steps": self.optimizer.num_steps,
            "settings": asdict(self.settings),
            "options": self.options,
            "architecture": asdict(self.model.arch),
            "training": training,
        }
        save_tensors(folder / STATE, tensors, config)
        save_checkpoint(folder / "checkpoint.safetensors", self.averaged(), training)

    @torch.no_grad()
    def load(self, path: Path) -> dict[str, Any]:
        """Continue from a state file; returns the training record so far."""
        tensors, config = load_tensors(path, "basic-training-state")
        if Architecture.of(config["architecture"]) != self.model.arch:
            raise ValueError(f"{path}: state of another architecture, {config['architecture']['name']}")
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        for name, tensor in self.model.state_dict().items():
            tensor.copy_(tensors[f"model.{name}"])
            self.average[name].copy_(tensors[f"average.{name}"])
        for parameter, state in self.optimizer.state.items():
            for key, tensor in state.items():
                tensor.copy_(tensors[f"{key}.{names[id(parameter)]}"])
        self.step, self.optimizer.num_steps = config["step"], config["optimizer_steps"]
        return dict(config["training"])


class StopRequest:
    """Turns SIGTERM and SIGINT into a flag that the loop reads between steps."""

    def __init__(self) -> None:
        self.asked = False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def make_fabric(devices: int, precision: Any) -> Any:
    """Lightning Fabric on the best accelerator here; several devices train data-parallel."""
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    # A drawn step skips layers, so some parameters get no gradient.
    strategy = DDPStrategy(find_unused_parameters=True) if devices > 1 else "auto"
    fabric = Fabric(accelerator="auto", devices=devices, precision=precision, strategy=strategy)
    fabric.launch()
    return fabric


def compile_blocks(model: Model) -> None:
    """torch.compile for the residual blocks.

    Depthwise convolutions tie a compilation to its widths: the full model and the first few draws run compiled, what
    comes beyond torch's limit of recompilations runs as it is.
    """
    for transform in (model.g_a, model.g_s):
        for block in [*transform.blocks8, *transform.blocks16]:
            block.compile(dynamic=True)


def train(args: argparse.Namespace) -> int:
    """Run the loop until the last step or a stop; always leaves a state and a checkpoint behind."""
    folder = Path(args.output)
    _check_folder(folder)
    state = folder / STATE
    saved = load_tensors(state, "basic-training-state")[1] if state.exists() else None
    settings, options = _settings(args, state, saved), _options(args, saved)
    if saved and args.init:
        raise ValueError(f"{state}: a run to resume is here already; leave --init out, or choose another --output")
    if saved and saved["step"] > settings.steps:
        print(
            f"step {saved['step']} is beyond {settings.steps}: nothing to do; a larger --steps goes on", file=sys.stderr
        )
        print(json.dumps({"checkpoint": str(folder / "checkpoint.safetensors"), "step": saved["step"]}))
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
    valid = _held_out(options, settings)
    photographs = Photographs(settings.data, settings.crop_size, skip=settings.skip)
    keep_kernels()
    keep_freed_memory(MODEL_BYTES + settings.batch_size * settings.crop_size**2 * STEP_BYTES_PER_PIXEL)
    torch.manual_seed(settings.seed)
    model = _model(args, state, saved)
    if settings.exact:
        fine_tune_entropy(model)
    levels = load_table(settings.table, model.arch) if settings.table else []
    fabric = make_fabric(args.devices, options.precision)  # speaks of itself: what can be refused has been by now
    model = model.to(fabric.device)
    trainer = Trainer(settings, model, levels, vars(options))
    record = trainer.load(state) if saved else _first_record(args)
    if options.compile == "on" or (options.compile == "auto" and fabric.device.type == "cuda"):
        compile_blocks(model)
    run = fabric.setup_module(model)
    run.train()
    lock = _only_here(folder) if fabric.global_rank == 0 else None
    stop, progress = StopRequest(), Progress(folder, settings.steps, options.log_every, fabric.global_rank == 0)
    # A checkpoint carries no path of this machine.
    shown = asdict(settings) | {"data": Path(settings.data).name, "table": settings.table and Path(settings.table).name}
    started, seconds_before = time.monotonic(), record.get("seconds", 0)
    seed = settings.seed + (fabric.global_rank << 20)
    validated = trainer.step

    def validate() -> int:
        if valid is not None and fabric.global_rank == 0:
            with progress.aside():
                progress.validation(trainer.step, evaluate_levels(trainer.averaged(), valid.to(fabric.device)))
        return trainer.step

    while trainer.step < settings.steps and not _agreed(stop, fabric):
        crops = photographs.batch(seed, trainer.step, settings.batch_size, graphics_share=settings.graphics_share)
        x, drawn = (each.to(fabric.device) for each in crops)
        progress.step(trainer.step, trainer.train_step(run, x, fabric, drawn if drawn.any() else None))
        record |= {
            "steps": record["steps_before"] + trainer.step,
            "seconds": seconds_before + round(time.monotonic() - started),
        }
        if fabric.global_rank == 0 and trainer.step % options.save_every == 0:
            with progress.aside():
                trainer.save(folder, record | {"settings": shown})
        if trainer.step % options.valid_every == 0:
            validated = validate()
    if fabric.global_rank == 0:
        trainer.save(folder, record | {"settings": shown})
    if trainer.step == settings.steps > validated:  # a run that is stopped ends at once
        validate()
    progress.close()
    if lock is not None:
        lock.close()
        print(_last_words(trainer.step, settings.steps, folder), file=sys.stderr)
        print(json.dumps({"checkpoint": str(folder / "checkpoint.safetensors"), "step": trainer.step}))
    return 0


def _last_words(step: int, num_steps: int, folder: Path) -> str:
    if step < num_steps:
        return f"stopped after step {step} of {num_steps}; the same command, or --output {folder} alone, goes on"
    return f"step {step} of {num_steps} done; a larger --steps goes on"


def _agreed(stop: StopRequest, fabric: Any) -> bool:
    """Whether to stop: with several devices all leave at the same step, that of the first rank's wish."""
    return bool(fabric.broadcast(stop.asked)) if fabric.world_size > 1 else stop.asked


def _only_here(folder: Path) -> BinaryIO:
    """A lock on the run's folder, until it is closed or the process ends. Raises ValueError where another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    held = (folder / LOCK).open("wb")
    if fcntl is not None:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held.close()
            raise ValueError(
                f"--output {folder}: another basic-train is at work there; wait for it, or choose another --output"
            ) from error
    return held


def _check_folder(folder: Path) -> None:
    """Raise ValueError where a file stands in the folder's place or above it."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.exists() and not there.is_dir():
        raise ValueError(f"--output {folder}: expected a folder, but {there} is a file; choose another --output")


def _options(args: argparse.Namespace, saved: dict[str, Any] | None) -> argparse.Namespace:
    """OPTIONS as given, else those of the run to resume, else the defaults."""
    before = OPTIONS | (saved or {}).get("options", {})
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    return argparse.Namespace(**(before | given))


def _held_out(options: argparse.Namespace, settings: Settings) -> Tensor | None:
    """Crops of the photographs of --valid. Raises ValueError where the run trains on them."""
    if options.valid is None:
        return None
    if Path(options.valid).is_relative_to(settings.data):
        raise ValueError(
            f"--valid {options.valid}: expected photographs that are held out, but --data {settings.data} holds these "
            "too; move them out of it"
        )
    found = Photographs(options.valid, settings.crop_size, limit=options.num_valid)
    return found.center_crops(options.num_valid, settings.crop_size)


def _settings(args: argparse.Namespace, state: Path, config: dict[str, Any] | None) -> Settings:
    """From the arguments, or from the config of the state to resume with the arguments that were given on top."""
    given = {name: getattr(args, name) for name in Settings.__dataclass_fields__ if getattr(args, name) is not None}
    if config is not None:
        saved = BEFORE | config["settings"]
        saved |= {name: str(Path(saved[name]).resolve()) for name in PATHS if saved.get(name)}
        if not Path(saved["data"]).exists():
            if "data" not in given:
                raise ValueError(f"{state}: no photographs at {saved['data']} any more; give --data where they are now")
            saved["data"] = given["data"]
        fixed = [
            f"--{name} {given[name]} (begun {'without' if saved.get(name) is None else f'with {saved[name]}'})"
            for name in ("data", "exact", "metric", "seed", "table")
            if given.get(name, saved.get(name)) != saved.get(name)
        ]
        if fixed:
            raise ValueError(
                f"{state}: the run to resume cannot change {', '.join(fixed)}; leave out what it was begun with, "
                "or choose another --output"
            )
        if saved.get("table") and any(name in given for name in SHARES):
            raise ValueError(f"{state}: its run draws the levels of a table alone; {NO_SHARES}")
        settings = Settings(**(saved | given))
        if "decay_steps" in given and settings.decay_steps > settings.steps:
            raise ValueError(longer_decay(settings.decay_steps, settings.steps))
        return settings
    given.setdefault("decay_steps", given["steps"] // 5)
    return Settings(**given)


def _model(args: argparse.Namespace, state: Path, saved: dict[str, Any] | None) -> Model:
    """The model to train: that of the run to resume (`saved`), of the checkpoint to start from, or a new one."""
    if saved:
        model = Model(Architecture.of(saved["architecture"]))
        found = [model.arch.lambda_min, model.arch.lambda_max]
        if args.lambda_range not in (None, found):
            raise ValueError(
                f"{state}: the run to resume cannot change --lambda-range (begun with {found[0]:g} {found[1]:g}); "
                "leave it out, or begin another run from its checkpoint (--init, another --output)"
            )
        return model
    model = load_checkpoint(args.init).model.train() if args.init else Model()
    if args.lambda_range:
        model.set_lambda_range(*args.lambda_range)
    return model


def longer_decay(decay_steps: int, num_steps: int) -> str:
    return (
        f"--decay-steps: expected at most the {num_steps} steps of the run, got {decay_steps}; "
        "give a shorter decay, or more --steps"
    )


def _first_record(args: argparse.Namespace) -> dict[str, Any]:
    before = load_checkpoint(args.init).training.get("steps", 0) if args.init else 0
    return {"steps_before": before, "init": Path(args.init).name if args.init else None}
