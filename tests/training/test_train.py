"""Laws of the loop: a resumed run equals one that was never stopped; files are whole or absent; errors have names."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from basic.runtime.errors import ImageWarning
from basic.training import cli
from basic.training import train as train_module
from basic.training.checkpoint import load_checkpoint, load_tensors, save_checkpoint, save_tensors
from basic.training.data import Photographs, spread
from basic.training.draw import PARTS, draw_level
from basic.training.loss import warmup_stable_decay
from basic.training.model import Model
from basic.training.nodes import Architecture
from basic.training.optimizer import orthogonalize
from basic.training.structure.levels import default_levels, save_table

SMALL = ["--batch-size", "2", "--crop-size", "64", "--threads", "1", "--log-every", "1", "--precision", "32-true"]


def run(photographs: Path, output: Path, *more: str) -> int:
    return cli.main(["--data", str(photographs), "--output", str(output), *SMALL, *more])


def test_a_resumed_run_equals_one_that_never_stopped(photographs: Path, tmp_path: Path) -> None:
    schedule = ["--decay-steps", "2", "--full-steps", "1", "--warmup-steps", "2"]
    assert run(photographs, tmp_path / "whole", "--steps", "4", *schedule) == 0
    # The first half ends early by its own --steps; the horizon of the schedule is then extended to that of the whole.
    assert run(photographs, tmp_path / "halves", "--steps", "2", "--decay-steps", "0", *schedule[2:]) == 0
    assert run(photographs, tmp_path / "halves", "--steps", "4", *schedule) == 0
    whole, halves = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "halves"))
    assert set(whole) == set(halves)
    assert [name for name in whole if not torch.equal(whole[name], halves[name])] == []


@pytest.mark.parametrize("share", ["matched", "graphics"])
def test_a_run_of_before_there_was_such_a_share_goes_on_as_it_was(
    share: str, photographs: Path, tmp_path: Path
) -> None:
    without = [f"--{share}-share", "0", "--decay-steps", "0"]
    assert run(photographs, tmp_path / "whole", "--steps", "4", *without) == 0
    assert run(photographs, tmp_path / "old", "--steps", "1", *without) == 0
    state = tmp_path / "old" / "state.safetensors"
    tensors, config = load_tensors(state, "basic-training-state")
    del config["settings"][f"{share}_share"]
    save_tensors(state, tensors, config)
    assert run(photographs, tmp_path / "old", "--steps", "4", "--decay-steps", "0") == 0
    assert load_tensors(state, "basic-training-state")[1]["settings"][f"{share}_share"] == 0.0
    whole, old = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "old"))
    assert [name for name in whole if not torch.equal(whole[name], old[name])] == []


def test_damaged_photographs_are_left_out_and_deep_ones_reduced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = next((Path(__file__).parents[1] / "data").glob("*.png")).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    (tmp_path / "b.ppm").write_bytes(b"P6 12} 9 255\n" + bytes(999))
    Image.fromarray(np.full((64, 70), 0x2222, np.uint16)).save(tmp_path / "c.png")
    with pytest.warns(ImageWarning, match="16 bits"):
        found = Photographs(tmp_path, 64).images
    assert len(found) == 1 and found[0].shape == (64, 70, 3) and (found[0] == 0x22).all()
    said = capsys.readouterr().err
    assert "left out a.png: " in said and "left out b.ppm: " in said


def test_a_linked_state_is_replaced_not_written_through(photographs: Path, tmp_path: Path) -> None:
    assert run(photographs, tmp_path / "first", "--steps", "1", "--decay-steps", "0") == 0
    state = tmp_path / "first" / "state.safetensors"
    before = state.read_bytes()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "state.safetensors").symlink_to(state)
    assert run(photographs, tmp_path / "second", "--steps", "2", "--decay-steps", "0") == 0
    assert state.read_bytes() == before != (tmp_path / "second" / "state.safetensors").read_bytes()


def test_training_lowers_the_loss(photographs: Path, tmp_path: Path) -> None:
    fast = ["--lr", "2e-3", "--adam-lr", "2e-3", "--graphics-share", "0"]  # losses of one kind of crop compare
    assert run(photographs, tmp_path, "--steps", "12", "--full-steps", "12", "--warmup-steps", "1", *fast) == 0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["group"] == "train"]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_a_range_of_lambda_belongs_to_a_run(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    wide = ["--lambda-range", "0.0002", "0.3"]
    assert run(photographs, tmp_path / "a", "--steps", "1", "--decay-steps", "0", *wide) == 0
    arch = load_checkpoint(tmp_path / "a" / "checkpoint.safetensors").model.arch
    assert (arch.lambda_min, arch.lambda_max) == (0.0002, 0.3)
    assert run(photographs, tmp_path / "a", "--steps", "2") == 0
    assert run(photographs, tmp_path / "a", "--steps", "3", "--lambda-range", "0.0004", "0.3") == 1
    assert "cannot change --lambda-range (begun with 0.0002 0.3)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(photographs, tmp_path / "b", "--steps", "1", "--lambda-range", "0.3", "0.0004")
    assert "expected 0 < MIN < MAX, got 0.3 0.0004" in capsys.readouterr().err


def test_sigterm_leaves_a_state_to_resume_from(photographs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "basic.training.cli", "--data", str(photographs), "--output", str(tmp_path)]
    with subprocess.Popen([*command, *SMALL, "--steps", "100000"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step "):
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
        assert process.wait(60) == 0
    assert load_file(tmp_path / "state.safetensors")
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").training["steps"] >= 1


def test_a_warm_restart_counts_the_steps_before(photographs: Path, tmp_path: Path) -> None:
    assert run(photographs, tmp_path / "a", "--steps", "1") == 0
    init = str(tmp_path / "a" / "checkpoint.safetensors")
    assert run(photographs, tmp_path / "b", "--steps", "1", "--init", init) == 0
    assert load_checkpoint(tmp_path / "b" / "checkpoint.safetensors").training["steps"] == 2


def test_a_run_resumed_by_its_folder_alone_is_watched_as_before(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder, and with places that were given relative to the first one."""
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    Image.new("RGB", (64, 64)).save(held_out / "grey.png")
    monkeypatch.chdir(tmp_path)
    data = os.path.relpath(photographs)
    arguments = ["--data", data, "--valid", "held_out", "--valid-every", "2", "--output", "run", "--save-every", "1"]
    assert cli.main([*arguments, *SMALL, "--steps", "3", "--decay-steps", "0"]) == 0
    monkeypatch.chdir(held_out)
    assert cli.main(["--output", "../run", "--steps", "5"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    validated = {row["step"] for row in rows if row["group"].startswith("valid/full")}
    assert validated == {2, 3, 4, 5}  # every second step, and the last of each run
    assert [row["step"] for row in rows if row["group"] == "train"] == [1, 2, 3, 4, 5]
    assert cli.main(["--output", "../run", "--data", str(photographs), "--steps", "5"]) == 0  # the same place


def test_photographs_that_have_moved_are_asked_for(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(photographs, tmp_path / "before")
    assert run(tmp_path / "before", tmp_path / "run", "--steps", "1") == 0
    (tmp_path / "before").rename(tmp_path / "after")
    capsys.readouterr()
    assert cli.main(["--output", str(tmp_path / "run"), "--steps", "2"]) == 1
    assert f"no photographs at {tmp_path / 'before'} any more; give --data" in capsys.readouterr().err
    assert run(tmp_path / "after", tmp_path / "run", "--steps", "2") == 0
    assert run(photographs, tmp_path / "run", "--steps", "3") == 1
    assert "cannot change --data" in capsys.readouterr().err


def test_a_run_does_not_go_back(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(photographs, tmp_path, "--steps", "2") == 0
    state = (tmp_path / "state.safetensors").read_bytes()
    assert run(photographs, tmp_path, "--steps", "1", "--decay-steps", "0") == 0
    assert "step 2 is beyond 1: nothing to do" in capsys.readouterr().err
    assert (tmp_path / "state.safetensors").read_bytes() == state


def test_two_runs_in_one_folder_are_refused(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with train_module._only_here(tmp_path):
        assert run(photographs, tmp_path, "--steps", "1") == 1
    assert "another basic-train is at work there" in capsys.readouterr().err
    assert not (tmp_path / "state.safetensors").exists()
    assert run(photographs, tmp_path, "--steps", "1") == 0


def test_what_is_trained_on_is_not_held_out(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    held_out = tmp_path / "data" / "held_out"
    shutil.copytree(photographs, held_out)
    assert run(held_out.parent, tmp_path / "run", "--steps", "1", "--valid", str(held_out)) == 1
    assert "expected photographs that are held out" in capsys.readouterr().err
    assert not (tmp_path / "run" / "state.safetensors").exists()


def test_resuming_with_another_seed_is_refused_by_name(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(photographs, tmp_path, "--steps", "1") == 0
    assert run(photographs, tmp_path, "--steps", "2", "--seed", "9") == 1
    assert "cannot change --seed 9 (begun with 0)" in capsys.readouterr().err


def test_a_folder_and_a_tar_of_the_same_pictures_give_the_same_crops(photographs: Path, tmp_path: Path) -> None:
    archive = tmp_path / "crops.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(photographs.iterdir()):
            data = path.read_bytes()
            info = tarfile.TarInfo(path.name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    batches = [Photographs(source, 64).batch(3, 1, 4)[0] for source in (photographs, archive)]
    assert torch.equal(*batches)
    assert batches[0].shape == (4, 3, 64, 64) and batches[0].min() >= 0 and batches[0].max() <= 1


@pytest.mark.parametrize("count", [1, 3, 16, 58, 59])
def test_spreading_keeps_every_item_and_puts_the_first_at_equal_distances(count: int) -> None:
    found = spread(range(59), count)
    steps = np.diff([*found[:count], 59])
    assert sorted(found) == list(range(59)) and found[0] == 0 and steps.max() - steps.min() <= 1


@pytest.mark.parametrize("count", [0, 60, None])
def test_spreading_leaves_the_order_where_no_part_of_the_items_is_asked_for(count: int | None) -> None:
    assert spread(range(59), count) == list(range(59))


def test_few_of_many_pictures_come_from_all_over_the_source(tmp_path: Path) -> None:
    for i in range(9):
        Image.new("RGB", (64, 64), (i, 0, 0)).save(tmp_path / f"{i}.png")
    Image.new("RGB", (63, 64)).save(tmp_path / "3.png")  # too small: the next one takes its place
    assert [int(image[0, 0, 0]) for image in Photographs(tmp_path, 64, limit=3).images] == [0, 6, 1]


@pytest.mark.parametrize("as_tar", [False, True])
def test_skipped_pictures_are_never_seen(as_tar: bool, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    first, *others = sorted(photographs.iterdir())
    (tmp_path / "some" / f"left_{first.name}").write_bytes(first.read_bytes())
    for path in others:
        (tmp_path / "some" / path.name).write_bytes(path.read_bytes())
    source = tmp_path / "some"
    if as_tar:
        source = tmp_path / "some.tar"
        with tarfile.open(source, "w") as tar:
            tar.add(tmp_path / "some", "some")
    found, everything = Photographs(source, 64, skip="left_*"), Photographs(photographs, 64)
    assert len(found.images) == len(others)
    assert all(np.array_equal(a, b) for a, b in zip(found.images, everything.images[1:], strict=True))
    with pytest.raises(ValueError, match=f"{len(others) + 1} skipped"):
        Photographs(source, 64, skip="*")


def test_damaged_pictures_are_left_out_by_name(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    good = next(photographs.iterdir()).read_bytes()
    (tmp_path / "good.png").write_bytes(good)
    (tmp_path / "cut.png").write_bytes(good[: len(good) // 2])
    assert len(Photographs(tmp_path, 64).images) == 1
    assert "cut.png" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["nothing", "empty", "text.txt"])
def test_a_source_without_pictures_is_refused(source: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no picture")
    with pytest.raises(ValueError, match=source):
        Photographs(tmp_path / source, 64)


def test_checkpoints_return_what_was_saved_in_float16(tmp_path: Path) -> None:
    model = Model()
    save_checkpoint(tmp_path / "c.safetensors", model, {"steps": 3})
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert loaded.training == {"steps": 3}
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor.half().float())
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("config", ["[1]", "{}", '{"architecture": 3}', '{"architecture": {"foo": 1}}'])
def test_a_config_that_makes_no_model_is_refused(config: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    head = '{"format": "basic-checkpoint", "format_version": 1'
    text = config if config.startswith("[") else f"{head}{', ' if len(config) > 2 else ''}{config[1:]}"
    save_file({"a": torch.zeros(2)}, path, {"config": text})
    with pytest.raises(ValueError, match=r"c\.safetensors: expected a basic-checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("damage", ["cut", "text", "missing", "state"])
def test_a_file_that_is_no_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, Model(), {})
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"cut": data[: len(data) // 2], "text": b"hello", "state": data.replace(b"basic-c", b"basic-t")}[damage]
        )
    with pytest.raises(ValueError, match="basic-checkpoint"):
        load_checkpoint(path)


def test_the_schedule_rises_stays_and_ends_at_zero() -> None:
    values = [warmup_stable_decay(step, 100, 10, 20) for step in range(101)]
    assert values[:10] == sorted(values[:10]) and set(values[9:81]) == {1.0}
    assert values[80:] == sorted(values[80:], reverse=True) and values[100] == 0.0


def test_orthogonalized_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 32, 64), (2, 64, 32)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.4 and values.max() < 1.4


def test_bad_arguments_exit_with_2() -> None:
    for arguments in (
        ["--crop-size", "100"],
        ["--threads", "100000"],
        ["--output", f"/nonexistent/{os.getpid()}/{time.time_ns()}"],
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exact"], "--exact: expected --init CHECKPOINT too"),
        (["--decay-steps", "3"], "--decay-steps: expected at most the 2 steps of the run, got 3"),
        (["--decay-steps", "-1"], "--decay-steps: expected 0 or more, got -1"),
        (["--warmup-steps", "-1"], "--warmup-steps: expected 0 or more, got -1"),
        (["--full-steps", "-1"], "--full-steps: expected 0 or more, got -1"),
        (["--matched-share", "1.5"], "--matched-share: expected 0 to 1, got 1.5"),
        (["--table", "t.json", "--matched-share", "1"], "--table: draws its levels alone"),
    ],
)
def test_options_that_make_no_run_are_refused_by_name(
    options: list[str], message: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(photographs, tmp_path / "run", "--steps", "2", *options)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_takes_another_horizon_but_no_decay_beyond_it(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(photographs, tmp_path, "--steps", "2", "--decay-steps", "2") == 0
    assert run(photographs, tmp_path, "--steps", "3") == 0
    assert run(photographs, tmp_path, "--decay-steps", "4") == 1
    assert "expected at most the 3 steps of the run, got 4" in capsys.readouterr().err
    assert run(photographs, tmp_path, "--steps", "4", "--decay-steps", "4") == 0
    assert run(photographs, tmp_path, "--steps", "3") == 0  # an earlier end, with the decay that it was begun with


@pytest.mark.parametrize("below", [False, True])
def test_a_file_as_output_is_refused(
    below: bool, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    output = file / "run" if below else file
    assert run(photographs, output, "--steps", "1") == 1
    message = f"--output {output}: expected a folder, but {file} is a file; choose another --output"
    assert capsys.readouterr().err == f"basic-train: {message}\n"
    assert file.read_text() == "mine"


def test_what_is_refused_is_the_first_word(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Nothing of devices and precision is told before the arguments have been read."""
    half = ["--steps", "1", "--precision", "bf16-mixed"]
    for options in (["--init", str(tmp_path / "no.safetensors")], ["--table", str(tmp_path / "no.json")]):
        assert run(photographs, tmp_path / "run", *half, *options) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("basic-train: ") and captured.err.count("\n") == 1 and captured.out == ""
    assert run(tmp_path / "nowhere", tmp_path / "run", *half) == 1
    assert capsys.readouterr().err.startswith("basic-train: ")


@pytest.mark.parametrize(("steps", "expected"), [(1, [1]), (3, [2, 3]), (4, [2, 4])])
def test_the_last_step_has_a_line(
    steps: int, expected: list[int], photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(photographs, tmp_path, "--steps", str(steps), "--log-every", "2") == 0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == expected
    assert all(row["loss"] > 0 and row["steps_per_second"] > 0 for row in rows)
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"step {steps}/{steps}  loss ")]
    assert len(shown) == 1


def test_a_table_is_all_that_is_drawn_and_its_parts_mix() -> None:
    arch = Architecture()
    levels = default_levels(arch, 3)
    seen = set()
    for step in range(60):
        drawn = draw_level(arch, levels, 0, step, 2)
        chosen = []
        for part in PARTS:
            names = [node.name for node in arch.nodes if node.part == part]
            fitting = [i for i, e in enumerate(levels) if all(drawn.widths[n] == e.widths[n] for n in names)]
            assert len(fitting) == 1
            chosen += fitting
        assert drawn.plan == levels[chosen[1]].plan
        seen.add(tuple(chosen))
    assert len(seen) > 15


def test_fine_tuning_for_a_table_resumes_and_refuses_another(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arch = Architecture()
    for name in ("a", "b"):
        save_table(tmp_path / f"{name}.json", arch, default_levels(arch, 2), {})
    output, table = tmp_path / "run", str(tmp_path / "a.json")
    assert run(photographs, output, "--steps", "1", "--table", table) == 0
    assert load_checkpoint(output / "checkpoint.safetensors").training["settings"]["table"] == "a.json"
    assert run(photographs, output, "--steps", "2") == 0
    assert run(photographs, output, "--steps", "3", "--matched-share", "1") == 1
    assert "its run draws the levels of a table alone; leave out" in capsys.readouterr().err
    assert run(photographs, output, "--steps", "3", "--table", str(tmp_path / "b.json")) == 1
    assert f"cannot change --table {tmp_path / 'b.json'} (begun with {table})" in capsys.readouterr().err
    assert run(photographs, tmp_path / "other", "--steps", "1", "--table", str(tmp_path / "none.json")) == 1
    assert "none.json" in capsys.readouterr().err
