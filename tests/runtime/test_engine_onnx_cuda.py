"""Laws of onnxruntime on a GPU, with an onnxruntime that is not there: no silent fall back, states stay on the GPU."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from basic.runtime import engine_onnx_cuda
from basic.runtime.bundle import Bundle
from basic.runtime.engine import available_engines, open_engine
from basic.runtime.engine_onnx_cuda import PROVIDER, OrtState
from basic.runtime.errors import EngineError


class Value:
    def __init__(self, array: np.ndarray, place: str) -> None:
        self.array, self.place = array, place

    def numpy(self) -> np.ndarray:
        return self.array

    def shape(self) -> list[int]:
        return list(self.array.shape)


class Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, str] = {}
        self.found: list[Value] = []

    def bind_cpu_input(self, name: str, value: np.ndarray) -> None:
        self.inputs[name] = value

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        assert value.place == "cuda"
        self.inputs[name] = value.array

    def bind_output(self, name: str, place: str, device: int = 0) -> None:
        self.outputs[name] = place

    def get_outputs(self) -> list[Value]:
        return self.found


def fake_ort(providers: list[str], used: list[str]) -> Any:
    """An onnxruntime whose sessions run the graph on the CPU and say that they used `used`."""
    import onnxruntime as real

    class Session:
        def __init__(self, model: bytes, options: Any, providers: list) -> None:
            self.asked = providers
            self.session = real.InferenceSession(model, providers=["CPUExecutionProvider"])
            self.get_outputs, self.io_binding = self.session.get_outputs, Binding

        def get_providers(self) -> list[str]:
            return used

        def run_with_iobinding(self, binding: Binding) -> None:
            values = self.session.run(list(binding.outputs), binding.inputs)
            binding.found = [Value(v, place) for v, place in zip(values, binding.outputs.values(), strict=True)]

    return SimpleNamespace(
        __version__="1.99",
        InferenceSession=Session,
        SessionOptions=real.SessionOptions,
        GraphOptimizationLevel=real.GraphOptimizationLevel,
        get_available_providers=lambda: providers,
    )


@pytest.fixture(scope="module")
def bundle(float_bundle_path: Path) -> Bundle:
    return Bundle.open(float_bundle_path)


def test_a_session_that_fell_back_to_the_cpu_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    ort = fake_ort([PROVIDER, "CPUExecutionProvider"], ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", ort)
    with pytest.raises(EngineError, match=r"level 0, part hyper with CPUExecutionProvider instead of CUDA"):
        open_engine("ort-cuda").open(bundle, 0, "hyper")


def test_a_build_without_cuda_names_the_cure() -> None:
    with pytest.raises(EngineError, match=r"is built without CUDAExecutionProvider; .*onnxruntime-gpu"):
        open_engine("ort-cuda")
    (status,) = [status for status in available_engines() if status.name == "ort-cuda"]
    assert status.optional and not status.available


def test_states_are_bound_to_the_gpu_and_the_rest_to_the_host(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    level = max(bundle.levels)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake_ort([PROVIDER], [PROVIDER, "CPUExecutionProvider"]))
    engine = open_engine("ort-cuda")
    session = engine.open(bundle, level, "hyper")
    (chosen,) = session._session.asked
    assert chosen[0] == PROVIDER and chosen[1]["use_tf32"] == "0"
    z_hat = np.ones((1, bundle.hyper_channels, 1, 1), np.float32)
    state = session.run({"z_hat": z_hat})["state"]
    assert isinstance(state, OrtState) and state.shape == np.asarray(state).shape
    found = engine.open(bundle, level, "context_g0").run({"state": state})
    monkeypatch.undo()
    oracle = open_engine("oracle")
    expected = oracle.open(bundle, level, "context_g0").run(oracle.open(bundle, level, "hyper").run({"z_hat": z_hat}))
    assert all(np.array_equal(found[name], expected[name]) for name in ("means", "indexes"))


def test_a_failed_run_names_the_part(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", fake_ort([PROVIDER], [PROVIDER]))
    session = engine_onnx_cuda.start(None).open(bundle, 0, "hyper")
    with pytest.raises(EngineError, match="level 0, part hyper"):
        session.run({"z_hat": np.zeros((1, 2, 3), np.float32)})
