"""`basic-export` as a command: engine files from a bundle need no torch; a bundle needs the train extra."""

import sys

from ..runtime.extras import run_with_extra


def main(argv: list[str] | None = None) -> int:
    """Run export.cli.main, or name the cure where a package of the extra is not here (exit status 1)."""
    arguments = sys.argv[1:] if argv is None else argv
    from .to_tensorrt import is_for_bundle
    from .to_tensorrt import main as build

    if is_for_bundle(arguments):
        return build(arguments)
    return run_with_extra("basic-export", "train", f"{__package__}.cli", arguments)


if __name__ == "__main__":
    sys.exit(main())
