"""Laws of the int8 transforms: close to the float ones, bounded on any input, exactly the same cost in products."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from basic.export import cli, graphs, int8, verify
from basic.export.slim import Cutter
from basic.export.to_onnx import Graph, count_macs_per_pixel
from basic.runtime.bundle import Bundle
from basic.runtime.codec import Codec
from basic.runtime.engine import refuse_int8
from basic.runtime.errors import EngineError
from basic.training.checkpoint import SHIPPED, load_checkpoint
from basic.training.model import Model
from basic.training.nodes import Widths


@pytest.fixture(scope="module")
def model() -> Model:
    return load_checkpoint(SHIPPED).model


def run(graph: Graph, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph.serialize(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def pairs(model: Model, widths: Widths) -> list[tuple[str, Graph, Graph, dict[str, np.ndarray]]]:
    """(name, float graph, int8 graph calibrated as export does, what it reads for a photograph at quality 48)."""
    images = verify.load_images(None)
    made = int8.int8_transforms(
        model, widths, int8.transform_ranges(model, widths, images, int8.wide_transforms(widths, "transforms"))
    )
    feeds = dict(zip(("analysis", "synthesis"), int8.transform_feeds(model, widths, images[1:]), strict=True))
    cut = Cutter(model, widths)
    plain = {"analysis": graphs.analysis_graph(cut), "synthesis": graphs.synthesis_graph(cut)}
    return [(name, plain[name], made[name], feeds[name][2]) for name in made]


def skipping(model: Model) -> Widths:
    """Full widths but for one block half of each kind, which are left out."""
    return model.arch.full() | {"g_s.block8.1.inner": 0, "g_s.block8.2.ff": 0, "g_a.block16.0.inner": 0}


@pytest.mark.parametrize("table", ["full", "skipping"])
def test_it_computes_what_the_float_graph_computes(model: Model, table: str) -> None:
    widths = model.arch.full() if table == "full" else skipping(model)
    found = pairs(model, widths)
    assert [name for name, *_ in found] == ["analysis", "synthesis"]
    for name, plain, made, feed in found:
        want, got = run(plain, feed), run(made, feed)
        for output, value in want.items():
            error = float(np.sqrt(np.mean(np.square(got[output] - value))))
            assert got[output].shape == value.shape
            assert error < (0.005 if output == "x_hat" else 0.1), (name, output)
        stride = 1 if name == "analysis" else 16
        assert count_macs_per_pixel(made.serialize(), stride) == count_macs_per_pixel(plain.serialize(), stride)


def test_any_batch_and_size(model: Model) -> None:
    found = {name: (made, feed) for name, _, made, feed in pairs(model, model.arch.full())}
    made, feed = found["synthesis"]
    y_hat = np.random.default_rng(0).normal(size=(3, model.arch.latent_channels, 4, 8)).astype(np.float32)
    whole = run(made, {"y_hat": y_hat, "inverse_gain": feed["inverse_gain"]})["x_hat"]
    assert whole.shape == (3, 3, 64, 128)
    alone = run(made, {"y_hat": y_hat[1:2], "inverse_gain": feed["inverse_gain"]})["x_hat"]
    np.testing.assert_array_equal(whole[1:2], alone)


def test_weights_leave_room_in_sixteen_bits(model: Model) -> None:
    """Neighbouring products of 8-bit activations and weights fit int16 together, where AVX2 adds them."""
    for _, _, made, _ in pairs(model, model.arch.full()):
        weights = [onnx.numpy_helper.to_array(t) for t in made.initializers if t.data_type == onnx.TensorProto.INT8]
        assert len(weights) >= 35
        dense = [w.T if w.ndim == 2 else w.reshape(len(w), -1) for w in weights if w.ndim == 2 or w.shape[1] > 1]
        sums = [np.abs(w[:, :-1].astype(np.int64)) + np.abs(w[:, 1:].astype(np.int64)) for w in dense]
        assert max(int(row.max()) for row in sums) * 255 < 1 << 15
        assert min(int(np.abs(w.astype(np.int64)).max()) for w in dense) > 63  # and yet finer than 7 bits


def test_filters_of_like_values_are_rounded_together() -> None:
    """The error expected where neighbours are alike is below that of the nearest integers, and never above it."""
    rng = np.random.default_rng(0)
    taps = rng.normal(size=(500, 1, 3, 3)) * rng.lognormal(size=(500, 1, 1, 1))
    taps[0] = 0.0
    values, scales = int8._int8_depthwise(taps)
    assert values.shape == taps.shape and int(np.abs(values.astype(int)).max()) == 127
    least = np.maximum(np.abs(taps).max(axis=(1, 2, 3), keepdims=True) / 127, 1e-12)
    likeness = int8.NEIGHBOURS + (1.0 - int8.NEIGHBOURS) * np.eye(9)

    def errors(rounded: np.ndarray) -> np.ndarray:
        off = (rounded - taps).reshape(len(taps), 9)
        return np.asarray((off @ likeness * off).sum(axis=1))

    found, nearest = (
        errors(values * scales.astype(np.float64)[:, None, None, None]),
        errors(np.rint(taps / least) * least),
    )
    assert np.all(found <= nearest * 1.001 + 1e-12)
    assert found.sum() < 0.5 * nearest.sum()


def test_narrow_levels_stay_in_float(model: Model) -> None:
    assert int8.wide_transforms(model.arch.lightest(), "transforms") == []


def test_a_bad_int8_transform_is_refused() -> None:
    rng = np.random.default_rng(0)
    image, want = rng.random((1, 3, 64, 64)), rng.random((1, 3, 64, 64))
    assert verify.compare_int8("synthesis", "x_hat", want, want, image).loss_db == 0.0
    with pytest.raises(ValueError, match="--int8 none"):
        verify.compare_int8("synthesis", "x_hat", want + 0.5, want, image)
    with pytest.raises(ValueError, match="--int8 none"):
        verify.compare_int8("analysis", "y", want + 0.2, want, image)


def test_a_transform_that_loses_too_much_stays_in_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "INT8_LOSS_DB", -100.0)
    path = tmp_path / "full.bundle"
    images = str(Path(cli.__file__).parent / "samples")  # given anew: what is kept beside the checkpoint is decided
    assert cli.main([str(SHIPPED), "-o", str(path), "--levels", "1", "--int8", "synthesis", "--images", images]) == 0
    assert Bundle.open(path).level(0).parts["synthesis"].precision == "float"
    assert "stays in float" in " ".join(capsys.readouterr().err.split())


def test_a_bundle_says_what_is_int8_and_gpu_engines_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("INT8_LATENT_RMS", "INT8_LOSS_DB"):  # whether the shipped weights bear it is not asked here
        monkeypatch.setattr(verify, limit, 1.0)
    path = tmp_path / "full.bundle"
    assert cli.main([str(SHIPPED), "-o", str(path), "--levels", "1", "--int8", "transforms"]) == 0
    bundle = Bundle.open(path)
    kinds = {name: part.precision for name, part in bundle.level(0).parts.items()}
    assert {kinds.pop("analysis"), kinds.pop("synthesis")} == {"int8"} and set(kinds.values()) == {"exact"}
    refuse_int8(bundle, 0, "hyper", "TensorRT")
    with pytest.raises(EngineError, match="--int8 none"):
        refuse_int8(bundle, 0, "synthesis", "TensorRT")
    pixels = np.random.default_rng(1).integers(0, 2, (192, 192, 3), np.uint8) * 255  # far from any photograph
    with Codec.open(path) as codec:
        assert codec.decode(codec.encode(pixels, quality=63)).size == (192, 192)


def test_a_picture_of_noise_keeps_numbers_in_bounds(model: Model) -> None:
    """Without the clamp of a block's product this grew to 1e12 in seven blocks."""
    x = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (1, 3, 256, 256)).astype(np.float32))
    with torch.no_grad():
        assert float(model.g_a(x, model.arch.full()).abs().max()) < 1e5


def test_drawings_widen_ranges_by_half_at_most_and_only_where_they_reach() -> None:
    def ends(low: float, high: float) -> tuple[int8.Range, int8.Range]:
        return int8.Range(np.array([low]), np.array([high])), int8.Range(np.array([low]), np.array([high]))

    seen = {"a.value": ends(-1.0, 2.0), "a.merge": ends(-1.0, 2.0)}
    further = {"a.value": ends(-0.5, 9.0), "a.merge": ends(-9.0, 9.0)}
    made = int8.widened(seen, further, ("value",))
    assert made["a.merge"] == seen["a.merge"]
    for end in made["a.value"]:
        assert (end.low[0], end.high[0]) == (-1.0, 2.0 * int8.WIDENED)


def test_small_pictures_are_filled_as_the_codec_fills_them() -> None:
    x = torch.rand(1, 3, 96, 130)
    found = int8.small_pictures([x, x])
    assert [tuple(p.shape) for p in found] == [(1, 3, 64, 64)] * (2 * len(int8.SMALL_SIDES))
    for side, picture in zip(int8.SMALL_SIDES, found, strict=False):
        assert torch.equal(picture[..., side:, :], picture[..., side - 1 : side, :].expand(1, 3, 64 - side, 64))
        assert torch.equal(picture[..., side:], picture[..., side - 1 : side].expand(1, 3, 64, 64 - side))
