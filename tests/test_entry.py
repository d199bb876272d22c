"""The commands of the train extra name their cure where it is missing."""

import subprocess
import sys

import pytest


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
