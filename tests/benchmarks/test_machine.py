"""Circumstances are complete and give nothing private away."""

import getpass
import importlib.util
import json
import socket
import sys
from types import ModuleType

import pytest

from basic.benchmarks.machine import command_line, machine


def test_machine_is_described_without_names_or_paths() -> None:
    described = machine()
    text = json.dumps(described)
    assert described["cpu_model"]
    assert int(str(described["num_cpus"])) >= 1
    assert "numpy" in dict(described["versions"])  # type: ignore[call-overload]
    assert socket.gethostname() not in text
    assert f"/{getpass.getuser()}" not in text


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("/home/someone/bin/basic-bench", "basic-bench"),
        ("examples/demo.py", "python examples/demo.py"),
        ("/home/someone/demo.py", "python demo.py"),
        ("../someone/demo.py", "python demo.py"),
    ],
)
def test_a_command_is_shown_as_it_can_be_typed(program: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--images", "my photos"])
    assert command_line() == f"{shown} --images 'my photos'"


@pytest.mark.parametrize(
    ("module", "shown"),
    [("cli", "basic-bench"), ("exactness", "python -m basic.benchmarks.exactness")],
)
def test_a_module_is_shown_as_it_is_run(module: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `python -m` the program is a path, and the running module's specification has the name."""
    found = importlib.util.find_spec(f"basic.benchmarks.{module}")
    assert found is not None and found.origin is not None
    main = ModuleType("__main__")
    main.__spec__ = found
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", [found.origin, "-o", "x"])
    assert command_line() == f"{shown} -o x"
