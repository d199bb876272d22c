"""Activation ranges of a checkpoint's levels, kept beside it, so that every export of it gives the same entropy paths.

What a newcomer gets wrong: the integers of an entropy path depend on the photographs that ranges were measured on. Two
bundles of one checkpoint decode each other's files only where both took the same ranges.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import read_arrays
from ..runtime.files import replacing
from ..training.structure.levels import LevelEntry
from .int8 import Range, Ranges
from .writer import save_arrays

Floats = NDArray[np.float64]
SUFFIX = ".calibration.npz"
_CHECKPOINT, _VERSION, _IN_FLOAT = "checkpoint", "version", "in_float"
FORMAT_VERSION = 2  # files without one have no decisions, and ranges of transforms that were narrowed already


@dataclass(frozen=True)
class LevelRanges:
    """Of one level: the largest value of each channel of the entropy part's activations, by layer; the ranges of
    convolutions of the transforms that are in int8, by part and layer: none where a part is better in float."""

    entropy: dict[str, Floats]
    transforms: dict[str, Ranges]


@dataclass
class Calibration:
    """Ranges by level, of the checkpoint whose file has this sha256; `path` is where they were found."""

    checkpoint: str
    levels: dict[str, LevelRanges] = field(default_factory=dict)
    path: Path | None = None
    others: Path | None = None  # a file in its place that is of other weights

    @classmethod
    def empty(cls, checkpoint: str | Path) -> "Calibration":
        """Nothing yet, of the weights in this file."""
        return cls(_sha256(checkpoint))

    @classmethod
    def beside(cls, checkpoint: str | Path) -> "Calibration":
        """What is kept beside a checkpoint, empty where nothing is or where it was measured with other weights.

        Raises:
            ValueError: the file is damaged.
        """
        empty, path = cls.empty(checkpoint), calibration_path(checkpoint)
        if not path.is_file():
            return empty
        try:
            arrays = read_arrays(path.read_bytes())
            of, version = bytes(arrays.pop(_CHECKPOINT)).hex(), int(arrays.pop(_VERSION, np.array(1)))
            found = cls(of, _levels(arrays), path)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: no calibration that can be read ({error}); remove it, or give --images"
            ) from error
        if version > FORMAT_VERSION:
            raise ValueError(
                f"{path}: expected a calibration of version {FORMAT_VERSION} at most, this is {version}; update "
                "basic-nic, or give --images"
            )
        if version < FORMAT_VERSION:
            found.levels = {key: LevelRanges(level.entropy, {}) for key, level in found.levels.items()}
        return found if of == empty.checkpoint else cls(empty.checkpoint, others=path)

    def of(self, entry: LevelEntry) -> LevelRanges | None:
        """Of a level with these widths and this plan."""
        return self.levels.get(_key(entry))

    def put(self, entry: LevelEntry, ranges: LevelRanges) -> None:
        """Keep the ranges of a level."""
        self.levels[_key(entry)] = ranges

    def replaces(self, checkpoint: str | Path) -> int:
        """For how many levels that are kept beside the checkpoint the entropy part's ranges are others here."""
        there = kept_beside(checkpoint).levels
        both = self.levels.keys() & there.keys()
        return sum(not _equal(self.levels[key].entropy, there[key].entropy) for key in both)

    def save(self, checkpoint: str | Path) -> Path:
        """Write it beside the checkpoint, whole or not at all; levels and parts that it lacks stay as they were."""
        there = kept_beside(checkpoint).levels
        arrays: dict[str, NDArray[Any]] = {
            _CHECKPOINT: np.frombuffer(bytes.fromhex(self.checkpoint), np.uint8),
            _VERSION: np.array(FORMAT_VERSION),
        }
        own = {
            key: LevelRanges(level.entropy, (there[key].transforms if key in there else {}) | level.transforms)
            for key, level in self.levels.items()
        }
        for key, level in (there | own).items():
            arrays |= {f"{key}/entropy/{name}": values for name, values in level.entropy.items()}
            for part, layers in level.transforms.items():
                if not layers:
                    arrays[f"{key}/{part}/{_IN_FLOAT}"] = np.array(1)
                for layer, ends in layers.items():
                    arrays[f"{key}/{part}/{layer}"] = np.concatenate([x for end in ends for x in (end.low, end.high)])
                    arrays[f"{key}/{part}/{layer}/size"] = np.array(len(ends[0].low))
        path = calibration_path(checkpoint)
        with replacing(path) as file:
            file.write(save_arrays(arrays))
        return path


def calibration_path(checkpoint: str | Path) -> Path:
    """basic-s.safetensors -> basic-s.calibration.npz."""
    return Path(checkpoint).with_suffix(SUFFIX)


def _levels(arrays: Mapping[str, NDArray[Any]]) -> dict[str, LevelRanges]:
    found: dict[str, LevelRanges] = {}
    for name, values in arrays.items():
        key, part, layer = name.split("/", 2)
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise ValueError(f"{name}: expected numbers")
        level = found.setdefault(key, LevelRanges({}, {}))
        if part == "entropy":
            level.entropy[layer] = values
        elif layer == _IN_FLOAT:
            level.transforms[part] = {}
        elif not layer.endswith("/size"):
            size = int(arrays[f"{name}/size"])
            a, b, c, d = np.split(values, [size, 2 * size, size + len(values) // 2])
            level.transforms[part] = dict(level.transforms.get(part, {})) | {layer: (Range(a, b), Range(c, d))}
    return found


def kept_beside(checkpoint: str | Path) -> Calibration:
    """As `Calibration.beside`, for who is about to replace it: what cannot be read is as one of other weights."""
    try:
        return Calibration.beside(checkpoint)
    except ValueError:
        return replace(Calibration.empty(checkpoint), others=calibration_path(checkpoint))


def _equal(a: Mapping[str, Floats], b: Mapping[str, Floats]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _key(entry: LevelEntry) -> str:
    text = json.dumps([entry.widths, [list(group) for group in entry.plan]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
