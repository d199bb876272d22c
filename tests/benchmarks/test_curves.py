"""BD-rate: known answers, the published table, and a reason wherever there is none."""

import json
from pathlib import Path

import pytest

from basic.benchmarks.curves import KODAK_CURVES, Curve, applies_to, bd_rate_percent, load_curves
from basic.benchmarks.results import BenchError

pytest.importorskip("bjontegaard")

BPP = (0.1, 0.2, 0.4, 0.8)
PSNR = (28.0, 30.0, 32.5, 35.0)
CURVE = Curve("reference", "made up", BPP, PSNR)


def kodak(name: str) -> Curve:
    return {curve.name: curve for curve in load_curves(KODAK_CURVES)}[name]


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.3])
def test_scaled_rate_is_that_bd_rate(factor: float) -> None:
    value, _ = bd_rate_percent(CURVE, [factor * rate for rate in BPP], PSNR)
    assert value == pytest.approx(100 * (factor - 1), abs=1e-6)


@pytest.mark.parametrize(
    ("test", "reference", "published"),
    [("VTM", "BPG 4:4:4", -18.0), ("AV1", "BPG 4:4:4", -6.2), ("JPEG", "VTM", 208), ("ELIC", "VTM", -7.0)],
)
def test_shipped_curves_give_the_published_differences(test: str, reference: str, published: float) -> None:
    curve = kodak(test)
    value, _ = bd_rate_percent(kodak(reference), curve.bpp, curve.psnr_db)
    assert value == pytest.approx(published, rel=0.01, abs=0.06)


def test_shipped_curves_are_sorted_and_name_their_source() -> None:
    for curve in load_curves(KODAK_CURVES):
        assert list(curve.bpp) == sorted(curve.bpp)
        assert curve.source
        assert curve.ms_ssim is None or len(curve.ms_ssim) == len(curve.bpp)


@pytest.mark.parametrize(
    ("bpp", "psnr", "reason"),
    [
        ([0.3], [30.0], "needs 2"),
        ([0.2, 0.4], [31.0, 30.0], "does not rise"),
        ([0.2, 0.2], [30.0, 31.0], "does not rise"),
        ([2.0, 4.0], [40.0, 45.0], "common"),
    ],
)
def test_no_number_without_meaning(bpp: list[float], psnr: list[float], reason: str) -> None:
    value, note = bd_rate_percent(CURVE, bpp, psnr)
    assert value is None
    assert reason in note


def test_no_number_against_a_curve_that_does_not_rise() -> None:
    falls = Curve("codec", "here", (0.1, 0.3, 0.9), (28.0, 33.0, 32.0))
    value, note = bd_rate_percent(falls, [0.15, 0.3, 0.6], [29, 31, 33])
    assert value is None and note == "PSNR of codec does not rise with bpp"


def test_order_of_points_does_not_matter() -> None:
    forward, _ = bd_rate_percent(CURVE, [0.15, 0.3, 0.6], [29, 31, 33])
    backward, _ = bd_rate_percent(CURVE, [0.6, 0.3, 0.15], [33, 31, 29])
    assert forward == pytest.approx(backward)


def test_kodak_curves_apply_to_all_of_kodak_only() -> None:
    stems = [f"kodim{i:02}" for i in range(1, 25)]
    assert applies_to(stems)
    assert not applies_to(stems[:3])
    assert not applies_to([*stems, "mine"])


def test_compressai_result_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "codec.json"
    path.write_text(json.dumps({"name": "codec", "results": {"bpp": [0.4, 0.2], "psnr-rgb": [33.0, 30.0]}}))
    assert load_curves(path) == [Curve("codec", "codec.json", (0.2, 0.4), (30.0, 33.0))]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"curves": [{"name": "x"}]}', '{"results": {"bpp": [1]}}'])
def test_other_json_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"odd\.json"):
        load_curves(path)


def test_a_missing_curve_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"none\.json"):
        load_curves(tmp_path / "none.json")
