"""Laws of engine files: what they depend on, when they are stale and why, what a build is asked for."""

import json
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from gpu_fakes import FakeDriver, FakeTensorRT

from basic.runtime import trt_build
from basic.runtime.bundle import Bundle
from basic.runtime.cuda import Device
from basic.runtime.errors import EngineError
from basic.runtime.trt_build import SIZE_CLASSES, EngineFiles, EngineKey, image_size, port_shape, profile_shapes
from basic.runtime.trt_graph import Form


@pytest.fixture(scope="module")
def bundle(float_bundle_path: Path) -> Bundle:
    return Bundle.open(float_bundle_path)


def files(folder: Path, version: str = "8.6.1", gpu: str = "Fake GPU 100", **options: object) -> EngineFiles:
    driver = FakeDriver(gpu)
    said: list[str] = []
    made = EngineFiles(FakeTensorRT(driver, version), Device(driver), folder=folder, progress=said.append, **options)
    made.said = said
    return made


def test_a_file_is_built_once_and_read_afterwards(bundle: Bundle, tmp_path: Path) -> None:
    first = files(tmp_path)
    assert not first.is_fresh(bundle, 0, "hyper")
    data = first.load(bundle, 0, "hyper")
    assert "there is none yet" in first.said[0] and "built level 0, hyper" in first.said[1]
    second = files(tmp_path)
    assert second.is_fresh(bundle, 0, "hyper")
    assert second.load(bundle, 0, "hyper") == data
    assert not second.said and not second.trt.configs


def test_a_stale_file_is_built_again_and_says_why(bundle: Bundle, tmp_path: Path) -> None:
    files(tmp_path).load(bundle, 0, "hyper")
    other = files(tmp_path, version="10.3.0")
    other.load(bundle, 0, "hyper")
    assert "tensorrt was '8.6.1', is '10.3.0'" in other.said[0]
    smaller = files(tmp_path, version="10.3.0", classes=SIZE_CLASSES[:1])
    smaller.load(bundle, 0, "hyper")
    assert "other shapes" in smaller.said[0]
    path = smaller.path(bundle, 0, "hyper")
    path.write_bytes(path.read_bytes()[:-1])
    again = files(tmp_path, version="10.3.0", classes=SIZE_CLASSES[:1])
    again.load(bundle, 0, "hyper")
    assert "damaged" in again.said[0]
    path.with_suffix(".json").write_text("{")
    assert "sidecar cannot be read" in str(
        trt_build.stale_because(again.key(bundle, 0, "hyper"), path.with_suffix(".json"), path)
    )


def test_another_gpu_has_files_of_its_own(bundle: Bundle, tmp_path: Path) -> None:
    one, other = files(tmp_path), files(tmp_path, gpu="NVIDIA H100 80GB HBM3")
    assert one.path(bundle, 0, "hyper") != other.path(bundle, 0, "hyper")
    assert other.path(bundle, 0, "analysis").name == "level_0.analysis.fp16.nvidia-h100-80gb-hbm3.engine"


def test_a_key_changes_with_everything_that_it_holds(bundle: Bundle, tmp_path: Path) -> None:
    key = files(tmp_path).key(bundle, 0, "analysis")
    others: dict[str, object] = {"rewriting": 99, "as_bytes": False, "shapes": (("x", ((1,), (1,), (2,))),)}
    digests = {replace(key, **{f.name: others.get(f.name, "other")}).digest for f in fields(EngineKey)}
    assert len(digests | {key.digest}) == len(fields(EngineKey)) + 1


def test_sidecars_hold_the_key_and_how_it_was_built(bundle: Bundle, tmp_path: Path) -> None:
    made = files(tmp_path)
    made.load(bundle, 0, "synthesis")
    sidecar = json.loads(made.path(bundle, 0, "synthesis").with_suffix(".json").read_text())
    assert sidecar["onnx_sha256"] == bundle.level(0).parts["synthesis"].sha256
    assert (sidecar["gpu"], sidecar["compute_capability"], sidecar["precision"]) == ("Fake GPU 100", "9.0", "fp16")
    assert sidecar["num_bytes"] == made.path(bundle, 0, "synthesis").stat().st_size


def test_a_build_asks_for_the_right_precision(bundle: Bundle, tmp_path: Path) -> None:
    made = files(tmp_path)
    flags = made.trt.BuilderFlag
    for part, expected in (("analysis", [flags.FP16]), ("hyper", []), ("context_g0", []), ("synthesis", [flags.FP16])):
        made.load(bundle, 0, part)
        config = made.trt.configs[-1]
        assert config.set_flags == expected, part
        assert flags.TF32 in config.cleared
        assert config.tactics == 1 << 3 | 1 << 4
        assert len(config.profiles) == len(SIZE_CLASSES)


def test_without_tactics_of_its_own_all_that_are_here_are_tried(bundle: Bundle, tmp_path: Path) -> None:
    made = files(tmp_path)
    made.trt.lacks_tactics = True
    made.load(bundle, 0, "hyper")
    assert [config.tactics for config in made.trt.configs] == [1 << 3 | 1 << 4, 0]
    made.trt.Builder = lambda log: SimpleNamespace(
        **vars(FakeTensorRT(FakeDriver(current=1)).Builder(log)) | {"build_serialized_network": lambda *given: None}
    )
    with pytest.raises(EngineError, match="level 0, synthesis: the build failed"):
        made.load(bundle, 0, "synthesis")


def test_where_networks_can_be_strongly_typed_they_are(bundle: Bundle, tmp_path: Path) -> None:
    made = files(tmp_path)
    made.trt.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    made.load(bundle, 0, "analysis")
    assert made.trt.configs[-1].set_flags == []
    assert trt_build.network_flags(made.trt) == 2
    made.trt.NetworkDefinitionCreationFlag = SimpleNamespace()
    made.trt.BuilderFlag = SimpleNamespace(TF32=7)  # as in 11
    assert trt_build.network_flags(made.trt) == 0 and trt_build.is_strongly_typed(made.trt)


def test_timings_are_kept_between_builds(bundle: Bundle, tmp_path: Path) -> None:
    files(tmp_path).load(bundle, 0, "hyper")
    second = files(tmp_path)
    second.load(bundle, 0, "synthesis")
    assert second.trt.configs[-1].cache == b"t"


def test_a_refused_network_says_what_tensorrt_said(bundle: Bundle, tmp_path: Path) -> None:
    made = files(tmp_path)
    made.trt.breaks = "no such operator"
    with pytest.raises(EngineError, match=r"level 0, hyper.*no such operator.*logged: no such operator"):
        made.load(bundle, 0, "hyper")
    assert not list(tmp_path.iterdir())


def test_the_cache_lies_beside_the_bundle_or_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "some.bundle"
    monkeypatch.delenv(trt_build.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = trt_build.cache_folder(bundle)
    assert found.parent == tmp_path / "cache" / "basic" / "engines" and found.name.startswith("some-")
    trt_build.beside_folder(bundle).mkdir()
    assert trt_build.cache_folder(bundle) == tmp_path / "some.bundle.engines"
    monkeypatch.setenv(trt_build.CACHE_VARIABLE, str(tmp_path / "given"))
    assert trt_build.cache_folder(bundle) == tmp_path / "given"


def test_shapes_follow_the_manifest(bundle: Bundle) -> None:
    for part in bundle.level(max(bundle.levels)).parts.values():
        shapes = {name: port_shape(dims, 3, 128, 192) for name, _, dims in part.inputs}
        assert image_size(part, shapes) == (3, 128, 192)
        for _, (least, best, most) in profile_shapes(part):
            assert all(a <= b <= c for a, b, c in zip(least, best, most, strict=True))
    with pytest.raises(EngineError, match="expected batch, height or width"):
        port_shape(("depth",), 1, 64, 64)


@pytest.mark.parametrize("form", [Form(), Form(half=False), Form(as_bytes=False), Form(False, False)])
def test_rewritten_graphs_are_valid_and_hold_no_unknown_type(bundle: Bundle, form: Form) -> None:
    for part in bundle.level(max(bundle.levels)).parts.values():
        model = onnx.load_from_string(trt_build.rewrite(bundle.read(part.file), part.name, form))
        onnx.checker.check_model(model, full_check=True)
        types = {np.dtype(onnx.helper.tensor_dtype_to_np_dtype(t.data_type)) for t in model.graph.initializer}
        assert np.dtype(np.int16) not in types
        halves = any(kind == np.float16 for kind in types)
        assert halves == (form.half and part.name in ("analysis", "synthesis"))
