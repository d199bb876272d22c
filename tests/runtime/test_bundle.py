"""Laws of bundles: every damage is a BundleError that names the file; nothing outside the bundle is read."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from basic.runtime.bundle import Bundle, content_id, load_arrays
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


def test_parts_read_for_the_tables_are_read_once_and_kept_no_longer(folder: Path) -> None:
    bundle = Bundle.open(folder)
    file = bundle.levels[0].parts["hyper"].file
    data = (folder / file).read_bytes()
    bundle.tables(0)
    (folder / file).unlink()
    assert any("hyper.onnx" in complaint for complaint in bundle.damage())
    assert bundle.read(file) == data
    with pytest.raises(BundleError, match="cannot read"):
        bundle.read(file)


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
