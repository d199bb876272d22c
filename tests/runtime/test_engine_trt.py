"""Laws of the TensorRT engine, on a driver and a TensorRT that are not there (gpu_fakes): the bits of the CPU."""

import gc
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from gpu_fakes import INVALID, NO_DEVICE, FakeContext, FakeDriver, FakeTensorRT
from PIL import Image

from basic.runtime import cuda, describe
from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.cuda import Device
from basic.runtime.cuda_memory import DeviceArray
from basic.runtime.engine import EngineStatus, open_engine
from basic.runtime.engine_trt import TrtEngine
from basic.runtime.errors import EngineError
from basic.runtime.trt_build import EngineFiles


@pytest.fixture
def trt(tmp_path: Path) -> Iterator[TrtEngine]:
    driver = FakeDriver()
    module = FakeTensorRT(driver)
    device = Device(driver)
    engine = TrtEngine(module, device, EngineFiles(module, device, folder=tmp_path, progress=lambda text: None))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def bundle(float_bundle_path: Path) -> Bundle:
    return Bundle.open(float_bundle_path)


@pytest.fixture(scope="module")
def photo(data_folder: Path) -> Image.Image:
    return Image.open(data_folder / "kodim03.png").convert("RGB").crop((100, 100, 420, 290))


def psnr_db(one: Image.Image, other: Image.Image) -> float:
    return float(-10 * np.log10(np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2) / 255**2))


def test_files_cross_between_the_engines(trt: TrtEngine, bundle: Bundle, photo: Image.Image) -> None:
    on_gpu, on_cpu = Codec(bundle, trt), Codec.open(bundle, num_threads=1)
    for level in bundle.levels:
        from_gpu = on_gpu.encode(photo, level=level, quality=40)
        from_cpu = on_cpu.encode(photo, level=level, quality=40)
        for data in (from_gpu, from_cpu):
            assert np.array_equal(on_gpu.decode_latents(data), on_cpu.decode_latents(data))
        loss_db = psnr_db(photo, on_cpu.decode(from_cpu)) - psnr_db(photo, on_gpu.decode(from_gpu))
        assert loss_db < 0.02
    on_cpu.close()


def test_the_packaged_bundle_is_no_fault_of_a_gpu(
    trt: TrtEngine, bundle_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its int8 level is for processors: refused by name with the cure, told by doctor; the other levels work."""
    packaged = Bundle.open(bundle_path)
    codec = Codec(packaged, trt)
    assert codec.decode(codec.encode(photo, level=min(packaged.levels))).size == photo.size
    with pytest.raises(EngineError, match=r"level 7, analysis is in int8.*basic-export --int8 none -o gpu.bundle"):
        codec.encode(photo)
    status = EngineStatus("trt", "TensorRT", True, "fake", optional=True)
    monkeypatch.setattr(describe, "available_engines", lambda: [status])
    monkeypatch.setattr(describe.Codec, "open", lambda bundle, *options, **named: nullcontext(Codec(bundle, trt)))
    (row,) = [row for row in describe.doctor(bundle_path) if row["check"] == "exact with trt"]
    assert row["ok"] is None and "at 2 levels of 3" in row["detail"] and "--int8 none" in row["detail"]


def test_states_stay_on_the_device_and_the_rest_comes_down_small(trt: TrtEngine, bundle: Bundle) -> None:
    level = max(bundle.levels)
    state = trt.open(bundle, level, "hyper").run({"z_hat": np.zeros((1, bundle.hyper_channels, 1, 2), np.float32)})[
        "state"
    ]
    assert isinstance(state, DeviceArray)
    found = trt.open(bundle, level, "context_g0").run({"state": state})
    assert found["means"].dtype == np.int16 and found["indexes"].dtype == np.uint8
    assert np.asarray(state).shape == state.shape


def test_runs_of_one_shape_become_a_graph_and_another_shape_starts_again(trt: TrtEngine, bundle: Bundle) -> None:
    driver: FakeDriver = trt.device.api
    session = trt.open(bundle, min(bundle.levels), "hyper")
    expected = open_engine("oracle").open(bundle, min(bundle.levels), "hyper")
    rng = np.random.default_rng(2)
    before = driver.calls.get("cuGraphLaunch", 0)
    for width in (2, 2, 2, 2, 3, 2):
        z_hat = rng.integers(-9, 9, (1, bundle.hyper_channels, 2, width)).astype(np.float32)
        assert np.array_equal(session.run({"z_hat": z_hat})["state"], expected.run({"z_hat": z_hat})["state"])
    assert driver.calls["cuGraphLaunch"] - before == 3  # runs 2, 3 and 4


def test_batches_beyond_the_profile_run_in_pieces(trt: TrtEngine, bundle: Bundle) -> None:
    level, count = min(bundle.levels), trt.files.classes[0].max_batch + 3
    z_hat = np.random.default_rng(3).integers(-9, 9, (count, bundle.hyper_channels, 1, 1)).astype(np.float32)
    expected = open_engine("oracle").open(bundle, level, "hyper").run({"z_hat": z_hat})["state"]
    state = trt.open(bundle, level, "hyper").run({"z_hat": z_hat})["state"]
    assert np.array_equal(np.asarray(state), expected)
    means = trt.open(bundle, level, "context_g0").run({"state": state})["means"]
    oracle = open_engine("oracle").open(bundle, level, "context_g0").run({"state": expected})["means"]
    assert np.array_equal(means, oracle)


def test_memory_of_a_batch_that_fails_is_given_back_when_nothing_uses_it(
    trt: TrtEngine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver: FakeDriver = trt.device.api
    session = trt.open(bundle, 0, "hyper")
    runs = iter((True, False))
    inner = FakeContext.execute_async_v3
    monkeypatch.setattr(FakeContext, "execute_async_v3", lambda self, stream: next(runs) and inner(self, stream))
    size = (trt.files.classes[0].max_batch + 1, bundle.hyper_channels, 1, 1)
    with pytest.raises(EngineError, match="does not run"):
        session.run({"z_hat": np.zeros(size, np.float32)})
    assert not driver.queue, "copies are still to come, and their memory is another's by now"


def test_an_engine_that_is_not_exact_is_refused_by_name(trt: TrtEngine, bundle: Bundle) -> None:
    trt.module.damage = lambda name, array: array + np.uint8(1) if name == "indexes" else array
    with pytest.raises(EngineError, match=r"engine trt: context_g0.* of level 0"):
        trt.open(bundle, 0, "hyper")
    with pytest.raises(EngineError, match="conformance"):
        trt.open(bundle, 0, "context_g0")
    trt.open(bundle, 0, "analysis")  # transforms need not be exact


def test_wrong_shapes_and_sizes_say_what_was_expected(trt: TrtEngine, bundle: Bundle) -> None:
    session = trt.open(bundle, 0, "analysis")
    gain = bundle.gain(3)
    with pytest.raises(EngineError, match=r"level 0, part analysis.*expected input x of shape"):
        session.run({"x": np.zeros((1, 4, 64, 64), np.uint8), "gain": gain})
    with pytest.raises(EngineError, match="expected input gain"):
        session.run({"x": np.zeros((1, 3, 64, 64), np.uint8)})
    with pytest.raises(EngineError, match="smaller window_size"):
        session.run({"x": np.zeros((1, 3, 64, 8192), np.uint8), "gain": gain})


def test_float_images_are_taken_too(trt: TrtEngine, bundle: Bundle) -> None:
    session, gain = trt.open(bundle, 0, "analysis"), bundle.gain(3)
    x = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 64)).astype(np.uint8)
    as_floats = session.run({"x": x.astype(np.float32) / np.float32(255), "gain": gain})
    assert np.array_equal(as_floats["y"], session.run({"x": x, "gain": gain})["y"])


def test_what_lies_in_pinned_memory_is_not_copied(trt: TrtEngine, bundle: Bundle) -> None:
    driver: FakeDriver = trt.device.api
    session, gain = trt.open(bundle, 0, "analysis"), bundle.gain(3)
    x = session.empty((2, 3, 64, 64), np.uint8)
    x[:] = np.random.default_rng(6).integers(0, 256, x.shape)
    uploads: list[int] = []
    inner = driver.cuMemcpyHtoDAsync
    driver.cuMemcpyHtoDAsync = lambda to, source, *rest: (uploads.append(source), inner(to, source, *rest))[1]
    found = session.run({"x": x, "gain": gain})
    assert x.ctypes.data in uploads
    uploads.clear()
    again = session.run({"x": np.array(x), "gain": gain})
    assert x.ctypes.data not in uploads and np.array_equal(found["y"], again["y"])


def test_times_are_those_of_events(trt: TrtEngine, bundle: Bundle) -> None:
    session = trt.open(bundle, 0, "hyper")
    times = session.time_ms({"z_hat": np.zeros((1, bundle.hyper_channels, 1, 1), np.float32)}, repeats=5)
    assert times == [0.25] * 5


@pytest.mark.parametrize(("beyond", "num_pieces"), [(0, 1), (1, 2), (16, 2), (19, 3)])
def test_times_of_a_batch_beyond_the_profile_are_those_of_its_pieces(
    trt: TrtEngine, bundle: Bundle, beyond: int, num_pieces: int
) -> None:
    z_hat = np.zeros((trt.files.classes[0].max_batch + beyond, bundle.hyper_channels, 1, 1), np.float32)
    assert trt.open(bundle, 0, "hyper").time_ms({"z_hat": z_hat}, repeats=3) == [0.25 * num_pieces] * 3


def test_memory_is_used_again_and_freed_at_the_end(tmp_path: Path, bundle: Bundle) -> None:
    driver = FakeDriver()
    module, device = FakeTensorRT(driver), Device(driver)
    engine = TrtEngine(module, device, EngineFiles(module, device, folder=tmp_path, progress=lambda text: None))
    session = engine.open(bundle, 0, "hyper")
    z_hat = np.zeros((1, bundle.hyper_channels, 2, 2), np.float32)
    session.run({"z_hat": z_hat})
    taken = driver.calls["cuMemAlloc"]
    for _ in range(5):
        session.run({"z_hat": z_hat})
    assert driver.calls["cuMemAlloc"] == taken
    del session
    gc.collect()
    engine.close()
    assert not driver.live and not driver.contexts
    with pytest.raises(EngineError, match="closed"):
        engine.open(bundle, 0, "synthesis")


def test_a_network_that_cannot_be_recorded_runs_as_it_is(trt: TrtEngine, bundle: Bundle) -> None:
    driver: FakeDriver = trt.device.api
    session = trt.open(bundle, 0, "hyper")
    inner = driver.cuStreamEndCapture
    driver.cuStreamEndCapture = lambda stream: (inner(stream), (INVALID, None))[1]
    z_hat = np.random.default_rng(5).integers(-9, 9, (1, bundle.hyper_channels, 3, 3)).astype(np.float32)
    before = driver.calls.get("cuGraphLaunch", 0)
    states = [np.asarray(session.run({"z_hat": z_hat})["state"]) for _ in range(4)]
    assert all(np.array_equal(states[0], state) for state in states)
    assert driver.calls.get("cuGraphLaunch", 0) == before


def test_a_closed_engines_sessions_say_so(tmp_path: Path, bundle: Bundle) -> None:
    driver = FakeDriver()
    module, device = FakeTensorRT(driver), Device(driver)
    engine = TrtEngine(module, device, EngineFiles(module, device, folder=tmp_path, progress=lambda text: None))
    session = engine.open(bundle, 0, "hyper")
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        session.run({"z_hat": np.zeros((1, bundle.hyper_channels, 1, 1), np.float32)})


def test_a_driver_that_is_too_old_is_an_error_and_not_the_end() -> None:
    driver = FakeDriver()
    module, device = FakeTensorRT(driver), Device(driver)
    module.is_too_new = True
    with pytest.raises(EngineError, match=r"failure with error: 35; the driver knows CUDA 12.4.*update the driver"):
        TrtEngine(module, device, EngineFiles(module, device))
    device.close()


def test_an_embedding_programs_context_is_used_and_left_as_it_was() -> None:
    driver = FakeDriver(current=42)
    device = Device(driver)
    with device.active():
        assert driver.contexts == [42, 42]
    device.close()
    assert driver.contexts == [42]
    assert "cuDevicePrimaryCtxRetain" not in driver.calls


def test_without_a_driver_or_a_gpu_the_cure_is_told() -> None:
    with pytest.raises(EngineError, match=r"CUDA_ERROR_NO_DEVICE.*nvidia-smi"):
        cuda.initialise(FakeDriver(status=NO_DEVICE))

    class NoLibrary:
        def cuInit(self, flags: int) -> None:
            raise RuntimeError("libcuda.so.1 not found\nlong story")

    with pytest.raises(EngineError, match=r"libcuda.so.1 not found\).*install the driver"):
        cuda.initialise(NoLibrary())


def test_a_failed_call_names_its_error() -> None:
    device = Device(FakeDriver())
    with pytest.raises(EngineError, match="CUDA_ERROR_INVALID_VALUE: invalid argument"):
        device.take(1 << 40)
    device.close()
