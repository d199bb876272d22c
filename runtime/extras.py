"""Commands that need an extra: say what to install where a package of it is missing, instead of a traceback."""

import importlib
import sys


def run_with_extra(command: str, extra: str, module: str, argv: list[str] | None) -> int:
    """`main(argv)` of a module that imports an extra's packages; exit status 1 and the cure where one is not here."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        print(f"{command}: needs {error.name}; install the extra: pip install 'basic-nic[{extra}]'", file=sys.stderr)
        return 1
    return int(found.main(argv))
