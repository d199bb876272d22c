"""Checkpoints: one safetensors file with the weights and, in its metadata, the JSON config; never pickle.

What a newcomer gets wrong: a checkpoint (weights, float16, what users get) is not a training state (float32 weights,
their moving average and the optimizer, what a run resumes from). Both are written to a temporary name, then renamed.
"""

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..runtime.files import whole_file
from .model import Model
from .nodes import Architecture

FORMAT_VERSION = 1
SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints" / "basic-s.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Weights as a model in evaluation mode, and what is known of their training (steps, data, metric, ...)."""

    model: Model
    training: dict[str, Any] = field(default_factory=dict)


def save_tensors(path: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write atomically: whoever opens `path` finds the old file or the new one, whole."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected the name of a file, this is a folder or device")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:  # save_file would let nobody but the owner read it
        file.write(save({k: v.contiguous() for k, v in tensors.items()}, {"config": json.dumps(config)}))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and config of a file that says it is a `kind` (basic-checkpoint or basic-training-state)."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: expected a {kind} file (.safetensors), found no file{_cure(kind)}")
    if zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected a {kind} file (.safetensors), this is a bundle or another zip{_cure(kind)}")
    try:
        with safe_open(path, "pt") as opened:
            config = json.loads((opened.metadata() or {}).get("config", "{}"))
            if not isinstance(config, dict):
                raise ValueError(f"{path}: expected a {kind} file, its config is no JSON object")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path}: expected a {kind} file, but it is damaged or of another kind: {error}{_cure(kind)}"
        ) from error
    found = (config.get("format"), config.get("format_version"))
    if found != (kind, FORMAT_VERSION):
        raise ValueError(
            f"{path}: expected format {kind} version {FORMAT_VERSION}, found {found[0]} version {found[1]}{_cure(kind)}"
        )
    return tensors, config


def _cure(kind: str) -> str:
    return {
        "basic-checkpoint": "; take checkpoint.safetensors of a run's folder, or the shipped one",
        "basic-training-state": "; begin another run from its checkpoint (--init, another --output)",
    }.get(kind, "")


def save_checkpoint(path: str | Path, model: Model, training: dict[str, Any]) -> None:
    """Write the model's weights as float16 with its architecture and training record."""
    weights = {name: tensor.detach().half() for name, tensor in model.state_dict().items()}
    bad = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if bad:
        raise ValueError(f"{path}: weights not finite in float16: {', '.join(bad)}; the run has diverged, lower --lr")
    config = {"format": "basic-checkpoint", "format_version": FORMAT_VERSION}
    save_tensors(Path(path), weights, config | {"architecture": asdict(model.arch), "training": training})


def load_checkpoint(path: str | Path = SHIPPED) -> Checkpoint:
    """Read a checkpoint as a float32 model in evaluation mode. Raises ValueError on anything else."""
    weights, config = load_tensors(path, "basic-checkpoint")
    try:
        model = Model(Architecture.of(config["architecture"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path}: expected a basic-checkpoint of an architecture that this release knows: {error!r}; "
            "train it again, or install the release that made it"
        ) from error
    load_weights(model, weights, path)
    return Checkpoint(model.eval(), config.get("training", {}))


def load_weights(model: Model, weights: dict[str, Tensor], path: str | Path) -> None:
    """Fill a model's weights; a name or shape that does not fit is an error that names it."""
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(weights)) or [n for n in own if own[n].shape != weights[n].shape]
    if wrong:
        raise ValueError(f"{path}: weights do not fit {model.arch.name}: {', '.join(wrong[:4])}, {len(wrong)} in all")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
