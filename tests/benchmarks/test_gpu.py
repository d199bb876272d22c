"""Laws of the device stage: floors from bytes and MACs, sizes and batches, on the CPU and on a GPU that is none."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gpu_fakes import FakeDriver, FakeTensorRT

from basic.benchmarks import cli, device, gpu, run
from basic.benchmarks.floor import Peaks, Work, part_work
from basic.benchmarks.results import BenchError
from basic.benchmarks.shapes import input_shapes
from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.cuda import Device
from basic.runtime.engine import open_engine
from basic.runtime.engine_trt import TrtEngine
from basic.runtime.trt_build import EngineFiles

PEAKS = Peaks(copy_gb_per_s=1000, transform_tmac_per_s=400, float32_tmac_per_s=25)


@pytest.fixture(scope="module")
def bundle(float_bundle_path: Path) -> Bundle:
    return Bundle.open(float_bundle_path)


@pytest.fixture
def trt(tmp_path: Path) -> TrtEngine:
    driver = FakeDriver()
    module, made = FakeTensorRT(driver), Device(driver)
    return TrtEngine(module, made, EngineFiles(module, made, folder=tmp_path, progress=lambda text: None))


def test_macs_are_those_of_the_manifest_and_bytes_grow_with_the_image(bundle: Bundle) -> None:
    for part in bundle.level(max(bundle.levels)).parts.values():
        data = bundle.read(part.file)
        small, large = (part_work(data, input_shapes(part, side, 256), 2) for side in (256, 512))
        assert small.num_macs == pytest.approx(1e3 * part.kmacs_per_pixel * 256 * 256, rel=1e-4)
        assert large.num_macs == 2 * small.num_macs
        assert small.num_bytes < large.num_bytes < 2 * small.num_bytes  # weights are read once


def test_the_floor_is_the_larger_of_both_times() -> None:
    assert Work(10**9, 10**9).floor_ms(PEAKS, in_half=True) == pytest.approx(1.0)
    assert Work(10**6, 10**12).floor_ms(PEAKS, in_half=True) == pytest.approx(2.5)
    assert Work(10**6, 10**12).floor_ms(PEAKS, in_half=False) == pytest.approx(40)


@pytest.mark.parametrize("size", ["64x", "x", "64", "0x64", "a x b"])
def test_sizes_are_checked(size: str) -> None:
    with pytest.raises(BenchError, match="WIDTHxHEIGHT"):
        gpu.parse_size(size)


def test_scaling_keeps_proportions_and_middle() -> None:
    photo = np.zeros((100, 300, 3), np.uint8)
    photo[:, 100:200] = 255
    assert gpu.scaled(photo, "100x100").mean() == 255
    assert gpu.scaled(photo, "600x200").shape == (200, 600, 3)


def test_parts_on_the_cpu_have_floors_and_a_wall_clock(bundle: Bundle) -> None:
    engine = open_engine("ort", 1)
    rows = gpu.measure_parts(engine, bundle, 0, "128x64", 2, 2, PEAKS)
    assert [row.part for row in rows] == list(bundle.level(0).parts)
    assert all(row.clock == "wall" and row.times_floor == row.latency_p50_ms / row.floor_ms for row in rows)


def test_parts_on_a_gpu_are_timed_by_its_events(bundle: Bundle, trt: TrtEngine) -> None:
    rows = gpu.measure_parts(trt, bundle, 0, "64x64", 1, 3, PEAKS)
    assert {(row.clock, row.latency_p50_ms, row.num_samples) for row in rows} == {("device", 0.25, 3)}
    hyper, synthesis = (next(row for row in rows if row.part == part) for part in ("hyper", "synthesis"))
    part = bundle.level(0).parts
    for row, item_bytes in ((hyper, 4), (synthesis, 2)):
        work = part_work(bundle.read(part[row.part].file), input_shapes(part[row.part], 64, 64), item_bytes)
        assert row.num_bytes == work.num_bytes


def test_whole_images_there_and_back(bundle: Bundle, trt: TrtEngine, data_folder: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    plan = gpu.DevicePlan(repeats=2, warmup=1)
    rows = gpu.measure_throughput(Codec(bundle, trt), trt, 0, [photo], "128x64", 3, plan)
    assert [row.task for row in rows] == ["encode", "decode"]
    assert all(row.images_per_s == pytest.approx(3e3 / row.latency_p50_ms) for row in rows)
    assert all(row.gpu_memory_mib == 20 * 1024 for row in rows)  # the fake device's 80 GiB, 60 of them free
    assert all(row.joules_per_image is None or row.joules_per_image >= 0 for row in rows)


def test_peaks_of_both_kinds_of_device(trt: TrtEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "PROBE_CHANNELS", 16)
    monkeypatch.setattr(device, "PROBE_SIDE", 4)
    found = device.peaks_of(trt, tmp_path)
    assert found.copy_gb_per_s == pytest.approx(2 * device.COPY_BYTES / (1e6 * 0.25))
    macs = device.PROBE_LAYERS * device.PROBE_BATCH * 16 * 16 * 16
    assert found.transform_tmac_per_s == pytest.approx(macs / (1e9 * 0.25))
    host = device.peaks_of(open_engine("ort", 1), tmp_path)
    assert host.copy_gb_per_s > 0.1 and host.float32_tmac_per_s > 1e-4


def test_memory_is_told_of_whatever_engine_is_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    other, found = SimpleNamespace(name="ort-cuda"), Device(FakeDriver())
    for here in (found, None):
        monkeypatch.setattr(device, "_first_gpu", lambda here=here: here)
        memory = device.memory_of(other)
        assert (None if memory is None else memory["in_use_mib"]) == (None if here is None else 20 * 1024)
        assert device.memory_of(open_engine("oracle")) is None


def test_a_gpu_behind_another_engine_has_the_rates_that_tensorrt_measured(bundle: Bundle, tmp_path: Path) -> None:
    """Never those of the processor: the times are the GPU's."""
    host = open_engine("ort", 1)
    other = SimpleNamespace(name="ort-cuda", open=host.open)
    assert device.peaks_of(other, tmp_path) is None and device.device_of(other)["device"] == "GPU"
    assert run.peaks_from({"device": "GPU"}) is None and run.peaks_from(None) is None
    assert run.peaks_from({"device": "GPU"} | asdict(PEAKS)) == PEAKS
    (row,) = [row for row in gpu.measure_parts(other, bundle, 0, "64x64", 1, 2, PEAKS) if row.part == "synthesis"]
    part = bundle.level(0).parts["synthesis"]
    work = part_work(bundle.read(part.file), input_shapes(part, 64, 64), 4)
    assert row.floor_ms == work.floor_ms(PEAKS, in_half=False)  # it computes all in float32


def test_the_fit_finds_what_latency_is_made_of() -> None:
    rows = [
        gpu.DevicePartRow(
            "trt", level, part, "64x64", 1, "device", 9, 0.01 + 1e-9 * macs + 2e-9 * size, 1, macs, size, 1, 1
        )
        for level in range(3)
        for part, macs, size in (
            ("analysis", 10**8 * (level + 1), 10**7),
            ("hyper", 10**6, 10**6 * (level + 1)),
            ("synthesis", 2 * 10**8, 3 * 10**7 * (level + 1)),
        )
    ]
    alone, both = gpu.fit_device(rows)
    assert both.part_max_error_percent < 1e-3 < alone.part_max_error_percent
    assert both.clock == "device, 64x64 x 1"


def test_the_command_measures_sizes_and_torch(
    float_bundle_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "--engine ort,torch --levels 0 --sizes 128x64 --batches 2 --skip timing memory quality --repeats 1 --json"
    status = cli.main([str(float_bundle_path), "--images", str(data_folder / "kodim03.png"), *command.split()])
    report = json.loads(capsys.readouterr().out)
    assert status == 0
    assert {row["engine"] for row in report["throughputs"]} == {"ort", "torch"}
    assert {(row["size"], row["batch"]) for row in report["device_parts"]} == {("128x64", 2)}
    assert report["circumstances"]["device of ort"]["copy_gb_per_s"] > 0
