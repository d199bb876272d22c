"""Laws of the GPU suite, on the CPU's engine and on a GPU that is none: what is done stays done, what fails is told."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_fakes import FakeDriver, FakeTensorRT
from PIL import Image

from basic.benchmarks import gpu_checks, gpu_pack, gpu_plots, gpu_suite
from basic.benchmarks.gpu_steps import Record, Step, is_complete, run_steps
from basic.benchmarks.gpu_targets import targets
from basic.benchmarks.results import BenchError
from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.cuda import Device
from basic.runtime.engine_trt import TrtEngine
from basic.runtime.trt_build import EngineFiles, SizeClass

FAST = (
    "--levels 0 --sizes 128x64,64x64 --batches 1,2 --repeats 1 --warmup 1 --qualities 32 --beside ort-cuda --threads 1"
)


@pytest.fixture(scope="module")
def images(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    Image.open(data_folder / "kodim07.png").convert("RGB").crop((0, 0, 300, 200)).save(folder / "small.png")
    return folder


def run(bundle: Path, images: Path, output: Path, *options: str) -> tuple[int, dict[str, Any]]:
    status = gpu_suite.main([str(bundle), "--images", str(images), "--output", str(output), *FAST.split(), *options])
    return status, json.loads((output / gpu_suite.RESULT).read_text())


@pytest.fixture(scope="module")
def on_the_cpu(
    float_bundle_path: Path, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("suite")
    status, data = run(float_bundle_path, images, output, "--engine", "ort")
    return status, output, data


def test_it_runs_through_on_the_cpu(on_the_cpu: tuple[int, Path, dict[str, Any]]) -> None:
    status, _, data = on_the_cpu
    assert status == 0 and data["complete"]
    kinds = {name.partition(":")[0] for name in data["steps"]}
    assert kinds == {"references", "exact", "cross", "quality", "images", "beside", "peaks", "parts"}
    assert data["steps"]["quality:level 0"]["result"]["worst_loss_db"] == 0
    assert "CUDA" in data["steps"]["beside:ort-cuda, level 0, 1 of 128x64"]["result"]["not_here"]
    assert data["circumstances"]["device"] == "CPU" and data["circumstances"]["command"]


def test_a_second_run_does_nothing_again(
    on_the_cpu: tuple[int, Path, dict[str, Any]],
    images: Path,
    float_bundle_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, output, before = on_the_cpu
    capsys.readouterr()
    _, after = run(float_bundle_path, images, output, "--engine", "ort")
    assert after["steps"] == before["steps"]
    assert f"{len(after['steps'])} steps, {len(after['steps'])} done before" in capsys.readouterr().err


def test_plots_are_drawn_from_the_file(on_the_cpu: tuple[int, Path, dict[str, Any]], tmp_path: Path) -> None:
    _, output, _ = on_the_cpu
    assert gpu_plots.main([str(output / gpu_suite.RESULT), str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"gpu_latency.png", "gpu_floor.png", "gpu_images.png"}
    assert gpu_plots.main([str(tmp_path / "none.json"), str(tmp_path)]) == 1
    (tmp_path / "other.json").write_text('{"steps": 3}')
    assert gpu_plots.main([str(tmp_path / "other.json"), str(tmp_path)]) == 1


def test_it_builds_and_checks_tensorrt_engines(
    float_bundle_path: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = FakeDriver()
    module, device = FakeTensorRT(driver), Device(driver)
    files = EngineFiles(module, device, folder=tmp_path / "engines", progress=lambda text: None)
    monkeypatch.setattr(gpu_suite, "start", lambda name, threads=None: TrtEngine(module, device, files))
    monkeypatch.setattr(gpu_suite, "peaks_of", lambda engine, folder: gpu_suite.Peaks(1.0, 1.0, 1.0))
    status, data = run(float_bundle_path, images, tmp_path, "--engine", "trt", "--beside", "none")
    assert status == 0 and data["complete"], data
    assert set(data["steps"]["build:level 0"]["result"]["build_s"]) == set(
        Bundle.open(float_bundle_path).level(0).parts
    )
    assert {row["clock"] for row in data["steps"]["parts:level 0, 64x64"]["result"]} == {"device"}
    assert data["memory"]["all_mib"] == 80 * 1024
    assert data["steps"]["quality:level 0"]["result"]["worst_loss_db"] < gpu_checks.MAX_LOSS_DB


def test_engine_files_may_have_some_of_the_profiles(
    float_bundle_path: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = FakeDriver()
    module, device = FakeTensorRT(driver), Device(driver)

    def start(threads: int | None, classes: tuple[SizeClass, ...]) -> TrtEngine:
        return TrtEngine(module, device, EngineFiles(module, device, classes=classes, folder=tmp_path / "engines"))

    monkeypatch.setattr(gpu_suite, "start_tensorrt", start)
    monkeypatch.setattr(gpu_suite, "peaks_of", lambda engine, folder: gpu_suite.Peaks(1.0, 1.0, 1.0))
    status, data = run(float_bundle_path, images, tmp_path, "--beside", "none", "--profiles", "medium")
    assert status == 0 and data["complete"], data
    assert {len(config.profiles) for config in module.configs} == {1}


@pytest.mark.parametrize(
    "options",
    [
        *(["--profiles", "huge"], ["--profiles", "small,small"], ["--engine", "ort", "--profiles", "small"]),
        *(["--sizes", "1080p"], ["--levels", "x"], ["--batches", "0"], ["--qualities", "64"], ["--repeats", "0"]),
        *(["--threads", "0"], ["--minutes", "0"], ["--minutes", "soon"], ["--engine", "warp"], ["--beside", "warp"]),
    ],
)
def test_wrong_options_exit_with_two(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        gpu_suite.main(["--images", "x", "--output", str(tmp_path), *options])
    assert stopped.value.code == 2
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_exits_with_one(tmp_path: Path, float_bundle_path: Path) -> None:
    output = ["--output", str(tmp_path / "results"), "--engine", "ort"]
    assert gpu_suite.main([str(tmp_path / "no.bundle"), "--images", str(tmp_path), *output]) == 1
    assert gpu_suite.main([str(float_bundle_path), "--images", str(tmp_path / "none"), *output]) == 1
    assert gpu_suite.main([str(float_bundle_path), "--images", str(tmp_path), "--levels", "99", *output]) == 1
    packed = ["-o", str(tmp_path / "a.tar.gz")]
    assert gpu_pack.main([str(float_bundle_path), "--images", str(tmp_path / "none"), *packed]) == 1
    assert not list(tmp_path.iterdir())


def test_latents_that_differ_are_found(images: Path, tmp_path: Path, float_bundle_path: Path) -> None:
    with Codec.open(float_bundle_path, num_threads=1) as codec:
        photos = {"small.png": np.asarray(Image.open(images / "small.png"))}
        made = gpu_checks.make_references(codec, photos, [0], [32], tmp_path)
        assert gpu_checks.read_references(tmp_path, codec.bundle) == made
        other = codec.encode(gpu_checks.middle(photos["small.png"])[::-1], level=0)
        (tmp_path / made[0].file).write_bytes(other)
        with pytest.raises(BenchError, match="other latents"):
            gpu_checks.check_cross(codec, made, photos, tmp_path)
        with pytest.raises(BenchError, match="loses more"):
            gpu_checks.check_quality(codec, [gpu_checks.Reference("small.png", 0, 32, "", "", 99.0, 1.0)], photos)
    with pytest.raises(BenchError, match="pack them again"):
        gpu_checks.read_references(tmp_path / "none", codec.bundle)


class Clock:
    """Seconds that pass when a step says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def step(self, name: str, seconds: float, result: object = 1) -> Step:
        def work() -> object:
            self.now += seconds
            if isinstance(result, BaseException):
                raise result
            return result

        return Step(name, work)


def test_what_would_end_too_late_is_passed_over(tmp_path: Path) -> None:
    clock, record = Clock(), Record(tmp_path / "r.json", {})
    steps = [clock.step("long:a", 60), clock.step("long:b", 60), clock.step("short:a", 5), clock.step("short:b", 5)]
    run_steps(steps, record, 100, lambda text: None, clock)
    assert {name: step["status"] for name, step in record.steps.items()} == {
        "long:a": "done", "long:b": "no time", "short:a": "done", "short:b": "done",
    }  # fmt: skip
    assert not is_complete(record, steps)
    again = Record(tmp_path / "r.json", {})
    assert again.resumed
    run_steps(steps, again, 100, lambda text: None, clock)
    assert is_complete(again, steps) and clock.now == 130


def test_a_failed_step_is_told_and_tried_again(tmp_path: Path) -> None:
    clock, record = Clock(), Record(tmp_path / "r.json", {})
    run_steps([clock.step("a:1", 1, ValueError("no")), clock.step("b:1", 1)], record, 99, lambda text: None, clock)
    assert record.steps["a:1"]["error"] == "ValueError: no" and record.result("b:1") == 1
    run_steps([clock.step("a:1", 1, "good")], record, 99, lambda text: None, clock)
    assert record.result("a:1") == "good"


def test_a_step_in_which_the_process_died_comes_last(tmp_path: Path) -> None:
    clock, record = Clock(), Record(tmp_path / "r.json", {})
    with pytest.raises(KeyboardInterrupt):
        run_steps([clock.step("a:1", 1, KeyboardInterrupt())], record, 99, lambda text: None, clock)
    again, order = Record(tmp_path / "r.json", {}), list[str]()
    run_steps([clock.step("a:1", 1), clock.step("b:1", 1)], again, 99, order.append, clock)
    assert order == ["b:1", "a:1"]


def test_another_device_or_bundle_starts_afresh(tmp_path: Path) -> None:
    clock, record = Clock(), Record(tmp_path / "r.json", {"engine": "one"})
    run_steps([clock.step("a:1", 1)], record, 99, lambda text: None, clock)
    assert Record(tmp_path / "r.json", {"engine": "one"}).steps
    assert not Record(tmp_path / "r.json", {"engine": "other"}).steps


def test_targets_take_the_right_rows(tmp_path: Path) -> None:
    record = Record(tmp_path / "r.json", {})
    rows = [
        {"engine": engine, "level": 7, "task": "encode", "size": "1920x1080", "batch": batch, "images_per_s": rate}
        for engine, batch, rate in (("trt", 1, 160.0), ("trt", 8, 290.0), ("torch", 1, 50.0))
    ]
    record.steps["images:a"] = {"status": "done", "seconds": 1, "result": rows}
    found = {target.name: target.is_met for target in targets(record, "trt", [0, 7])}
    assert found["level 7, 1920x1080, one at a time: encode, images/s"] is True
    assert found["level 7, 1920x1080, in batches: encode, images/s"] is False
    assert found["level 7, 1920x1080: encode, times eager PyTorch"] is False
    assert found["level 7, 1920x1080, one at a time: decode, images/s"] is None


BANNED = ("rich", "onnx", "onnxruntime", "torch", "matplotlib", "scipy", "safetensors", "bjontegaard")


def test_the_archive_holds_all_that_a_bare_host_needs(
    float_bundle_path: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "gpu.tar.gz"
    assert (
        gpu_pack.main([str(float_bundle_path), "--images", str(images), "-o", str(archive), "--qualities", "32"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["num_bytes"] < gpu_pack.MAX_BYTES
    with tarfile.open(archive) as tar:
        assert all(member.name.startswith(gpu_pack.ROOT) and not member.uname for member in tar)
        tar.extractall(tmp_path, filter="data")
    root = tmp_path / gpu_pack.ROOT
    code = (
        "import sys\n"
        f"for name in {BANNED}: sys.modules[name] = None\n"
        f"sys.path[:0] = [{str(root)!r}]\n"
        "import basic.runtime\n"
        f"assert basic.runtime.__file__.startswith({str(root)!r}), basic.runtime.__file__\n"
        "from basic.benchmarks import gpu_suite\n"
        "from basic.benchmarks.engines import start\n"
        "from basic.runtime.conformance import differing_parts\n"
        "from basic.runtime.bundle import Bundle\n"
        f"bundle = Bundle.open({str(root / 'suite.bundle')!r})\n"
        "assert differing_parts(start('oracle'), bundle, 0) == []\n"
        f"sys.exit(gpu_suite.main([{str(root / 'suite.bundle')!r}, '--images', {str(root / 'images')!r}, "
        f"'--references', {str(root / 'references')!r}, '--output', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "CUDA: " in done.stderr, done.stderr
    script = (root / "run.sh").read_text()
    assert (root / "run.sh").stat().st_mode & 0o100 and "--references" in script
