"""Laws of what exactness costs: both sides write real files, the float side with other networks and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from basic.benchmarks import exact_cost, exactness
from basic.benchmarks.cli import main as bench_main
from basic.benchmarks.images import Photo
from basic.benchmarks.readme_table import fill_page
from basic.benchmarks.results import BenchError
from basic.runtime import _ans
from basic.runtime.bundle import Bundle
from basic.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def photo(data_folder: Path) -> Photo:
    with Image.open(data_folder / "kodim23.png") as image:
        return Photo("crop.png", np.asarray(image.crop((200, 100, 456, 292))))


@pytest.fixture(scope="module")
def pair(bundle_path: Path) -> exact_cost.Pair:
    return exact_cost.open_pair(Bundle.open(bundle_path), None, [0], num_threads=1)


def silent(text: str) -> None:
    pass


def test_bytes_are_those_of_files_that_decode(pair: exact_cost.Pair, photo: Photo) -> None:
    (row,) = exact_cost.rate_rows(pair, [0], [32], [photo], silent)
    image = Image.fromarray(photo.pixels)
    exact, floating = (codec.encode(image, level=0, quality=32) for codec in (pair.exact, pair.floating))
    assert row.exact_bpp == 8 * len(exact) / photo.num_pixels
    assert row.float_bpp == 8 * len(floating) / photo.num_pixels
    assert row.cost_percent == pytest.approx(100 * (len(exact) / len(floating) - 1))
    assert abs(row.cost_percent) < 2 and abs(row.exact_psnr_db - row.float_psnr_db) < 0.1
    assert exact != floating
    latent = pair.floating.decode_latents(floating)
    assert np.mean(latent != pair.exact.decode_latents(exact)) < 0.5  # other means, hence other latents, though near
    np.testing.assert_array_equal(latent, pair.floating.decode_latents(floating))


def test_only_the_entropy_networks_are_float(pair: exact_cost.Pair) -> None:
    bundle = pair.exact.bundle
    engine = exact_cost.FloatEngine(pair.model, exact_cost.start_onnx(1))
    z_hat = np.zeros((1, bundle.hyper_channels, 1, 1), np.float32)
    z_hat[0, 0] = 3
    state = engine.open(bundle, 0, "hyper").run({"z_hat": z_hat})["state"]
    exact = exact_cost.start_onnx(1).open(bundle, 0, "hyper").run({"z_hat": z_hat})["state"]
    assert state.shape == exact.shape and not np.array_equal(state, np.rint(state))
    y_hat = np.ones((1, bundle.latent_channels, 4, 4), np.float32)
    feed = {"y_hat": y_hat, "inverse_gain": bundle.inverse_gain(32)}
    one, other = (e.open(bundle, 0, "synthesis").run(feed)["x_hat"] for e in (engine, exact_cost.start_onnx(1)))
    np.testing.assert_array_equal(one, other)


def test_times_and_pixels_are_of_the_same_file(pair: exact_cost.Pair, photo: Photo) -> None:
    (row,) = exact_cost.time_rows(pair, [0], photo, 32, 3, silent)
    assert row.num_samples == 3
    assert 0 < row.exact_entropy_cpu_ms < row.exact_decode_cpu_ms
    assert 0 < row.float_entropy_cpu_ms < row.float_decode_cpu_ms
    odd = Photo("odd.png", photo.pixels[:100, :130])
    (pixels,) = exact_cost.pixel_rows(pair, [0], [photo, odd], 32, silent)
    assert pixels.max_difference <= 1 and pixels.psnr_db > 80


def test_pixels_of_int8_are_compared_with_the_same_graph_in_floats(bundle_path: Path, photo: Photo) -> None:
    bundle = Bundle.open(bundle_path)
    level = bundle.levels[0]
    synthesis = replace(level.parts["synthesis"], precision="int8")  # a label here: the graph is what is opened
    bundle.levels[0] = replace(level, parts={**level.parts, "synthesis": synthesis})
    pair = exact_cost.open_pair(bundle, None, [0], 1)
    (row,) = exact_cost.pixel_rows(pair, [0], [photo], 32, silent)
    assert row.other == "ort, no int8 kernels" and row.psnr_db > 80


def test_another_checkpoint_is_refused_by_name(bundle_path: Path, tmp_path: Path) -> None:
    model = load_checkpoint().model
    model.h_s.spread.weight.data[:, ::2].mul_(1.01)
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, model, {})
    with pytest.raises(BenchError, match=r"was not exported from other\.safetensors.*--checkpoint"):
        exact_cost.open_pair(Bundle.open(bundle_path), other, [0], 1)
    model = load_checkpoint().model
    model.modulator.load_state_dict({k: v + 0.01 for k, v in model.modulator.state_dict().items()})
    save_checkpoint(other, model, {})
    with pytest.raises(BenchError, match="was not exported"):
        exact_cost.open_pair(Bundle.open(bundle_path), other, [0], 1)
    other.write_bytes(b"no checkpoint")
    with pytest.raises(BenchError, match="damaged or of another kind"):
        exact_cost.open_pair(Bundle.open(bundle_path), other, [0], 1)


def test_the_report_of_basic_bench_has_it(
    bundle_path: Path, photo: Photo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(photo.pixels).save(tmp_path / "crop.png")
    options = ["--levels", "0", "--qualities", "10,50", "--repeats", "1", "--skip", "timing", "memory", "quality"]
    assert bench_main([str(bundle_path), "--images", str(tmp_path), *options, "--exactness", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["quality"] for row in found["exact_rates"]] == [10, 50]
    assert found["exact_times"][0]["entropy_ratio"] > 0
    assert found["pixel_differences"][0]["other"] == "torch"
    assert found["circumstances"]["exactness"]["float_networks_of"] == "basic-s.safetensors"


def test_the_whole_measurement_fills_a_page(
    bundle_path: Path, photo: Photo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(photo.pixels).save(tmp_path / "crop.png")
    page, rows = tmp_path / "page.md", tmp_path / "exactness.json"
    page.write_text(f"before {exactness.START}{exactness.END} after\n")
    options = ["--levels", "0", "--num-inputs", "6", "--repeats", "1", "--json", str(rows), "--page", str(page)]
    assert exactness.main([str(bundle_path), "--images", str(tmp_path / "crop.png"), *options]) == 0
    found = json.loads(rows.read_text())
    (exact,) = found["exact"]
    assert exact["num_inputs"] == 6 and set(exact["mismatches"].values()) == {0}
    assert len(exact["mismatches"]) == 8 + 2 * len(_ans.integer_kernels())
    assert [row["quality"] for row in found["exact_rates"]] == [8, 20, 32, 44, 56]
    text = page.read_text()
    assert text.startswith("before ") and text.endswith(" after\n") and "| 0 | 6 | 0 |" in text
    with pytest.raises(BenchError, match="once each"):
        fill_page(tmp_path / "exactness.json", "", exactness.START, exactness.END)


@pytest.mark.parametrize("wrong", ["by_torch", "by_parts"])
def test_a_wrong_engine_is_counted(
    pair: exact_cost.Pair, photo: Photo, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(exactness, wrong)

    def by_wrong(*arguments: object) -> exactness.Outputs:
        found: exactness.Outputs = right(*arguments)
        found[1]["means"] = found[1]["means"] + np.int16(1)
        return found

    monkeypatch.setattr(exactness, wrong, by_wrong)
    row = exactness.exact_row(pair.exact, pair.exact.bundle.level(0), [photo], 3)
    of_torch, of_parts = (3, 0) if wrong == "by_torch" else (0, 3)
    assert {name.split()[0].strip(","): count for name, count in row.mismatches.items()} == {
        "onnxruntime": of_parts,
        "integer": of_parts,
        "torch": of_torch,
    }
