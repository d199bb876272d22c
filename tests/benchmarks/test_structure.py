"""Laws of the structure comparisons: equal curves give zero, better ones a gain, noise over images an interval."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basic.benchmarks import structure_rates
from basic.benchmarks.images import load_photos
from basic.benchmarks.structure import (
    CURVE_LEVELS,
    StructureReport,
    complexity_control,
    control_suite,
    curve_suite,
    levels_suite,
    main,
    plans_suite,
    show,
)
from basic.benchmarks.structure_bd import compare
from basic.benchmarks.structure_plots import draw_structures
from basic.benchmarks.structure_rates import Curves, measure_structures, open_measurements
from basic.runtime.groups import checkerboard, one_group
from basic.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from basic.training.model import Model
from basic.training.nodes import Architecture
from basic.training.structure.levels import Learned, LevelEntry, default_levels, save_table
from basic.training.structure.plans import hand_made
from basic.training.structure.space import default_plans

RATES = np.array([0.1, 0.3, 0.6, 1.0, 1.6])


def points(scale: float, shift: float = 0.0, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Ten images on curves of their own: 6 dB for twice the rate and a spread of 3 dB between images."""
    rng = np.random.default_rng(4)
    offsets = rng.normal(30, 3, (10, 1)) + noise * rng.normal(size=(10, 1))
    return np.tile(RATES * scale, (10, 1)), offsets + 6 * np.log2(RATES) + shift


def test_equal_curves_differ_by_nothing() -> None:
    gain = compare(points(1.0), points(1.0), 20)
    assert gain.bd_rate_percent == pytest.approx(0, abs=1e-9) and gain.bd_psnr_db == pytest.approx(0, abs=1e-9)
    assert gain.overlap == 1


def test_a_tenth_fewer_bits_is_minus_ten_percent_on_every_resampling() -> None:
    gain = compare(points(0.9), points(1.0), 20)
    assert gain.bd_rate_percent == pytest.approx(-10, abs=0.2)
    assert gain.bd_rate_low_percent == pytest.approx(gain.bd_rate_high_percent, abs=0.1)
    assert gain.bd_psnr_db == pytest.approx(6 * np.log2(1 / 0.9), abs=0.02)


def test_noise_between_images_widens_the_interval() -> None:
    gain = compare(points(1.0, 0.1, noise=1.0), points(1.0), 100)
    assert gain.bd_psnr_low_db is not None and gain.bd_psnr_high_db is not None
    assert gain.bd_psnr_high_db - gain.bd_psnr_low_db > 0.3


def test_curves_far_apart_have_no_bd_rate_but_a_bd_psnr() -> None:
    gain = compare(points(1.0, 60), points(1.0), 5)
    assert gain.bd_rate_percent is None and gain.bd_psnr_db == pytest.approx(60, abs=0.1)


def test_what_saturates_and_falls_is_compared_by_its_rising_points() -> None:
    bpp, psnr = points(1.0)
    fallen = psnr.copy()
    fallen[:, -1] = fallen[:, -2] - 1
    assert compare((bpp, psnr), (bpp, fallen), 5).bd_rate_percent == pytest.approx(0, abs=1e-9)


def learned() -> Learned:
    arch = Architecture()
    levels = default_levels(arch, 3)
    steps = [(9.0, levels[0]), (5.0, levels[1]), (1.0, levels[2])]
    return Learned(levels, default_plans(), steps)


def test_suites_pair_equal_groups_and_equal_budgets(tmp_path: Path) -> None:
    checkpoint = Checkpoint(Model())
    structures, pairs = levels_suite(learned(), checkpoint)
    assert len(pairs) == 3 and all(ours in structures and theirs in structures for _, ours, theirs in pairs)
    structures, pairs = plans_suite(learned(), checkpoint)
    for _, ours, theirs in pairs:
        assert len(structures[theirs].plan) in (1, len(structures[ours].plan))
    assert {"checkerboard", "quincunx", "raster"} <= {theirs for _, _, theirs in pairs}
    save_table(tmp_path / "b.json", Architecture(), default_levels(Architecture(), 3), {})
    structures, pairs = control_suite(learned(), checkpoint, {"backbone only": tmp_path / "b.json"})
    assert len(pairs) == 2  # the full model is in every scheme
    for _, ours, theirs in pairs:
        assert structures[ours] == structures[theirs]  # the same table: the full scheme finds the same structures
    structures, pairs = curve_suite(learned(), checkpoint)
    assert len(structures) == CURVE_LEVELS and not pairs


def test_complexity_control_measures_the_distance_from_the_scale() -> None:
    found = complexity_control(Architecture(), default_levels(Architecture(), 8))
    assert found["largest_error_percent"] < 1.5 and found["reach"] > 15
    assert found["error_percent"][0] == pytest.approx(0, abs=1e-6)


def test_files_are_measured_image_by_image_and_drawn(tmp_path: Path, structure_report: StructureReport) -> None:
    from rich.console import Console

    show(structure_report, Console(quiet=True))
    assert {path.name for path in draw_structures(structure_report, tmp_path)} == {
        "structure_levels.png",
        "structure_control.png",
        "structure_plans.png",
    }


@pytest.fixture
def structure_report() -> StructureReport:
    curve = {"kmacs_per_pixel": 1.0, "groups": 2, "bpp": [0.1, 0.5, 1.0], "psnr_db": [28.0, 32.0, 36.0]}
    names = ["learned level 0", "uniform level 0", "AR only 0", "curve 1", "learned 2", "one group", "checkerboard"]
    control = {"learned": {"largest_error_percent": 0.1, "reach": 19.0}}
    return StructureReport({}, control=control, curves={name: dict(curve) for name in names})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A folder with one small photograph."""
    with Image.open(next((Path(__file__).parents[1] / "data").glob("*.png"))) as image:
        folder = tmp_path / "photos"
        folder.mkdir()
        image.crop((0, 0, 192, 128)).save(folder / "photo.png")
    return folder


def test_real_files_are_measured_once(photo: Path, tmp_path: Path) -> None:
    weights, photos = tmp_path / "w.safetensors", load_photos(photo)
    save_checkpoint(weights, Model(), {"steps": 0})
    checkpoint, widths = load_checkpoint(weights), Architecture().lightest()
    structures = {"one": LevelEntry(widths, one_group()), "two": LevelEntry(widths, checkerboard())}
    structures["two again"] = structures["two"]

    def measure(qualities: tuple[int, ...] = (10, 50)) -> tuple[dict[str, Curves], int]:
        memo = open_measurements(tmp_path / "m.state", weights, photos, qualities)
        found = measure_structures(checkpoint, structures, photos, qualities, lambda text: None, memo)
        return found, memo.num_measured

    found, count = measure()
    assert set(found) == set(structures) and count == 2
    for curves in found.values():
        assert curves.bpp.shape == curves.psnr_db.shape == (1, 2)
        assert curves.bpp[0, 1] > curves.bpp[0, 0] and curves.psnr_db[0, 1] > curves.psnr_db[0, 0]
    assert found["two"].num_groups == 2
    again, count = measure()
    assert count == 0
    np.testing.assert_allclose(again["two again"].bpp, found["two"].bpp)
    with pytest.raises(ValueError, match="another qualities"):
        measure((10, 40))


def test_what_was_measured_before_a_failure_is_kept(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, photos = tmp_path / "w.safetensors", load_photos(photo)
    save_checkpoint(weights, Model(), {"steps": 0})
    points = iter([(0.5, 30.0)])  # one structure, then the iterator ends
    monkeypatch.setattr(structure_rates, "_points", lambda *_: next(points))
    entries = {name: LevelEntry(Architecture().lightest(), plan) for name, plan in list(hand_made().items())[:2]}
    memo = open_measurements(tmp_path / "m.state", weights, photos, (10,))
    with pytest.raises(StopIteration):
        measure_structures(load_checkpoint(weights), entries, photos, (10,), lambda text: None, memo)
    assert list(open_measurements(tmp_path / "m.state", weights, photos, (10,)).values.values()) == [(0.5, 30.0)]


def test_the_command_writes_a_report_and_refuses_a_table_of_other_sizes(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights, arch = tmp_path / "w.safetensors", Architecture()
    save_checkpoint(weights, Model(), {"steps": 0})
    levels = default_levels(arch, 2)
    notes = {"sizes": arch.sizes, "names": [node.name for node in arch.nodes], "path": [], "plans": {}}
    save_table(tmp_path / "t.json", arch, levels, notes)
    common = [str(weights), "--images", str(photo), "--table", str(tmp_path / "t.json"), "-o", str(tmp_path / "out")]
    assert main([*common, "--suites", "levels", "--qualities", "20,40"]) == 0
    report = json.loads((tmp_path / "out" / "structure.json").read_text())
    assert [row["ours"] for row in report["rows"]] == ["learned level 0", "learned level 1"]
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    notes["sizes"]["state"] = 96
    save_table(tmp_path / "t.json", arch, levels, notes)
    assert main([*common, "--suites", "levels"]) == 1 and "another architecture" in capsys.readouterr().err
