"""Benchmarks run on every image that was asked for, or on none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basic.benchmarks.images import Photo, load_photos, same_size
from basic.runtime.errors import ImageError

DATA = Path(__file__).parents[1] / "data"


def photo(height: int, width: int) -> Photo:
    return Photo(f"{width}x{height}.png", np.zeros((height, width, 3), np.uint8))


def test_a_folder_is_read_in_order_of_names() -> None:
    photos = load_photos(DATA)
    assert [item.name for item in photos] == sorted(item.name for item in photos)
    assert photos[0].pixels.shape == (512, 768, 3)
    assert photos[0].size == "768x512"
    assert [item.stem for item in load_photos(DATA, limit=1)] == [photos[0].stem]


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (5, 3), 7).save(tmp_path / "grey.png")
    assert load_photos(tmp_path / "grey.png")[0].pixels.shape == (3, 5, 3)


def test_no_images_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ImageError, match="holds no image"):
        load_photos(tmp_path)
    with pytest.raises(ImageError, match="does not exist"):
        load_photos(tmp_path / "nowhere")


def test_an_unreadable_image_is_named_not_skipped(tmp_path: Path) -> None:
    whole = next(DATA.glob("*.png")).read_bytes()
    for damaged in (b"\x89PNG broken", whole[: len(whole) // 2] + bytes(len(whole) // 2)):
        (tmp_path / "broken.png").write_bytes(damaged)
        with pytest.raises(ImageError, match=r"images: cannot read broken\.png \(.*\); remove it"):
            load_photos(tmp_path)


@pytest.mark.filterwarnings("ignore:image has 16 bits")
def test_sixteen_bits_are_reduced_as_the_codec_does(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 5), 0x2222, np.uint16)).save(tmp_path / "deep.png")
    assert (load_photos(tmp_path)[0].pixels == 0x22).all()


def test_timed_images_have_one_pixel_count() -> None:
    photos = [photo(8, 8), photo(4, 6), photo(6, 4), photo(4, 6)]
    assert [item.size for item in same_size(photos, 2)] == ["6x4", "4x6"]
    assert len(same_size(photos, 9)) == 3
