"""`basic-train` as a command: says what to install where the train extra is missing."""

import sys

from ..runtime.command import run_command


def main(argv: list[str] | None = None) -> int:
    """Run training.cli.main, or name the cure where a package of the extra is not here (exit status 1)."""
    return run_command("basic-train", f"{__package__}.cli", argv, "train")


if __name__ == "__main__":
    sys.exit(main())
