"""Laws of kept calibrations: bundles exported apart decode each other's files, and other weights take no part."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basic.export import cli, verify
from basic.export.calibration import Calibration, LevelRanges, calibration_path
from basic.export.int8 import Range
from basic.runtime.bundle import Bundle
from basic.training.checkpoint import SHIPPED, load_checkpoint, save_checkpoint
from basic.training.structure.levels import default_levels


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copy(SHIPPED, tmp_path / "own.safetensors"))


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    """Photographs of other ranges than those that come along."""
    folder = tmp_path / "dark"
    folder.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 40, (64, 64, 3), np.uint8)).save(folder / "dark.png")
    return folder


def export(checkpoint: Path, output: Path, *more: str) -> Bundle:
    assert cli.main([str(checkpoint), "-o", str(output), "--only", "0", *more]) == 0
    return Bundle.open(output)


def ids(bundle: Bundle) -> list[bytes]:
    return [level.entropy_id for level in bundle.levels.values()]


def test_a_kept_calibration_makes_every_export_the_same(checkpoint: Path, dark: Path, tmp_path: Path) -> None:
    usual = export(checkpoint, tmp_path / "usual.bundle")
    kept = export(checkpoint, tmp_path / "kept.bundle", "--images", str(dark), "--keep-calibration")
    again = export(checkpoint, tmp_path / "again.bundle")
    assert ids(kept) == ids(again) != ids(usual)
    with zipfile.ZipFile(tmp_path / "kept.bundle") as a, zipfile.ZipFile(tmp_path / "again.bundle") as b:
        assert {n: a.read(n) for n in a.namelist()} == {n: b.read(n) for n in b.namelist()}
    anew = export(checkpoint, tmp_path / "anew.bundle", "--images", str(Path(cli.__file__).parent / "samples"))
    assert ids(anew) == ids(usual)


def test_an_export_of_the_shipped_weights_decodes_files_of_the_packaged_bundle(tmp_path: Path) -> None:
    packaged, level = Bundle.open(), export(SHIPPED, tmp_path / "own.bundle").level(0)
    assert packaged.level(0).entropy_id == level.entropy_id


def test_other_weights_take_no_part(
    checkpoint: Path, dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(checkpoint, tmp_path / "kept.bundle", "--images", str(dark), "--keep-calibration")
    assert Calibration.beside(checkpoint).levels
    save_checkpoint(checkpoint, load_checkpoint(checkpoint).model, {"steps": 1})
    assert not Calibration.beside(checkpoint).levels
    capsys.readouterr()
    export(checkpoint, tmp_path / "own.bundle")
    assert "own.calibration.npz is of other weights and not used" in " ".join(capsys.readouterr().err.split())
    export(checkpoint, tmp_path / "own.bundle", "--images", str(dark), "--keep-calibration")
    assert "what stood there, of other weights or not to be read here, is gone" in capsys.readouterr().err


def test_what_kept_ranges_replace_is_said(
    checkpoint: Path, dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that were coded with the ranges before need a bundle with those."""
    samples = str(Path(cli.__file__).parent / "samples")
    for images, replaces in ((str(dark), False), (str(dark), False), (samples, True)):
        export(checkpoint, tmp_path / "own.bundle", "--images", images, "--keep-calibration")
        said = " ".join(capsys.readouterr().err.split())
        assert ("ranges of 1 levels were others before" in said) == replaces


def test_damaged_photographs_are_left_out(
    checkpoint: Path, dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dark / "a.png").write_bytes(b"no image")
    export(checkpoint, tmp_path / "own.bundle", "--images", str(dark))
    assert "left out a.png: no image that Pillow can read" in capsys.readouterr().err
    (dark / "dark.png").unlink()
    assert cli.main([str(checkpoint), "-o", str(tmp_path / "x.bundle"), "--images", str(dark)]) == 1
    assert "expected photographs of at least 64x64 pixels" in capsys.readouterr().err


def test_what_is_kept_comes_back(checkpoint: Path) -> None:
    arch, rng = load_checkpoint(checkpoint).model.arch, np.random.default_rng(0)
    light, heavy = default_levels(arch, 2)

    def layer(num_in: int, num_out: int) -> tuple[Range, Range]:
        return Range(*rng.normal(size=(2, num_in))), Range(*rng.normal(size=(2, num_out)))

    entropy = {"h_s.spread": rng.random(5), "context.read": rng.random(7)}
    whole = {"synthesis": {"a.spread": layer(3, 4), "a.merge": layer(4, 3)}, "analysis": {"b.gate": layer(2, 2)}}
    kept = Calibration.beside(checkpoint)
    kept.put(heavy, LevelRanges(entropy, whole))
    kept.save(checkpoint)
    found = Calibration.beside(checkpoint)
    assert found.of(light) is None
    ranges = found.of(heavy)
    assert ranges is not None and ranges.entropy.keys() == entropy.keys() and ranges.transforms.keys() == whole.keys()
    assert all(np.array_equal(ranges.entropy[name], entropy[name]) for name in entropy)
    for part, layers in whole.items():
        assert ranges.transforms[part].keys() == layers.keys()
        for name, ends in layers.items():
            for end, again in zip(ends, ranges.transforms[part][name], strict=True):
                assert np.array_equal(end.low, again.low) and np.array_equal(end.high, again.high)


def test_the_first_files_keep_their_entropy_paths_alone(checkpoint: Path) -> None:
    """They had no version, and ranges of transforms whether int8 did or not."""
    arch = load_checkpoint(checkpoint).model.arch
    (entry,) = default_levels(arch, 1)
    ends = (Range(np.zeros(2), np.ones(2)), Range(np.zeros(3), np.ones(3)))
    kept = Calibration.beside(checkpoint)
    kept.put(entry, LevelRanges({"h_s.spread": np.ones(5)}, {"synthesis": {"a.spread": ends}, "analysis": {}}))
    path = kept.save(checkpoint)
    found = Calibration.beside(checkpoint).of(entry)
    assert (
        found is not None
        and found.transforms["analysis"] == {}
        and found.transforms["synthesis"].keys() == {"a.spread"}
    )
    with np.load(path) as arrays:
        first = {name: arrays[name] for name in arrays.files if name != "version"}
    np.savez(path, **first)
    found = Calibration.beside(checkpoint).of(entry)
    assert found is not None and found.transforms == {} and found.entropy.keys() == {"h_s.spread"}


def test_a_later_version_is_refused(checkpoint: Path) -> None:
    path = Calibration.beside(checkpoint).save(checkpoint)
    with np.load(path) as arrays:
        later = {name: arrays[name] for name in arrays.files} | {"version": np.array(99)}
    np.savez(path, **later)
    with pytest.raises(ValueError, match="expected a calibration of version 2 at most, this is 99; update"):
        Calibration.beside(checkpoint)


def test_what_a_later_export_leaves_out_stays(checkpoint: Path) -> None:
    arch = load_checkpoint(checkpoint).model.arch
    light, heavy = default_levels(arch, 2)
    ends = (Range(np.zeros(2), np.ones(2)), Range(np.zeros(3), np.ones(3)))
    for level, entropy, transforms in (
        (light, 1.0, {"synthesis": {"a.spread": ends}}),
        (heavy, 2.0, {"analysis": {"b.spread": ends}, "synthesis": {}}),
        (heavy, 3.0, {"analysis": {}}),
    ):
        own = Calibration.empty(checkpoint)
        own.put(level, LevelRanges({"h_s.spread": np.full(5, entropy)}, transforms))
        own.save(checkpoint)
    found = Calibration.beside(checkpoint)
    first, last = found.of(light), found.of(heavy)
    assert first is not None and first.transforms.keys() == {"synthesis"} and first.entropy["h_s.spread"][0] == 1.0
    assert last is not None and last.transforms == {"analysis": {}, "synthesis": {}}
    assert last.entropy["h_s.spread"][0] == 3.0


def single_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def wrong_inside() -> bytes:
    """An archive whose one member is no stream that can be inflated."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("checkpoint.npy", single_array() * 99)
    data = bytearray(file.getvalue())
    data[44 : 44 + 8] = b"\xff" * 8  # behind the member's header and name
    return bytes(data)


@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\x03\x04 cut", single_array(), wrong_inside()])
def test_a_damaged_calibration_is_named(
    damage: bytes, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration_path(checkpoint).write_bytes(damage)
    assert cli.main([str(checkpoint), "-o", str(tmp_path / "x.bundle"), "--only", "0"]) == 1
    said = capsys.readouterr().err
    assert "own.calibration.npz: no calibration that can be read" in said and "remove it, or give --images" in said
    assert "pickle" not in said and "export the bundle again" not in said
    assert not (tmp_path / "x.bundle").exists()
    samples = str(Path(cli.__file__).parent / "samples")
    export(checkpoint, tmp_path / "x.bundle", "--images", samples)  # the cure that the message names
    export(checkpoint, tmp_path / "x.bundle", "--images", samples, "--keep-calibration")  # and one for later


def precision(bundle: Bundle) -> str:
    return str(bundle.level(7).parts["synthesis"].precision)


@pytest.mark.parametrize(("limit_db", "decided"), [(-1.0, "float"), (9.0, "int8")])
def test_what_was_decided_on_int8_is_kept(
    limit_db: float, decided: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second export's own photographs would decide otherwise."""
    monkeypatch.setattr(verify, "INT8_LOSS_DB", limit_db)
    images = str(Path(cli.__file__).parent / "samples")
    kept = export(checkpoint, tmp_path / "kept.bundle", "--only", "7", "--images", images, "--keep-calibration")
    monkeypatch.setattr(verify, "INT8_LOSS_DB", 9.0 if limit_db < 0 else 1e-6)
    monkeypatch.setattr(verify, "INT8_WRONG", 1e9)
    again = export(checkpoint, tmp_path / "again.bundle", "--only", "7")
    assert precision(kept) == precision(again) == decided
    monkeypatch.setattr(verify, "INT8_LOSS_DB", -limit_db)
    anew = export(checkpoint, tmp_path / "anew.bundle", "--only", "7", "--images", images)
    assert precision(anew) != decided


def test_kept_ranges_that_do_harm_stop_the_export(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "INT8_LOSS_DB", 9.0)
    images = str(Path(cli.__file__).parent / "samples")
    export(checkpoint, tmp_path / "kept.bundle", "--only", "7", "--images", images, "--keep-calibration")
    monkeypatch.setattr(verify, "INT8_LOSS_DB", -1.0)
    assert cli.main([str(checkpoint), "-o", str(tmp_path / "x.bundle"), "--only", "7"]) == 1
    said = capsys.readouterr().err
    assert (
        "level 7: synthesis: x_hat in int8 loses" in said
        and f"with the ranges in {calibration_path(checkpoint)}; export with --int8 none" in said
    )
    assert not (tmp_path / "x.bundle").exists()
