"""Files of the command line: inputs of a folder, outputs that appear whole or not at all."""

import errno
import io
import os
import secrets
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import Image, UnidentifiedImageError

from .errors import ImageError, ImageWarning

BITSTREAM_SUFFIX = ".bsc"
STANDARD = Path("-")
"""Standard input or output, this object alone: another Path("-") is a file of that name."""
_STANDARD_NAMES = (("-", "/dev/stdin", "/dev/fd/0"), ("-", "/dev/stdout", "/dev/fd/1"))


def standard_or_path(text: str, output: bool) -> Path:
    """STANDARD for "-" and for what the system calls standard input or output; else the path."""
    if text in _STANDARD_NAMES[output]:
        return STANDARD
    return Path(text)


def read_bytes(path: Path) -> bytes:
    """A file, or standard input to its end. Raises ImageError where that is closed or empty."""
    if path is not STANDARD:
        return path.read_bytes()
    if sys.stdin is None:
        raise ImageError("standard input: closed, expected a file's bytes there")
    data = sys.stdin.buffer.read()
    if not data:
        raise ImageError("standard input: empty, expected a file's bytes there")
    return data


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its name when the block ends well, and leaves no trace when it does not: whoever
    opens `path` finds the old file or the new one. A symbolic link is replaced, not what it names. Raises OSError."""
    own = f"{os.getpid()}.{secrets.token_hex(4)}"  # another process may have this number, in another container
    temporary = path.with_name(f".{path.name[:48]}.{own}.tmp")
    with temporary.open("xb") as file:
        try:
            yield file
            file.close()
            temporary.replace(path)
        except BaseException:
            file.close()
            with suppress(OSError):
                temporary.unlink()
            raise


def write_whole(path: Path, text: str) -> None:
    """Text in UTF-8 to a `whole_file`."""
    with whole_file(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends well, and leaves no trace when it does not.

    Standard output, a device or a pipe is written to and stays what it is; of a symbolic link, the file behind it is
    replaced.

    Raises:
        ImageError: the folder does not exist, or the system refuses: a full disk, a read-only folder.
    """
    try:
        if path is STANDARD:
            if sys.__stdout__ is None:  # sys.stdout may stand in for it
                raise ImageError("standard output: closed, expected a file or a pipe; redirect it")
            sys.stdout.flush()
            if sys.stdout.isatty():
                raise ImageError("standard output: expected a file or a pipe, this is a terminal; redirect it")
            with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
                yield output
            return
        if path.exists() and not (path.is_file() or path.is_dir()):  # before a link is followed: a pipe has no name
            with path.open("wb", buffering=0) as device:
                yield device
            return
        if not path.parent.is_dir():
            raise ImageError(f"{path}: its folder does not exist")
        path = path.resolve()
        if path.is_dir():
            raise ImageError(f"{path}: expected the name of a file to write, this is a folder")
        with whole_file(path) as file:
            yield file
    except OSError as error:
        if error.errno is None:
            raise
        cure = _CURES.get(error.errno, "choose another output")
        name = "standard output" if path is STANDARD else path
        raise ImageError(f"{name}: cannot be written: {error.strerror}; {cure}") from error


_ELSEWHERE = "choose an output that you may write to"
_CURES = {
    errno.ENOSPC: "free some space, or choose an output on another disk",
    errno.EDQUOT: "free some space, or choose an output on another disk",
    errno.EFBIG: "files of this size are not allowed there; choose another output",
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EPIPE: "what reads it has ended early",
}


def pairs(source: Path, target: Path, suffixes: Sequence[str], new_suffix: str) -> list[tuple[Path, Path]]:
    """(input, output) for a file, or for every file of a folder whose suffix is one of `suffixes`, in order of names.

    Two inputs of one stem keep their suffix in the output's name (a.png.bsc, a.jpg.bsc).

    Raises:
        ImageError: the input is not there, the folder holds nothing of the kind, the output is a folder or a file
            where the other is needed, or images would be replaced in the folder that they were encoded in.
    """
    if source is STANDARD:
        if target.is_dir():
            raise ImageError(f"{target}: standard input has no name to keep; give the name of a file, not of a folder")
        return [(source, target)]
    if not source.exists():
        raise ImageError(f"{source}: no such file or folder")
    if source.is_dir() and target is STANDARD:
        raise ImageError(f"{source}: a folder of files does not go to standard output; give a folder to write them to")
    if not source.is_dir() and target is STANDARD:
        return [(source, target)]
    if not source.is_dir():
        one = target / (source.stem + new_suffix) if target.is_dir() else target
        if one.resolve() == source.resolve():
            raise ImageError(f"{target}: the output would overwrite the input")
        return [(source, one)]
    if target.exists() and not target.is_dir():
        raise ImageError(f"{target}: expected a folder, since {source} is one")
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in suffixes and path.is_file())
    if not found:
        raise ImageError(f"{source}: {_none_found(suffixes)}")
    stems = [path.stem.casefold() for path in found]
    names = [(p.name if stems.count(p.stem.casefold()) > 1 else p.stem) + new_suffix for p in found]
    taken: dict[str, Path] = {}
    for path, name in zip(found, names, strict=True):
        twin = taken.setdefault(name.casefold(), path)
        if twin is not path:
            raise ImageError(
                f"{twin} and {path}: both would be written to {name} where the case of letters does not count; "
                "rename one of them"
            )
    made = [(p, target / name) for p, name in zip(found, names, strict=True)]
    if new_suffix != BITSTREAM_SUFFIX and target.is_dir() and target.samefile(source):
        there = next((path for _, path in made if path.exists()), None)
        if there is not None:
            raise ImageError(f"{there}: is there already, perhaps the original; decode into another folder")
    return made


def _none_found(suffixes: Sequence[str]) -> str:
    """Of many suffixes the common ones."""
    common = [suffix for suffix in (".png", ".jpg", ".webp", ".tiff") if suffix in suffixes]
    if len(suffixes) <= 2 * len(common) or not common:
        return f"no file with one of the suffixes {' '.join(suffixes)}"
    return f"no image file: none with one of the suffixes {' '.join(common)} or {len(suffixes) - len(common)} others"


def image_suffixes() -> list[str]:
    """Suffixes of every image format that Pillow opens here."""
    return sorted(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


_WHOLE = ("PNG", "TIFF", "WEBP", "JPEG")
"""Formats that keep size and mode of any decoded image, or are refused by Pillow; the others are read back."""


def save_image(image: Image.Image, path: Path, standard_suffix: str = ".png") -> None:
    """Save in the format that the suffix names, with the ICC profile; standard output has `standard_suffix`.

    Raises:
        ImageError: an unknown suffix, or a format that cannot hold this image.
    """
    suffix = standard_suffix if path is STANDARD else path.suffix.lower()
    kind = Image.registered_extensions().get(suffix)
    if kind not in Image.SAVE:
        what = "Pillow writes no format of this suffix" if suffix else "no suffix that names a format"
        raise ImageError(f"{path}: {what}; use .png")
    profile = image.info.get("icc_profile")
    options: dict[str, Any] = {} if profile is None else {"icc_profile": profile}
    if kind == "WEBP":
        options["lossless"] = True  # what was decoded is what is kept, wherever the format can
    try:
        with replacing(path) as file:
            if path is STANDARD or kind not in _WHOLE:  # it has no way back, as some formats want
                whole = io.BytesIO()
                image.save(whole, kind, **options)
                _warn_of_another(whole, image, kind)
                file.write(whole.getbuffer())
            else:
                image.save(cast(BinaryIO, _Writer(file)), kind, **options)
    except (ValueError, KeyError) as error:
        what = f"an image of mode {image.mode} and {image.width}x{image.height} pixels"
        raise ImageError(f"{path}: {kind} cannot hold {what} ({error}); use .png") from error
    except OSError as error:  # of Pillow, since `replacing` names those of the system
        raise ImageError(f"{path}: cannot be written: {error}; .png holds every mode") from error


def _warn_of_another(whole: BinaryIO, image: Image.Image, kind: str) -> None:
    """An ImageWarning where a format keeps another size or mode than the image has."""
    try:
        with Image.open(whole) as kept:
            if (kept.size, kept.mode) == (image.size, image.mode):
                return
            what = f"{kept.width}x{kept.height} in mode {kept.mode}"
    except UnidentifiedImageError:
        what = "something that is no image to Pillow"
    message = f"{kind} keeps {what}, not the decoded {image.width}x{image.height} {image.mode}; .png keeps it"
    warnings.warn(message, ImageWarning, stacklevel=3)


class _Writer(io.RawIOBase):
    """A file without its descriptor: Pillow would write to that by itself, and say no word of a full disk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def writable_suffix(text: str) -> str:
    """ "png" or ".png" -> ".png". Raises ValueError where Pillow writes no format of this suffix."""
    suffix = f".{text.lower().removeprefix('.')}"
    if Image.registered_extensions().get(suffix) not in Image.SAVE:
        raise ValueError(f"suffix {text!r}: Pillow writes no format of this name; use png, tiff or webp")
    return suffix
