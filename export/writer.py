"""Writes a bundle: into a temporary folder beside its place, then renamed, so that no half bundle is ever found."""

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import MANIFEST

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # files repeat byte for byte


def save_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz with sorted names and fixed dates."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.save(member, np.asarray(arrays[name], order="C"), allow_pickle=False)
            archive.writestr(_info(f"{name}.npy"), member.getvalue())
    return stream.getvalue()


class BundleWriter:
    """Collects files; `finish` puts the bundle in place. Leaving the `with` without it leaves nothing behind."""

    def __init__(self, target: str | Path) -> None:
        self.target = Path(target)
        self.as_zip = self.target.suffix in (".zip", ".bundle")
        self.files: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        if self.target.is_file() and not self.as_zip:
            raise ValueError(
                f"{self.target}: a file is in the way; a bundle is a folder, or a file ending in .bundle or .zip"
            )
        if self.target.exists() and not (self.target.is_file() or self.target.is_dir()):
            raise ValueError(f"{self.target}: expected the name of a file or folder, this is a device")
        if (
            self.target.exists()
            and self.target.is_dir()
            and not (self.target / MANIFEST).exists()
            and any(self.target.iterdir())
        ):
            raise ValueError(f"{self.target}: a folder that is not a bundle is in the way; choose another output")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f".{self.target.name}.", dir=self.target.parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, file: str, data: bytes) -> str:
        """Write one file; returns its sha256."""
        path = self.folder / "bundle" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        self.files[file] = {"sha256": digest, "num_bytes": len(data)}
        return digest

    def finish(self, manifest: dict[str, Any]) -> int:
        """Write the manifest and move everything into place; returns the size in bytes."""
        text = json.dumps(manifest | {"files": dict(sorted(self.files.items()))}, indent=1) + "\n"
        (self.folder / "bundle").mkdir(exist_ok=True)
        (self.folder / "bundle" / MANIFEST).write_text(text)
        made = self.folder / "bundle"
        if self.as_zip:
            made = self._zip()
        if self.target.is_dir():
            old = self.folder / "old"
            os.replace(self.target, old)
        made.chmod(0o755 if made.is_dir() else 0o644)
        os.replace(made, self.target)
        if self.as_zip:
            return self.target.stat().st_size
        return sum(path.stat().st_size for path in self.target.rglob("*") if path.is_file())

    def _zip(self) -> Path:
        made = self.folder / "bundle.zip"
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in [MANIFEST, *sorted(self.files)]:
                archive.writestr(_info(file), (self.folder / "bundle" / file).read_bytes())
        return made


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, ZIP_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
