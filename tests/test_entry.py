"""The commands of the train extra name their cure where it is missing."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from basic import __version__


@pytest.mark.parametrize(
    ("command", "module", "missing"),
    [
        ("basic-train", "basic.training.entry", "torch"),
        ("basic-search", "basic.training.structure.entry", "torch"),
        ("basic-export", "basic.export.entry", "onnx"),
    ],
)
def test_a_missing_extra_is_named_with_its_cure(command: str, module: str, missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from {module} import main; sys.exit(main(['--help']))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith(f"{command}: needs {missing}; install the extra: pip install 'basic-nic[train]'")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("basic", "basic.runtime.entry"),
        ("basic-train", "basic.training.entry"),
        ("basic-search", "basic.training.structure.entry"),
        ("basic-export", "basic.export.entry"),
        ("basic-bench", "basic.benchmarks.entry"),
    ],
)
def test_every_command_tells_its_version(command: str, module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(module).main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"{command} (basic-nic) {__version__}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", ["import", "work"])
def test_an_interruption_is_a_line_and_leaves_nothing(number: signal.Signals, at: str, tmp_path: Path) -> None:
    """The command interrupts itself: while its packages are imported, and when a half bundle is there."""
    where = {
        "import": "import numpy; sys.modules['onnx'] = Interrupting()",
        "work": "from basic.export import cli; cli.verify_level = interrupt",
    }[at]
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
def interrupt(*arguments, **named): os.kill(os.getpid(), {int(number)})
class Interrupting:
    __getattr__ = interrupt
    __spec__ = None
{where}
from basic.export.entry import main
sys.exit(main(["--levels", "1", "-o", {str(tmp_path / "b.bundle")!r}]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.splitlines()[-1]) == (1, "basic-export: interrupted")
    assert "Traceback" not in run.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("options", "statuses"), [(["info", "--json"], {1}), (["--help"], {0, 1})])
def test_output_that_is_read_no_further_ends_without_a_traceback(options: list[str], statuses: set[int]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = f"import sys; from basic.runtime.entry import main; sys.exit(main({options}))"
    with os.fdopen(writing, "wb") as nobody:
        run = subprocess.run(
            [sys.executable, "-c", code], stdout=nobody, stderr=subprocess.PIPE, text=True, check=False
        )
    assert run.stderr == "" and run.returncode in statuses


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("options", [["info", "--json"], ["info"]])
def test_a_full_disk_under_the_output_is_a_line(options: list[str]) -> None:
    code = f"import sys; from basic.runtime.entry import main; sys.exit(main({options}))"
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 1 and run.stderr.startswith("basic: ")
    assert "No space left on device" in run.stderr and len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["coder", "gpu_suite", "graphics", "readme_table"])
def test_an_interrupted_benchmark_ends_with_a_line(name: str) -> None:
    code = f"""
import argparse, runpy, sys
def interrupt(*arguments, **named): raise KeyboardInterrupt
argparse.ArgumentParser.parse_args = interrupt
sys.argv[1:] = []
runpy.run_module("basic.benchmarks.{name}", run_name="__main__", alter_sys=True)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.splitlines()[-1]) == (1, f"{name}: interrupted")


def test_the_example_without_arguments_tells_its_usage() -> None:
    script = Path(__file__).parents[1] / "examples" / "embed.py"
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "") and "embed.py IMAGE OUTPUT" in run.stderr
    assert "Traceback" not in run.stderr
