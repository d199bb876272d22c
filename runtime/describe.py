"""What `basic info` and `basic doctor` tell, as plain data; cli.py prints it."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import _ans, bitstream
from .bundle import Bundle, instead
from .codec import Codec
from .engine import EngineStatus, Int8Error, available_engines, onnxruntime_packages
from .errors import BasicError, BitstreamError
from .files import STANDARD, read_bytes

Row = dict[str, Any]


def describe(path: Path) -> Row:
    """A bitstream (STANDARD: from standard input) or a bundle.

    Raises:
        BitstreamError, BundleError: it is neither, or damaged.
    """
    if path is STANDARD:
        return describe_bitstream(path)
    if not path.exists():
        raise BitstreamError(f"{path}: no such file or folder")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(bitstream.MAGIC)) == bitstream.MAGIC:
                return describe_bitstream(path)
            file.seek(0)
            if file.read(2) != b"PK":
                raise BitstreamError(f"{path}: neither a BASIC bitstream nor a bundle: {instead(path)}")
    return describe_bundle(Bundle.open(path))


def describe_bitstream(path: Path) -> Row:
    """Header and sizes; every checksum is verified, nothing is decoded."""
    data = read_bytes(path)
    try:
        header = bitstream.read_header(data)
        stream = bitstream.read(data, max_pixels=header.width * header.height)
    except BitstreamError as error:
        raise BitstreamError(f"{'standard input' if path is STANDARD else path}: {error}") from error
    return {
        "kind": "bitstream",
        "file": str(path),
        "version": bitstream.VERSION,
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "level": header.level,
        "quality": header.quality,
        "entropy_id": header.entropy_id.hex(),
        "tile_size": header.tile_size,
        "num_tiles": header.num_tiles,
        "num_bytes": len(data),
        "num_bytes_alpha": len(stream.alpha or b""),
        "num_bytes_icc": len(stream.icc or b""),
        "bpp": 8 * len(data) / (header.width * header.height),
    }


def decodes(bundle: Bundle, row: Row) -> Row:
    """What `describe_bitstream` told, and whether this bundle decodes the file: `bundle`, `decodable`, `damage`, in
    words, where it does not. Every file of the entropy path and of the synthesis of its level is read and checked."""
    level, damage = bundle.level_by_entropy_id(bytes.fromhex(row["entropy_id"])), []
    if level is None:
        here = ", ".join(entry.entropy_id.hex() for entry in bundle.levels.values())
        damage = [
            f"{row['file']} needs entropy path {row['entropy_id']}, {bundle.path} has {here}; take the bundle that it "
            "was encoded with: the packaged one where none was named"
        ]
    else:
        try:
            bundle.entropy_arrays(level.level)
            bundle.read(level.parts["synthesis"].file)
            bundle.inverse_gain(row["quality"])
        except BasicError as error:
            damage = [str(error)]
    return row | {"bundle": str(bundle.path), "decodable": not damage, "damage": damage}


def describe_bundle(bundle: Bundle) -> Row:
    """The level table; every file is read, `damage` says which are not as the manifest has them."""
    return {
        "kind": "bundle",
        "file": str(bundle.path),
        "architecture": bundle.manifest.get("architecture"),
        "name": bundle.manifest.get("name"),
        "format_version": bundle.manifest.get("format_version"),
        "num_levels": bundle.num_levels,
        "receptive_field": bundle.receptive_field,
        "levels": [
            {
                "level": level.level,
                "num_groups": len(level.plan),
                "entropy_id": level.entropy_id.hex(),
                "kmacs_per_pixel": level.kmacs_per_pixel,
                "num_parameters": sum(part.num_parameters for part in level.parts.values()),
                "parts": {
                    name: {"kmacs_per_pixel": part.kmacs_per_pixel, "num_parameters": part.num_parameters}
                    for name, part in level.parts.items()
                },
            }
            for level in bundle.levels.values()
        ],
        "damage": bundle.damage(),
    }


def doctor(path: Path | None) -> list[Row]:
    """Checks of this machine and a bundle: rows of `check`, `ok` and `detail`; `ok` None is for information."""
    packages = onnxruntime_packages()
    rows = [
        _row("system", None, f"{platform.platform()}, {os.cpu_count()} processors"),
        _row("python", None, f"{sys.version.split()[0]}, numpy {np.__version__}, pillow {metadata.version('pillow')}"),
        _coder(),
    ]
    if len(packages) > 1:
        both = " and ".join(f"{name} {version}" for name, version in packages.items())
        cure = f"they overwrite each other's files: pip uninstall {' '.join(packages)}, then install one"
        rows.append(_row("onnxruntime", False, f"{both} are installed; {cure}"))
    engines = available_engines()
    for engine in engines:
        ok = None if engine.optional and not engine.available else engine.available
        rows.append(_row(f"engine {engine.name}", ok, f"{engine.title}: {engine.detail}"))
    try:
        bundle = Bundle.open(path)
        rows.append(_row("bundle", True, f"{bundle.path}: levels {', '.join(map(str, bundle.levels))}"))
    except BasicError as error:
        return [*rows, _row("bundle", False, str(error))]
    return rows + [_try(bundle, engine) for engine in engines if engine.available]


def _try(bundle: Bundle, engine: EngineStatus) -> Row:
    """The conformance vectors of every level, then a small image there and back; a level that is for other engines is
    no fault."""
    check = f"exact with {engine.name}"
    image = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    refused: list[Int8Error] = []
    try:
        with Codec.open(bundle, engine.name, num_threads=1, verify=True) as codec:
            for level in bundle.levels:
                try:
                    codec.decode(codec.encode(image, level=level))
                except Int8Error as error:
                    refused.append(error)
    except BasicError as error:
        return _row(check, False, str(error))
    told = "the entropy path of every level equals the conformance vectors; files encode and decode"
    if refused:
        count = f"at {len(bundle.levels) - len(refused)} levels of {len(bundle.levels)}"
        return _row(check, None, f"{told} {count}: {refused[0]}")
    return _row(check, True, told)


def _coder() -> Row:
    try:
        return _row("coder", None, f"instructions: {_ans.simd()}")
    except ValueError as error:  # BASIC_SIMD asks for what is not here
        return _row("coder", False, str(error))


def _row(check: str, ok: bool | None, detail: str) -> Row:
    return {"check": check, "ok": ok, "detail": detail}
