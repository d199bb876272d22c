"""The profile's rows add up, and its images are made of photographs alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from basic.benchmarks import profile
from basic.benchmarks.images import Photo
from basic.runtime.profile import GLUE


def test_parts_add_up_to_the_whole(bundle_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(bundle_path), "--images", str(data_folder), "--sizes", "200x136", "--levels", "0", "--repeats", "2"]
    assert profile.main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    for task in profile.TASKS:
        times = {row["part"]: row["cpu_ms"] for row in rows if row["task"] == task}
        kinds = {row["part"]: row["kind"] for row in rows if row["task"] == task}
        parts = [part for part, kind in kinds.items() if kind != "sum"]
        assert {"coder", *GLUE} <= set(parts)
        assert ("analysis" if task == "encode" else "synthesis") in parts
        assert times["all"] == pytest.approx(sum(times[part] for part in parts), abs=0.01)
        beside = sum(times[part] for part in parts if kinds[part] != "network")
        assert times["coder and glue"] == pytest.approx(beside, abs=0.01)


def test_wrong_input_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile.main(["--images", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        profile.main(["--images", str(tmp_path), "--sizes", "10x10"])
    assert "expected WIDTHxHEIGHT" in capsys.readouterr().err


@pytest.mark.parametrize(("width", "height"), [(5, 4), (70, 64), (131, 97)])
def test_a_mosaic_covers_every_pixel(width: int, height: int) -> None:
    photos = [Photo(str(k), np.full((24 + 6 * (k % 2), 32 - 8 * (k % 3), 3), k + 1, np.uint8)) for k in range(3)]
    pixels = np.asarray(profile.mosaic(photos, width, height))
    assert pixels.shape == (height, width, 3)
    assert set(np.unique(pixels)) <= {1, 2, 3}
    assert (pixels[:24, :32][:height, :width] == 1).all()
