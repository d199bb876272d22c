"""basic-bench on a real bundle: what it prints and writes, and how it refuses."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basic.benchmarks import run as run_module
from basic.benchmarks.cli import main, parser, settings_from
from basic.benchmarks.curves import KODAK_STEMS
from basic.benchmarks.results import REPORT_FORMAT
from basic.runtime.bundle import Bundle


@pytest.fixture
def bundle(bundle_path: Path) -> str:
    if not bundle_path.exists():
        pytest.skip("no bundle")
    return str(bundle_path)


@pytest.fixture
def photos(tmp_path: Path, data_folder: Path) -> Path:
    """Two crops of 256x192 of a real photograph."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(data_folder / "kodim23.png") as image:
        for i in range(2):
            image.crop((200 * i, 100, 200 * i + 256, 292)).save(folder / f"crop{i}.png")
    return folder


def test_json_goes_to_stdout_and_a_page_to_the_folder(
    bundle: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    output = tmp_path / "report"
    options = ["--levels", "0", "--qualities", "10,50", "--repeats", "2", "--warmup", "1", "--json", "-o", str(output)]
    assert main([bundle, "--images", str(photos), *options]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((output / "report.json").read_text())
    assert shown["format"] == REPORT_FORMAT
    facts = shown["circumstances"]
    assert facts["images"]["sizes"] == ["256x192"]
    assert (facts["threads"], facts["batch"], facts["timing_quality"]) == (1, 1, 32)
    assert {row["task"] for row in shown["levels"]} == {"encode", "decode"}
    assert all(row["num_samples"] == 4 for row in shown["levels"])
    assert {row["part"] for row in shown["parts"]} == {"analysis", "hyper", "context_g0", "synthesis"}
    assert all(row["num_macs"] == round(1e3 * row["kmacs_per_pixel"] * 256 * 192) for row in shown["parts"])
    low, high = shown["qualities"]
    assert low["bpp"] < high["bpp"]
    assert (output / "report.html").stat().st_size > 10_000
    assert (output / "levels.csv").exists()


def test_peak_memory_is_of_the_part_alone(bundle: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    options = ["--levels", "0", "--skip", "quality", "--repeats", "1", "--warmup", "1", "--limit", "1", "--json"]
    assert main([bundle, "--images", str(photos), *options]) == 0
    rows = json.loads(capsys.readouterr().out)["parts"]
    assert all(0 < row["peak_memory_mib"] < 500 for row in rows)


def test_tables_are_shown_without_json(bundle: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--levels", "0", "--skip", "memory", "quality", "--repeats", "1", "--limit", "1"]
    assert main([bundle, "--images", str(photos), *options]) == 0
    shown = capsys.readouterr().out
    assert "Network parts" in shown and "Encode and decode" in shown and "Rate and quality" not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--levels", "99"], "level 99"),
        (["--curves", "nowhere.json"], "nowhere.json"),
        (["--compressai-python", "/bin/false"], "CompressAI"),
    ],
)
def test_wrong_input_is_refused_by_name(
    bundle: str, photos: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([bundle, "--images", str(photos), *options]) == 1
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split())
    assert captured.out == ""


def test_no_images_and_no_bundle_are_refused(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", str(tmp_path / "nowhere")]) == 1
    assert "does not exist" in " ".join(capsys.readouterr().err.split())
    assert main([str(photos), "--images", str(photos)]) == 1
    assert "manifest.json" in " ".join(capsys.readouterr().err.split())


def test_plots_that_cannot_be_drawn_are_named_and_the_rest_is_written(
    bundle: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    output = tmp_path / "report"
    options = ["--levels", "0", "--skip", "memory", "quality", "--repeats", "1", "--limit", "1", "-o", str(output)]
    assert main([bundle, "--images", str(photos), *options]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "no plots are drawn: pip install 'basic-nic[bench]'" in told
    assert "onnx is missing, so memory traffic is not counted" in told
    assert {"report.json", "levels.csv", "report.html"} <= {path.name for path in output.iterdir()}
    assert not list(output.glob("*.png"))


def test_a_file_as_output_is_refused_in_one_line(
    bundle: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / ("long" * 30)
    output.write_text("mine")
    assert main([bundle, "--images", str(photos), "-o", str(output)]) == 1
    message = f"basic-bench: {output}: expected a folder to write to, found a file; choose another name\n"
    assert capsys.readouterr() == ("", message)
    assert output.read_text() == "mine"


def test_precision_is_what_the_manifest_says(bundle: str) -> None:
    opened = Bundle.open(bundle)
    levels = sorted(opened.levels)
    int8 = [n for n in levels if opened.level(n).parts["synthesis"].precision == "int8"]
    assert int8 and set(int8) < set(levels)
    text = run_module.precision_of(opened, levels)
    assert f"synthesis int8 at level{'s' * (len(int8) > 1)} {', '.join(map(str, int8))}" in text
    int8_too = [n for n in levels if opened.level(n).parts["analysis"].precision == "int8"]
    assert set(int8_too) <= set(int8)
    assert ("analysis float32;" in text) == (not int8_too) and "entropy networks exact integers" in text
    assert "int8" not in run_module.precision_of(opened, [n for n in levels if n not in int8])


@pytest.mark.parametrize(
    "options",
    [
        *(
            ["--levels", "x"],
            ["--levels", "-1"],
            ["--qualities", "64"],
            ["--timing-quality", "1,2"],
            ["--threads", "0"],
        ),
        *(["--threads", "9999"], ["--engine", "warp"], []),
    ],
)
def test_wrong_options_exit_with_two(options: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*options, *(["--images", "x"] if options else [])])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--skip", "timing", "memory", "quality", "device"], "--skip timing memory quality device: nothing is left"),
        (["--skip", "timing", "memory", "quality"], "the device stage wants --sizes or --batches"),
        (["--levels", "0", "--save-profile", "p.json"], "--levels: a latency profile is of all levels"),
    ],
)
def test_options_that_leave_nothing_to_do_are_named(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*options, "--images", "x"])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_options_become_settings() -> None:
    words = ["b.bundle", "--images", "x", "--engine", "ort,ort", "--levels", "0,7,0", "--skip", "memory"]
    settings = settings_from(parser().parse_args(words))
    assert settings.engines == ("ort",)
    assert settings.levels == (0, 7)
    assert settings.stages == ("timing", "quality", "device")
    assert settings.compressai_python is None


def test_kodak_curves_are_drawn_for_kodak_only(tmp_path: Path) -> None:
    names = sorted(KODAK_STEMS)
    photos = [run_module.Photo(f"{name}.png", np.zeros((4, 4, 3), np.uint8)) for name in names]
    settings = run_module.Settings(images=tmp_path)
    assert {"JPEG", "VTM"} <= {curve.name for curve in run_module.reference_curves(settings, photos)}
    assert run_module.reference_curves(settings, photos[:-1]) == []
