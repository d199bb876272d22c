"""`basic-search` as a command: says what to install where the train extra is missing."""

import sys


def main(argv: list[str] | None = None) -> int:
    """Run structure.cli.main, or name the cure where a package of the extra is not here (exit status 1)."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        print(f"basic-search: needs {error.name}; install the extra: pip install 'basic-nic[train]'", file=sys.stderr)
        return 1
    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
