"""Laws of `basic-export BUNDLE --engine trt`, on a GPU that is not there: one file for each part, no torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_fakes import FakeDriver, FakeTensorRT

from basic.export import entry, to_tensorrt
from basic.runtime.bundle import Bundle
from basic.runtime.cuda import Device
from basic.runtime.engine_trt import TrtEngine
from basic.runtime.trt_build import EngineFiles


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    """TensorRT for every engine that the command opens."""
    driver = FakeDriver()
    module = FakeTensorRT(driver)

    def opened(folder: Path) -> TrtEngine:
        device = Device(driver)
        return TrtEngine(module, device, EngineFiles(module, device, folder=folder))

    monkeypatch.setattr(to_tensorrt, "open_engine", opened)
    return module


@pytest.fixture
def bundle(float_bundle_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(float_bundle_path, tmp_path / "some.bundle"))


def test_one_file_and_one_sidecar_for_each_part(
    gpu: FakeTensorRT, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.main([str(bundle), "--engine", "trt", "--only", "0,3"]) == 0
    output = capsys.readouterr()
    summary = json.loads(output.out)
    levels = Bundle.open(bundle).levels
    expected = {f"level_{n}.{part}" for n in (0, 3) for part in levels[n].parts}
    folder = bundle.with_name("some.bundle.engines")
    assert {".".join(path.name.split(".")[:2]) for path in folder.glob("*.engine")} == expected
    assert len(list(folder.glob("*.json"))) == len(expected) == summary["num_built"]
    assert f"engine file 1 of {len(expected)}" in output.err and "building a TensorRT engine for level 0" in output.err
    assert entry.main([str(bundle), "--engine", "trt", "--only", "0,3"]) == 0
    assert json.loads(capsys.readouterr().out)["num_kept"] == len(expected)


def test_an_engine_that_is_not_exact_is_an_error(
    gpu: FakeTensorRT, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.damage = lambda name, array: array * 2 if name == "state" else array
    assert entry.main([str(bundle), "--engine", "trt", "--only", "0"]) == 1
    assert "hyper" in capsys.readouterr().err


def test_without_a_gpu_the_cure_is_told(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main([str(bundle), "--engine", "trt"]) == 1
    assert "pip install 'basic-nic[trt]'" in capsys.readouterr().err


def test_a_bundle_where_a_checkpoint_is_wanted_is_told(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        entry.main([str(bundle), "-o", "x.bundle"])
    assert stopped.value.code == 2 and "expected a checkpoint (.safetensors)" in capsys.readouterr().err


def test_bundles_are_told_from_outputs(bundle: Path, tmp_path: Path) -> None:
    assert entry.is_for_bundle(["--engine", "trt", str(bundle)])
    assert not entry.is_for_bundle(["-o", str(bundle), "--levels", "8"])
    assert not entry.is_for_bundle([str(tmp_path / "checkpoint.safetensors"), "--output", str(bundle)])


def test_it_needs_neither_torch_nor_onnx(bundle: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxruntime', 'rich', 'safetensors'): sys.modules[name] = None\n"
        "from basic.export.entry import main\n"
        f"sys.exit(main([{str(bundle)!r}, '--engine', 'trt']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "CUDA" in done.stderr, done.stderr
