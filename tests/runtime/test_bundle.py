"""Laws of bundles: every damage is a BundleError that names the file; nothing outside the bundle is read."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from basic.runtime.bundle import Bundle, content_id, load_arrays
from basic.runtime.codec import Codec
from basic.runtime.errors import BundleError


@pytest.fixture
def folder(bundle_path: Path, tmp_path: Path) -> Path:
    """The bundle unpacked, with the files of its lightest level only."""
    target = tmp_path / "bundle"
    with zipfile.ZipFile(bundle_path) as archive:
        names = [n for n in archive.namelist() if not n.startswith("level_") or n.startswith("level_0/")]
        archive.extractall(target, names)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["levels"] = manifest["levels"][:1]
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def edit(folder: Path, **changes: object) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_folder_and_zip_read_alike(folder: Path, bundle_path: Path) -> None:
    a, b = Bundle.open(folder), Bundle.open(bundle_path)
    assert a.levels[0] == b.levels[0]
    file = a.levels[0].parts["hyper"].file
    assert a.read(file) == b.read(file)
    assert np.array_equal(a.gain(7), b.gain(7)) and a.gain(7).shape == (1, a.latent_channels, 1, 1)


def test_tables_serve_gaussians_and_every_channel_of_z(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.tables(0).num_tables == 64 + bundle.hyper_channels


def test_levels_are_found_by_entropy_id(folder: Path) -> None:
    bundle = Bundle.open(folder)
    level = bundle.levels[0]
    assert bundle.level_by_entropy_id(level.entropy_id) is level
    assert bundle.level_by_entropy_id(bytes(8)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "zip of cats"}, "not a bundle"),
        ({"format_version": 99}, "version 99"),
        ({"format_version": "2"}, "version '2', this release reads the whole numbers 1 to 3"),
        ({"receptive_field": {}}, "garbles a field: 'analysis' is missing; export"),
        ({"levels": []}, "no level"),
        ({"levels": "many"}, "export the bundle again"),
        ({"levels": [{"level": 0}]}, "export the bundle again"),
        ({"latent_channels": None}, "export the bundle again"),
    ],
)
def test_a_garbled_manifest_is_refused(folder: Path, changes: dict, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Bundle.open(edit(folder, **changes))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_that_was_written_reads(folder: Path, version: int) -> None:
    opened = Bundle.open(edit(folder, format_version=version))
    assert content_id(opened.entropy_arrays(0)) == opened.levels[0].entropy_id


def test_a_changed_file_is_refused(folder: Path) -> None:
    bundle = Bundle.open(folder)
    path = folder / bundle.levels[0].parts["hyper"].file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"hyper\.onnx has another sha256"):
        bundle.read(bundle.levels[0].parts["hyper"].file)
    path.write_bytes(data + b"more")
    with pytest.raises(BundleError, match="larger"):
        bundle.read(bundle.levels[0].parts["hyper"].file)
    path.unlink()
    with pytest.raises(BundleError, match="cannot read"):
        bundle.read(bundle.levels[0].parts["hyper"].file)


def test_tables_are_at_hand_once_the_entropy_path_was_read_and_nothing_else_is(folder: Path) -> None:
    bundle = Bundle.open(folder)
    file = bundle.levels[0].parts["hyper"].file
    bundle.entropy_arrays(0)
    (folder / file).unlink()
    assert bundle.tables(0).num_tables == 64 + bundle.hyper_channels
    assert any("hyper.onnx" in complaint for complaint in bundle.damage())
    with pytest.raises(BundleError, match="cannot read"):
        bundle.read(file)


def keep_all_weights(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Put arrays into the lightest level's entropy.npz, weights too, as format 1 has them, with their entropy id."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["levels"][0]["entropy"]
    np.savez(folder / entry["file"], **arrays)
    data = (folder / entry["file"]).read_bytes()
    manifest["files"][entry["file"]] = {"sha256": hashlib.sha256(data).hexdigest(), "num_bytes": len(data)}
    entry["entropy_id"] = content_id(arrays).hex()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_an_entropy_path_of_another_plan_is_refused(folder: Path) -> None:
    keep_all_weights(folder, Bundle.open(folder).entropy_arrays(0))
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["levels"][0]
    nodes = [node for group in entry["plan"] for node in group]
    entry["plan"] = [nodes[:5], nodes[5:]]
    entry["parts"]["context_g1"] = entry["parts"]["context_g0"]
    bundle = Bundle.open(edit(folder, levels=manifest["levels"]))
    with pytest.raises(BundleError, match=r"entropy.npz has plan_sizes of another plan than manifest.json"):
        bundle.tables(0)


def biggest(array: np.ndarray) -> np.ndarray:
    return np.full_like(array, np.iinfo(array.dtype).max)


@pytest.mark.parametrize("engine", ["ort", "oracle"])
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "context.first.bias",
            lambda a: np.array(3, np.int32),
            r"expected an array \([0-9]+,\) of int32, got \(\) of int32",
        ),
        ("context.first.shift", lambda a: np.array(3, np.uint8), r"expected an array \(outputs,\) of uint8, got \(\)"),
        ("context.read.weight", lambda a: a[:, :2], r"expected an array \([0-9]+, 3, 3\) of int16, got"),
        ("context.write.bias", lambda a: a[:31], r"expected an array \(32, [0-9]+\) of int32, got \(31, "),
        ("context.second.weight", lambda a: a[:, 1:], r"context.second: expected [0-9]+ channels, got [0-9]+"),
        ("context.mean.weight", lambda a: a.astype(np.int32), r"expected an array \([0-9]+, inputs\) of int16, got"),
        ("h_s.up.shift", lambda a: a + np.uint8(1), "h_s.up and context.write: expected one shift per state channel"),
        ("h_s.up.bias", lambda a: a + np.int32(1 << 28), "context.state: output channel [0-9]+ can reach [0-9]+"),
        ("context.write.bias", biggest, "context.state: output channel [0-9]+ can reach [0-9]+"),
        ("context.scale.shift", lambda a: a * np.uint8(0), "context.scale: expected shifts of 1 to 22, got 0 to 0"),
        ("context.scale.shift", biggest, "context.scale: expected shifts of 1 to 22, got 255 to 255"),
        ("h_s.spread.weight", biggest, "h_s.spread: a weight of 32767, expected at most 2047"),
    ],
)
def test_layers_that_cannot_be_run_exactly_are_refused_by_name(
    folder: Path, engine: str, name: str, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    arrays = Bundle.open(folder).entropy_arrays(0)
    keep_all_weights(folder, arrays | {name: change(arrays[name])})
    pixels = np.zeros((64, 64, 3), np.uint8)
    with Codec.open(folder, engine=engine, num_threads=1) as codec, pytest.raises(BundleError, match=message) as found:
        codec.encode(pixels, level=0)
    assert "export the bundle again" in str(found.value) and str(found.value).count("again") == 1


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "a\\b"])
def test_names_that_leave_the_bundle_are_refused(folder: Path, name: str) -> None:
    bundle = Bundle.open(edit(folder, files={name: {"sha256": "0" * 64, "num_bytes": 10}}))
    with pytest.raises(BundleError, match="leave the bundle"):
        bundle.read(name)


def test_every_cut_of_a_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = Path(shutil.make_archive(str(tmp_path / "whole"), "zip", folder)).read_bytes()
    cut = tmp_path / "cut.zip"
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        cut.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            Bundle.open(cut)


def test_a_missing_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="basic-export"):
        Bundle.open(tmp_path / "none.bundle")


def test_a_missing_level_names_those_that_are_there(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"it has \[0\]"):
        Bundle.open(folder).level(5)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(BundleError):
        load_arrays((tmp_path / "a.npz").read_bytes(), "here")


def test_the_content_id_sees_names_types_shapes_and_values() -> None:
    a = np.arange(6, dtype=np.int32)
    base = content_id({"a": a})
    assert base == content_id({"a": a.astype(">i4")})
    others = [{"b": a}, {"a": a.astype(np.int64)}, {"a": a.reshape(2, 3)}, {"a": a + 1}]
    assert len({base, *(content_id(other) for other in others)}) == 5
