"""`basic-export` as a command: engine files from a bundle need no torch; a bundle needs the train extra."""

import sys
from pathlib import Path

from ..runtime.command import run_command

OUTPUT_OPTIONS = ("-o", "--output")


def main(argv: list[str] | None = None) -> int:
    """Run export.to_tensorrt.main or export.cli.main."""
    arguments = sys.argv[1:] if argv is None else argv
    if is_for_bundle(arguments):
        return run_command("basic-export", f"{__package__}.to_tensorrt", arguments)
    return run_command("basic-export", f"{__package__}.cli", arguments, "train")


def is_for_bundle(argv: list[str]) -> bool:
    """Whether a command line names a bundle to start from rather than a checkpoint."""
    before = ["", *argv]
    named = [word for word, last in zip(argv, before, strict=False) if last not in OUTPUT_OPTIONS]
    return any(_is_bundle(Path(word)) for word in named if not word.startswith("-"))


def _is_bundle(path: Path) -> bool:
    if path.is_dir():
        from ..runtime.bundle import MANIFEST

        return (path / MANIFEST).is_file()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK"


if __name__ == "__main__":
    sys.exit(main())
