"""Time CompressAI's mbt2018-mean; run by another interpreter, so it imports nothing of this project.

What a newcomer gets wrong: without trained weights rates and images mean nothing, but every layer runs at its full
cost. Random latents are nearly all zero, the cheapest input for the coder: real weights are slower, not faster.

    python compressai_peer.py IMAGE --threads 1 --warmup 2

says on stdout what it is; then, for every line on stdin, runs once and says how long that took.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import sys
import time
from types import ModuleType
from typing import Any

UNUSED = (
    "torchvision", "torch_geometric", "pyntcloud", "plyfile", "pointops", "h5py", "pandas", "tqdm", "einops",
    "requests",
)  # fmt: skip
"""What CompressAI imports at its top and its image codecs never call."""


class _Standin(ModuleType):
    """A package that has every attribute: a class that can be called, inherited from and used as a decorator."""

    __path__: list[str] = []  # noqa: RUF012  (a module attribute that the import system reads)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda *_, **__: None, "__call__": lambda _, decorated: decorated})


class _StandinFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the unused packages that are not installed; asked last, so a real package wins."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        if fullname.split(".")[0] in UNUSED:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Standin(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("image")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=2)
    args = parser.parse_args()
    sys.meta_path.append(_StandinFinder())
    import numpy as np
    import torch
    from compressai.zoo import mbt2018_mean
    from PIL import Image

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = mbt2018_mean(quality=4, metric="mse", pretrained=False).eval()
    model.update(force=True)
    pixels = np.asarray(Image.open(args.image).convert("RGB"), np.float32) / 255
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        for _ in range(args.warmup):
            run_once(model, x)
        versions = {name: importlib.metadata.version(name) for name in ("compressai", "torch")}
        print(json.dumps({"setting": "N=128, M=192, random weights", "versions": versions}), flush=True)
        for _ in sys.stdin:
            print(json.dumps(run_once(model, x)), flush=True)


def run_once(model: Any, x: Any) -> dict[str, list[float]]:
    """Seconds of one encoding and one decoding, [wall, CPU] each."""
    start = time.perf_counter(), time.process_time()
    coded = model.compress(x)
    middle = time.perf_counter(), time.process_time()
    model.decompress(coded["strings"], coded["shape"])
    end = time.perf_counter(), time.process_time()
    return {
        "encode": [b - a for a, b in zip(start, middle, strict=True)],
        "decode": [b - a for a, b in zip(middle, end, strict=True)],
    }


if __name__ == "__main__":
    main()
