"""Laws of engines: unknown or missing ones say so; onnxruntime runs every part as the manifest says."""

import sys
from pathlib import Path

import numpy as np
import pytest

from basic.runtime import engine
from basic.runtime.bundle import Bundle
from basic.runtime.errors import EngineError


def test_unknown_engines_and_thread_numbers_are_refused() -> None:
    with pytest.raises(EngineError, match="expected one of ort"):
        engine.open_engine("nothing")
    with pytest.raises(ValueError, match="num_threads"):
        engine.open_engine("ort", num_threads=0)


def test_a_missing_library_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="pip install onnxruntime"):
        engine.open_engine("ort")
    (status,) = [s for s in engine.available_engines() if s.name == "ort"]
    assert not status.available and "pip install" in status.detail


def test_available_engines_tell_their_version() -> None:
    (status,) = [s for s in engine.available_engines() if s.name == "ort"]
    assert status.available and "onnxruntime 1" in status.detail


def test_packages_that_share_a_name_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in ("onnxruntime", "onnxruntime-gpu"):
            return "1.20"
        raise engine.metadata.PackageNotFoundError

    monkeypatch.setattr(engine.metadata, "version", version)
    assert engine.onnxruntime_packages() == {"onnxruntime": "1.20", "onnxruntime-gpu": "1.20"}


def arrays_for(ports: tuple, batch: int) -> dict[str, np.ndarray]:
    """Random inputs of one part for an image of 128 x 64 pixels."""
    rng = np.random.default_rng(7)
    size = {"x": (128, 64), "gain": (1, 1), "inverse_gain": (1, 1), "z_hat": (2, 1), "state": (4, 2)}
    found = {}
    for name, dtype, shape in ports:
        height, width = size.get(name, (8, 4))
        whole = (1 if "gain" in name else batch, shape[1], height, width)
        found[name] = rng.random(whole).astype(dtype)
    return found


@pytest.mark.parametrize("batch", [1, 2])
def test_parts_give_what_the_manifest_says(bundle_path: Path, batch: int) -> None:
    bundle = Bundle.open(bundle_path)
    level = bundle.levels[max(bundle.levels)]
    opened = engine.open_engine("ort", num_threads=1)
    for name, part in level.parts.items():
        inputs = arrays_for(part.inputs, batch)
        if "y_hat" in inputs and name != "synthesis":
            inputs["y_hat"] = np.zeros((batch, inputs["y_hat"].shape[1], 4, 2), np.float32)
        outputs = opened.open(bundle, level.level, name).run(inputs)
        assert [(port, str(outputs[port].dtype)) for port in outputs] == [(p, d) for p, d, _ in part.outputs]
        assert all(len(array) == batch for array in outputs.values())


def test_wrong_inputs_and_models_are_engine_errors(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(bundle_path)
    level = min(bundle.levels)
    opened = engine.open_engine("ort", num_threads=1)
    session = opened.open(bundle, level, "hyper")
    with pytest.raises(EngineError, match=f"level {level}, part hyper"):
        session.run({"z_hat": np.zeros((1, 2, 3), np.float32)})
    monkeypatch.setattr(bundle, "read", lambda file: b"not a network")
    with pytest.raises(EngineError, match="cannot open level"):
        opened.open(bundle, level, "analysis")


def test_instructions_that_are_not_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def simd() -> str:
        raise ValueError("BASIC_SIMD: expected what this processor has (scalar), got foo")

    monkeypatch.setattr(engine._ans, "simd", simd)
    with pytest.raises(EngineError, match="BASIC_SIMD: expected"):
        engine.open_engine()
