"""Laws of a GPU that several threads share, on a driver that is not there (gpu_fakes)."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from gpu_fakes import FakeDriver

from basic.runtime.cuda import Device

WRONG_WITHIN_S = 0.3
"""What must not happen is waited for this long: where it can happen, it does at once."""


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device(FakeDriver())
    yield made
    made.close()


def started(work: Callable[[], object]) -> tuple[threading.Thread, threading.Event]:
    """A thread that does the work, and what it sets when it has done it."""
    is_done = threading.Event()
    thread = threading.Thread(target=lambda: (work(), is_done.set()), daemon=True)
    thread.start()
    return thread, is_done


def test_work_happens_in_order_whichever_threads_wait(device: Device) -> None:
    """A law of the fake: an output must not come down while another thread's wait still runs the network."""
    order: list[str] = []
    others: list[threading.Thread] = []

    def network() -> None:
        thread, is_done = started(lambda: wait(device))
        others.append(thread)
        is_done.wait(WRONG_WITHIN_S)
        order.append("network")

    driver: FakeDriver = device.api
    driver.enqueue(network)
    driver.enqueue(lambda: order.append("download"))
    wait(device)
    others[0].join(20)
    assert order == ["network", "download"]


def test_a_thread_that_records_takes_nothing_of_another_thread(device: Device) -> None:
    pixels = np.arange(256, dtype=np.uint8)
    array, found = device.empty(pixels.shape, np.uint8), device.pinned(pixels.shape, np.uint8)
    others: list[threading.Thread] = []

    def copy() -> None:
        with device.active():
            device.stream.upload(array.address, pixels)
            device.stream.download(found, array.address)
            device.stream.wait()

    def work() -> None:
        thread, is_done = started(copy)
        others.append(thread)
        assert not is_done.wait(WRONG_WITHIN_S)

    with device.active():
        graph = device.stream.capture(work)
    others[0].join(20)
    assert np.array_equal(found, pixels)
    driver: FakeDriver = device.api
    assert driver.handles[graph.handle] == []


def test_a_thread_may_wait_while_another_records(device: Device) -> None:
    driver: FakeDriver = device.api
    happened: list[int] = []
    with device.active():
        driver.enqueue(lambda: happened.append(1))
        done = device.stream.record()

        def work() -> None:
            _, is_done = started(done.wait)
            assert is_done.wait(20) and happened == [1]

        device.stream.capture(work)


def test_an_event_is_waited_for_and_no_more(device: Device) -> None:
    driver: FakeDriver = device.api
    happened: list[int] = []
    with device.active():
        driver.enqueue(lambda: happened.append(1))
        done = device.stream.record()
        driver.enqueue(lambda: happened.append(2))
        done.wait()
        assert happened == [1]
        device.stream.wait()
        assert happened == [1, 2]


def test_each_thread_has_its_own_context(device: Device) -> None:
    with device.active():
        errors: list[Exception] = []

        def without_a_context() -> None:
            with pytest.raises(AssertionError, match="no context is current"):
                device.stream.record()
            errors.append(AssertionError())

        thread, _ = started(without_a_context)
        thread.join(20)
    assert errors


def test_garbage_that_holds_memory_may_be_collected_anywhere() -> None:
    """Also inside the device's own calls: giving back must not wait for what the same thread holds."""
    device = Device(FakeDriver())
    blocks = [device.take(600)]
    address = blocks[0].address

    def collect() -> None:
        with device._lock:
            blocks.clear()

    _, is_done = started(collect)
    assert is_done.wait(20)
    assert device.take(600).address == address
    device.close()


def wait(device: Device) -> None:
    with device.active():
        device.stream.wait()
