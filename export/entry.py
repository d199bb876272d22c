"""`basic-export` as a command: engine files from a bundle need no torch; a bundle needs the train extra."""

import sys


def main(argv: list[str] | None = None) -> int:
    """Run export.cli.main, or name the cure where a package of the extra is not here (exit status 1)."""
    arguments = sys.argv[1:] if argv is None else argv
    from .to_tensorrt import is_for_bundle
    from .to_tensorrt import main as build

    if is_for_bundle(arguments):
        return build(arguments)
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        print(f"basic-export: needs {error.name}; install the extra: pip install 'basic-nic[train]'", file=sys.stderr)
        return 1
    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
