"""`basic-bench` as a command."""

import sys

from ..runtime.command import run_command


def main(argv: list[str] | None = None) -> int:
    """Run cli.main."""
    return run_command("basic-bench", f"{__package__}.cli", argv)


if __name__ == "__main__":
    sys.exit(main())
