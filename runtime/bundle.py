"""Bundles: what export writes and the runtime reads, a folder or one zip (BUNDLE.md specifies it).

What a newcomer gets wrong: a bundle is trusted no more than a bitstream. Every file is listed in the manifest with its
size and sha256 and checked when it is read; a name that leaves the bundle is refused.
"""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import whole
from .entropy_file import complete
from .errors import ArgumentError, BundleError, reason
from .groups import Plan, make_plan, plan_arrays
from .tables import TableArrays

FORMAT = "basic-bundle"
FORMAT_VERSION = 3
READS_VERSIONS = (1, 2, FORMAT_VERSION)
MANIFEST = "manifest.json"
DEFAULT_BUNDLE = Path(__file__).parent / "default.bundle"
MAX_MANIFEST_BYTES = 16 << 20
MAX_FILE_BYTES = 1 << 30
NUM_QUALITIES = 64

Array = NDArray[Any]


@dataclass(frozen=True)
class Part:
    """One ONNX file: its inputs and outputs as (name, dtype, shape), shape entries int or a symbol."""

    name: str
    file: str
    sha256: str
    kmacs_per_pixel: float
    num_parameters: int
    inputs: tuple[tuple[str, str, tuple[int | str, ...]], ...]
    outputs: tuple[tuple[str, str, tuple[int | str, ...]], ...]
    precision: str = ""  # float, int8 or exact; empty where the manifest does not say


@dataclass(frozen=True)
class Level:
    """One complexity level: its parts by name in the order in which they run, its plan and entropy path."""

    level: int
    widths: Mapping[str, int]
    plan: Plan
    parts: Mapping[str, Part]
    entropy_file: str
    entropy_id: bytes
    conformance_file: str | None
    conformance: Mapping[str, str]

    @property
    def kmacs_per_pixel(self) -> float:
        """All parts together."""
        return sum(part.kmacs_per_pixel for part in self.parts.values())


class Bundle:
    """A readable bundle. Reading is stateless per call, so a bundle may be shared between threads."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._tables: dict[int, TableArrays] = {}
        try:
            self.latent_channels = int(manifest["latent_channels"])
            self.hyper_channels = int(manifest["hyper_channels"])
            self.receptive_field: dict[str, int] = {
                k: int(manifest["receptive_field"][k]) for k in ("analysis", "synthesis")
            }
            self.levels = {level.level: level for level in map(_read_level, manifest["levels"])}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(
                f"{path}: {MANIFEST} lacks or garbles a field: {reason(error)}; export the bundle again"
            ) from error
        if not self.levels:
            raise BundleError(f"{path}: {MANIFEST} lists no level; export the bundle again")

    @classmethod
    def open(cls, path: str | Path | None = None) -> "Bundle":
        """Open a folder or a zip; None is the bundle that comes with the package. Raises BundleError."""
        if not isinstance(path, str | os.PathLike | None):
            raise ArgumentError(f"bundle: expected a path, str or Path, or a Bundle, got {type(path).__name__}")
        path = DEFAULT_BUNDLE if path is None else Path(path)
        if not path.exists():
            raise BundleError(
                f"{path}: expected a bundle (a folder or one zip), found nothing; make one with basic-export"
            )
        if not (path.is_file() or path.is_dir()):
            raise BundleError(f"{path}: expected a bundle (a folder or one zip), this is a device or pipe")
        if path.is_file() and not zipfile.is_zipfile(path):
            raise BundleError(f"{path}: expected a bundle (a folder or one zip), {instead(path)}")
        if path.is_dir() and not (path / MANIFEST).is_file():
            raise BundleError(f"{path}: expected a bundle, this folder has no {MANIFEST}; make one with basic-export")
        try:
            manifest = json.loads(_read(path, MANIFEST, MAX_MANIFEST_BYTES))
        except ValueError as error:
            raise BundleError(f"{path}: {MANIFEST} is not JSON: {error}; export the bundle again") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise BundleError(f"{path}: expected format {FORMAT!r} in {MANIFEST}; this is not a bundle")
        if manifest.get("format_version") not in READS_VERSIONS:
            raise BundleError(
                f"{path}: bundle version {manifest.get('format_version')!r}, this release reads the whole numbers 1 to "
                f"{FORMAT_VERSION}; "
                "export the checkpoint again or install the matching release"
            )
        return cls(path, manifest)

    @property
    def num_levels(self) -> int:
        """Number of levels of the whole table; `levels` may hold a subset of 0..num_levels-1 (--only)."""
        return int(self.manifest.get("num_levels", len(self.levels)))

    def level(self, number: int) -> Level:
        """The level, or a BundleError that names those that are here."""
        if number not in self.levels:
            raise BundleError(f"{self.path}: level {number!r} is not in this bundle; it has {sorted(self.levels)}")
        return self.levels[number]

    def level_by_entropy_id(self, entropy_id: bytes) -> Level | None:
        """The level whose entropy path wrote a file, or None."""
        return next((level for level in self.levels.values() if level.entropy_id == entropy_id), None)

    def read(self, file: str) -> bytes:
        """A listed file's bytes, checked against its size and sha256."""
        try:
            entry = self.manifest["files"][file]
            expected, size = str(entry["sha256"]), int(entry["num_bytes"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{self.path}: {file} is not listed in {MANIFEST}; export the bundle again") from error
        data = _read(self.path, file, min(size, MAX_FILE_BYTES))
        if hashlib.sha256(data).hexdigest() != expected:
            raise BundleError(
                f"{self.path}: {file} has another sha256 than {MANIFEST} says; the bundle is damaged, export it again"
            )
        return data

    def damage(self) -> list[str]:
        """Every file read and checked: what is missing, altered, or at odds with the manifest; often nothing."""
        listed = self.manifest.get("files")
        needed = [part.file for level in self.levels.values() for part in level.parts.values()]
        needed += [level.conformance_file for level in self.levels.values() if level.conformance_file]
        found = []
        for file in dict.fromkeys([*needed, *(listed if isinstance(listed, dict) else ())]):
            found += _complaints(lambda file=file: self.read(file))  # type: ignore[misc]
        for level in self.levels:
            found += _complaints(lambda level=level: self.entropy_arrays(level))  # type: ignore[misc]
        found += _complaints(lambda: self.gain(0))
        return list(dict.fromkeys(found))

    def tables(self, level: int) -> TableArrays:
        """CDF tables of a level: 64 Gaussian ones, then one per channel of z. `entropy_arrays` leaves them at hand."""
        if level not in self._tables:
            self.entropy_arrays(level)
        return self._tables[level]

    def entropy_arrays(self, level: int) -> dict[str, Array]:
        """All that defines a level's entropy path: tables, plan, integer layers. Refused where its id is not theirs."""
        entry, where = self.level(level), f"{self.path}: level {level}"
        kept = load_arrays(self.read(entry.entropy_file), where)
        arrays = complete(kept, entry.plan, lambda part: self.read(entry.parts[part].file), where)
        if content_id(arrays) != entry.entropy_id:
            raise BundleError(
                f"{self.path}: {entry.entropy_file} has entropy id {content_id(arrays).hex()}, {MANIFEST} says "
                f"{entry.entropy_id.hex()}; export the bundle again"
            )
        for name, numbers in plan_arrays(entry.plan).items():
            if (found := arrays.get(name)) is None or not np.array_equal(found, numbers):
                raise BundleError(
                    f"{where}: {entry.entropy_file} has {name} of another plan than {MANIFEST}; export the bundle again"
                )
        self._tables[level] = TableArrays.from_arrays(arrays)
        return arrays

    def gain(self, quality: int) -> NDArray[np.float32]:
        """What the latent is multiplied by at a quality 0..63, (1, M, 1, 1) float32."""
        return self._quality_row("gain", quality)

    def inverse_gain(self, quality: int) -> NDArray[np.float32]:
        """What the decoded latent is multiplied by at a quality 0..63, (1, M, 1, 1) float32."""
        return self._quality_row("inverse_gain", quality)

    def _quality_row(self, name: str, quality: int) -> NDArray[np.float32]:
        number = whole("quality", quality, 0, NUM_QUALITIES - 1)
        row: NDArray[np.float32] = self._quality_table[name][number].reshape(1, -1, 1, 1)
        return row

    @cached_property
    def _quality_table(self) -> dict[str, Array]:
        try:
            file = str(self.manifest["quality"]["file"])
        except (KeyError, TypeError) as error:
            raise BundleError(f"{self.path}: {MANIFEST} names no quality table; export the bundle again") from error
        arrays = load_arrays(self.read(file), str(self.path))
        for name in ("gain", "inverse_gain"):
            shape = (NUM_QUALITIES, self.latent_channels)
            if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != np.float32:
                raise BundleError(
                    f"{self.path}: quality table: expected {name} as float32 {shape}; export the bundle again"
                )
        return arrays


def instead(path: Path) -> str:
    """What a file is that is no zip, and the cure."""
    with path.open("rb") as file:
        start = file.read(16)
    if start[:2] == b"PK":
        return "this one is cut or damaged; export it again"
    if start[8:9] == b"{":  # safetensors: the length of a JSON header, then the header
        return f"this is a checkpoint; make a bundle of it: basic-export {path} -o FILE.bundle"
    return "this file is none; make one with basic-export"


def _complaints(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except BundleError as error:
        return [str(error)]
    return []


def load_arrays(data: bytes, where: str) -> dict[str, Array]:
    """Arrays of an .npz file of a bundle, never pickled objects. Raises BundleError."""
    try:
        return read_arrays(data)
    except ValueError as error:
        raise BundleError(f"{where}: a table file is not a readable .npz: {error}; export the bundle again") from error


def read_arrays(data: bytes) -> dict[str, Array]:
    """Arrays of an .npz file, never pickled objects. Raises ValueError."""
    try:
        opened = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with opened:
            return {name: opened[name] for name in opened.files}
    except (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ValueError) and "allow_pickle" in str(error):  # numpy's advice, which nobody should follow
            raise ValueError("no arrays in it") from error
        raise ValueError(str(error) or type(error).__name__) from error


def content_id(arrays: Mapping[str, Array]) -> bytes:
    """First 8 bytes of the sha256 over names, dtypes, shapes and little-endian bytes of arrays, in order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name}:{little.dtype.str}:{array.shape};".encode())
        digest.update(little.tobytes())
    return digest.digest()[:8]


def _read(path: Path, file: str, limit: int) -> bytes:
    """One file of a folder or zip, at most `limit` bytes."""
    parts = PurePosixPath(file).parts
    if not parts or file.startswith("/") or ".." in parts or "\\" in file:
        raise BundleError(f"{path}: {file!r} would leave the bundle; refused")
    try:
        if path.is_dir():
            with (path / file).open("rb") as opened:
                data = opened.read(limit + 1)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(file) as member:
                data = member.read(limit + 1)
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise BundleError(f"{path}: cannot read {file} from this bundle: {error}") from error
    except Exception as error:  # zlib.error, and whatever else a damaged archive raises
        raise BundleError(f"{path}: {file} is damaged: {error}; export the bundle again") from error
    if len(data) > limit:
        raise BundleError(f"{path}: {file} is larger than the {limit} bytes that were promised; the bundle is damaged")
    return data


def _read_level(entry: dict[str, Any]) -> Level:
    parts = {name: _read_part(name, part) for name, part in entry["parts"].items()}
    plan = make_plan(entry["plan"])
    expected = ["analysis", "hyper", *(f"context_g{g}" for g in range(len(plan))), "synthesis"]
    if sorted(parts) != sorted(expected):
        raise ValueError(f"level {entry['level']}: expected parts {expected}, got {sorted(parts)}")
    identity = bytes.fromhex(entry["entropy"]["entropy_id"])
    if len(identity) != 8:
        raise ValueError(f"level {entry['level']}: expected an entropy id of 16 hex digits")
    ordered = {name: parts[name] for name in expected}
    vectors = entry.get("conformance", {})
    return Level(
        level=int(entry["level"]),
        widths=dict(entry["widths"]),
        plan=plan,
        parts=ordered,
        entropy_file=str(entry["entropy"]["file"]),
        entropy_id=identity,
        conformance_file=vectors.get("file"),
        conformance=dict(vectors.get("sha256", {})),
    )


def _read_part(name: str, entry: dict[str, Any]) -> Part:
    def ports(kind: str) -> tuple[tuple[str, str, tuple[int | str, ...]], ...]:
        return tuple((str(p["name"]), str(p["dtype"]), tuple(p["shape"])) for p in entry[kind])

    return Part(
        name,
        str(entry["file"]),
        str(entry["sha256"]),
        float(entry["kmacs_per_pixel"]),
        int(entry["num_parameters"]),
        ports("inputs"),
        ports("outputs"),
        str(entry.get("precision", "")),
    )
