"""Laws of images on a GPU, on a driver that is not there: the pixels are the same, wrong arrays are refused by name."""

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fakes import FakeBundle, FakeEngine
from gpu_fakes import FakeDriver

from basic.runtime import networks
from basic.runtime.codec import Codec
from basic.runtime.cuda import Device
from basic.runtime.device_image import fetch, is_on_device, put
from basic.runtime.errors import ImageError
from basic.runtime.image import Picture

RNG = np.random.default_rng(4)


class OnGpu:
    """Another library's array, by `__cuda_array_interface__`; the fake device's memory is the host's."""

    def __init__(self, array: np.ndarray, stream: int | None = None, read_only: bool = False) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "data": (array.ctypes.data, read_only),
            "shape": array.shape,
            "typestr": array.dtype.str,
            "strides": array.strides,
            "stream": stream,
            "version": 3,
        }


class ByDlpack:
    """Another library's array, by DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.streams = array, list[int]()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int | None = None) -> Any:
        self.streams.append(stream)
        return self.array.__dlpack__()


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device(FakeDriver())
    yield made
    made.close()


@pytest.mark.parametrize("kind", [OnGpu, ByDlpack])
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3), (3, 30, 40), (4, 30, 40), (30, 40, 1)])
def test_pixels_arrive_as_they_are(device: Device, kind: type, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 256, shape, np.uint8)
    value = kind(array)
    assert is_on_device(value) and not is_on_device(array)
    expected = array.transpose(1, 2, 0) if shape[0] < 5 else array
    assert np.array_equal(fetch(value, device), expected)
    if kind is ByDlpack:
        assert value.streams == [int(device.stream.handle)]  # its library makes it ready for this stream


@pytest.mark.parametrize("kind", [OnGpu, ByDlpack])
def test_pictures_are_written_in_either_layout(device: Device, kind: type) -> None:
    planes, alpha = RNG.integers(0, 256, (3, 20, 30), np.uint8), RNG.integers(0, 256, (20, 30), np.uint8)
    for with_alpha in (False, True):
        bands = np.concatenate([planes, alpha[None]]) if with_alpha else planes
        picture = Picture(planes, alpha if with_alpha else None)
        for shape in (bands.shape, (20, 30, len(bands))):
            out = np.zeros(shape, np.uint8)
            put(picture, kind(out), device)
            assert np.array_equal(out if shape == bands.shape else out.transpose(2, 0, 1), bands)
    grey = np.zeros((20, 30), np.uint8)
    put(Picture(planes[:1]), kind(grey), device)
    assert np.array_equal(grey, planes[0])


def test_streams_wait_for_each_other(device: Device) -> None:
    driver: FakeDriver = device.api
    waits: list[tuple[int, int]] = []
    records: list[int] = []
    inner_wait, inner_record = driver.cuStreamWaitEvent, driver.cuEventRecord
    driver.cuStreamWaitEvent = lambda s, e, f: (waits.append((int(s), e)), inner_wait(s, e, f))[1]
    driver.cuEventRecord = lambda e, s: (records.append(int(s)), inner_record(e, s))[1]
    ours = int(device.stream.handle)
    fetch(OnGpu(np.zeros((4, 4), np.uint8)), device, stream=77)
    assert [s for s in records if s != ours] == [77] and [s for s, _ in waits] == [ours]
    fetch(OnGpu(np.zeros((4, 4), np.uint8), stream=55), device)
    fetch(OnGpu(np.zeros((4, 4), np.uint8)), device)
    assert [s for s in records if s != ours] == [77, 55, 1]  # what the array says, else the default stream
    waits.clear()
    put(Picture(np.zeros((1, 4, 4), np.uint8)), OnGpu(np.zeros((4, 4), np.uint8)), device, stream=77)
    assert [s for s, _ in waits] == [ours, 77]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 9, 7), np.uint8), r"expected \(H, W\)"),
        (np.zeros((8, 9, 3), np.uint8)[:, ::2], "C-contiguous"),
        (np.zeros((3, 8, 9), np.uint8).transpose(1, 2, 0), "C-contiguous"),
    ],
)
def test_other_arrays_are_refused(device: Device, array: np.ndarray, message: str) -> None:
    for value in (OnGpu(array), ByDlpack(array)):
        with pytest.raises(ImageError, match=message):
            fetch(value, device)


def test_outputs_are_checked(device: Device) -> None:
    picture = Picture(np.zeros((3, 4, 5), np.uint8))
    for out in (np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), np.uint8)):
        with pytest.raises(ImageError, match="out: expected uint8 of shape"):
            put(picture, OnGpu(out), device)
        with pytest.raises(ImageError, match="out: expected uint8 of shape"):
            put(picture, out, None)
    with pytest.raises(ImageError, match="read-only"):
        put(picture, OnGpu(np.zeros((4, 5, 3), np.uint8), read_only=True), device)


def test_the_codec_takes_and_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    monkeypatch.setattr(networks, "driver", lambda: driver)
    codec = Codec(FakeBundle(), FakeEngine())  # type: ignore[arg-type]
    pixels = np.kron(RNG.integers(0, 256, (5, 6, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    data = codec.encode(OnGpu(pixels), quality=50)
    assert data == codec.encode(pixels, quality=50)
    expected = np.asarray(codec.decode(data))
    for out in (OnGpu(np.zeros_like(pixels)), ByDlpack(np.zeros_like(pixels))):
        assert codec.decode(data, out=out) is out
        assert np.array_equal(out.array, expected)
    on_host = np.zeros_like(pixels)
    assert codec.decode(data, out=on_host) is on_host and np.array_equal(on_host, expected)
    gone = weakref.ref(codec._networks.opened[networks.OWN_DEVICE])
    codec.close()
    assert gone() is None or not driver.live
