"""Circumstances are complete and give nothing private away."""

import getpass
import json
import socket

from basic.benchmarks.machine import machine


def test_machine_is_described_without_names_or_paths() -> None:
    described = machine()
    text = json.dumps(described)
    assert described["cpu_model"]
    assert int(str(described["num_cpus"])) >= 1
    assert "numpy" in dict(described["versions"])  # type: ignore[call-overload]
    assert socket.gethostname() not in text
    assert f"/{getpass.getuser()}" not in text
