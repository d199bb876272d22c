"""Laws of files: outputs appear whole or not at all, folders map to folders."""

import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from basic.runtime import files
from basic.runtime.errors import ImageError
from basic.runtime.files import (
    STANDARD,
    image_suffixes,
    pairs,
    read_bytes,
    replacing,
    save_image,
    standard_or_path,
    writable_suffix,
)


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.bsc"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["out.bsc"] and path.read_bytes() == b"before"
    with replacing(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.bsc"] and path.read_bytes() == b"after"


def test_a_missing_folder_has_its_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="folder does not exist"), replacing(tmp_path / "no" / "out.bsc"):
        pass


def test_folders_map_to_folders(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    found = pairs(tmp_path, Path("out"), image_suffixes(), ".bsc")
    assert [(a.name, b.as_posix()) for a, b in found] == [
        ("a.JPG", "out/a.JPG.bsc"),
        ("a.png", "out/a.png.bsc"),
        ("b.png", "out/b.bsc"),
    ]
    assert pairs(tmp_path / "b.png", tmp_path, [], ".bsc") == [(tmp_path / "b.png", tmp_path / "b.bsc")]


def test_pairs_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.touch()
    with pytest.raises(ImageError, match="no such file"):
        pairs(tmp_path / "b.png", tmp_path, [".png"], ".bsc")
    with pytest.raises(ImageError, match="no file with one of the suffixes"):
        pairs(tmp_path, tmp_path, [".bsc"], ".png")
    with pytest.raises(ImageError, match="expected a folder"):
        pairs(tmp_path, file, [".png"], ".bsc")
    with pytest.raises(ImageError, match="overwrite the input"):
        pairs(file, file, [".png"], ".bsc")


def test_formats_that_cannot_hold_the_image_are_refused(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4))
    for name, message in (("a.jpg", "mode RGBA"), ("a.xyz", "no format of this suffix")):
        with pytest.raises(ImageError, match=message):
            save_image(image, tmp_path / name)
    assert not list(tmp_path.iterdir())
    image.info["icc_profile"] = b"profile"
    save_image(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.info["icc_profile"] == b"profile"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    with replacing(pipe) as file:
        file.write(b"whole")
    reader.join()
    assert received == [b"whole"] and pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no /dev/fd")
def test_a_link_to_a_pipe_without_a_name_is_written_to() -> None:
    read, write = os.pipe()
    try:
        with replacing(Path(f"/dev/fd/{write}")) as file:
            file.write(b"whole")
        assert os.read(read, 10) == b"whole"
    finally:
        os.close(read)
        os.close(write)


def test_a_dash_is_a_name_but_for_the_object_that_stands_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing(standard_or_path("./-", output=True)) as file:
        file.write(b"data")
    assert (tmp_path / "-").read_bytes() == read_bytes(standard_or_path("./-", output=False)) == b"data"
    assert standard_or_path("-", output=True) is standard_or_path("-", output=False) is STANDARD


def test_behind_a_link_the_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["full.png", "full.webp", "full.bmp", "full.tiff", "full.bsc"])
def test_a_full_disk_is_called_a_full_disk(name: str, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / name).symlink_to("/dev/full")
    image = Image.effect_noise((300, 200), 80).convert("RGB")
    with pytest.raises(ImageError, match="No space left on device; free some space") as caught:
        if name.endswith(".bsc"):
            with replacing(tmp_path / name) as file:
                file.write(b"data")
        else:
            save_image(image, tmp_path / name)
    assert ".png holds" not in str(caught.value)


def test_a_folder_without_images_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"no image file: none with .*\.png \.jpg \.webp \.tiff or \d+ others$"
    ) as caught:
        pairs(tmp_path, tmp_path / "out", image_suffixes(), ".bsc")
    assert len(str(caught.value)) < len(str(tmp_path)) + 120


def test_what_the_system_refuses_has_a_cure(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="choose a shorter name"), replacing(tmp_path / ("a" * 300)):
        raise AssertionError("never reached")
    assert not list(tmp_path.iterdir())
    with replacing(tmp_path / ("a" * 255)) as file:  # the longest name that there is
        file.write(b"whole")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_suffixes_go_without_their_dot_and_are_checked() -> None:
    assert [writable_suffix(text) for text in ("bmp", ".bmp", "PNG")] == [".bmp", ".bmp", ".png"]
    for text in ("bsc", "xyz", "", ".psd"):
        with pytest.raises(ValueError, match=f"suffix '{text}'.*use png"):
            writable_suffix(text)


@pytest.mark.filterwarnings("ignore:GIF keeps")
@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.bmp", "a.gif", "a.jpg", "a.webp", "a.ppm", "a.tga", "a.jp2"])
def test_every_common_format_is_written_as_pillow_writes_it(name: str, tmp_path: Path) -> None:
    image = Image.effect_noise((40, 30), 80).convert("RGB")
    save_image(image, tmp_path / name)
    options = {"lossless": True} if name.endswith("webp") else {}
    image.save(tmp_path / f"own_{name}", **options)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"own_{name}").read_bytes()


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="this is a folder"), replacing(tmp_path):
        raise AssertionError("never reached")


def test_files_of_one_folder_never_share_an_output(tmp_path: Path) -> None:
    for name in ("A.PNG", "A.jpg", "A.jpg.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ImageError, match="rename one of them"):
        pairs(tmp_path, tmp_path / "out", [".png", ".jpg"], ".bsc")


def test_webp_is_written_lossless(tmp_path: Path) -> None:
    image = Image.effect_noise((40, 30), 80).convert("RGB")
    save_image(image, tmp_path / "noise.webp")
    with Image.open(tmp_path / "noise.webp") as back:
        assert back.convert("RGB").tobytes() == image.tobytes()


def test_leftovers_of_a_process_of_the_same_number_are_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.json"
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "left")
    with pytest.raises(KeyError), files.whole_file(target):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    left = tmp_path / f".a.json.{os.getpid()}.left.tmp"
    left.write_text("half")
    with pytest.raises(FileExistsError), files.whole_file(target):
        pass
    assert left.read_text() == "half"
    monkeypatch.undo()
    files.write_whole(target, "whole")
    assert target.read_text() == "whole" and sorted(tmp_path.iterdir()) == [left, target]
