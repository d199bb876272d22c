"""Laws of `basic`: results on stdout, the log on stderr, exit status 0, 1 or 2, no output where something failed."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basic.runtime import bitstream, cli, describe
from basic.runtime.budget import STEPS, LatencyProfile
from basic.runtime.bundle import Bundle


@pytest.fixture
def photo(data_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    with Image.open(data_folder / "kodim03.png") as image:
        image.crop((200, 100, 330, 190)).save(path)
    return path


@pytest.fixture
def bundle(bundle_path: Path) -> list[str]:
    return ["--bundle", str(bundle_path), "--threads", "1"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_encode_info_decode(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    coded, decoded = photo.with_suffix(".bsc"), photo.with_name("decoded.png")
    status, out, err = run(capsys, "encode", photo, coded, "--level", 0, "--quality", 40, *bundle)
    assert (status, err) == (0, "") and "quality 40" in out and f"{coded.stat().st_size} bytes" in out
    status, out, err = run(capsys, "info", coded, "--json")
    row = json.loads(out)
    assert (status, err, row["width"], row["height"], row["quality"], row["level"]) == (0, "", 130, 90, 40, 0)
    assert row["num_bytes"] == coded.stat().st_size
    status, out, err = run(capsys, "decode", coded, decoded, *bundle)
    assert (status, err) == (0, "") and "130x90" in out
    with Image.open(decoded) as image:
        assert (image.mode, image.size) == ("RGB", (130, 90))


def test_folders(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, coded, decoded = (photo.parent / name for name in ("in", "coded", "decoded"))
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "broken.png").write_bytes(photo.read_bytes()[:1000])
    status, out, err = run(capsys, "encode", folder, coded, "--level", 0, "--json", *bundle)
    assert status == 1 and "broken.png" in err
    assert [Path(row["output"]).name for row in json.loads(out)] == ["a.bsc", "b.bsc"]
    assert sorted(path.name for path in coded.iterdir()) == ["a.bsc", "b.bsc"]
    status, out, err = run(capsys, "decode", coded, decoded, "--suffix", ".webp", *bundle)
    assert (status, err) == (0, "")
    assert sorted(path.name for path in decoded.iterdir()) == ["a.webp", "b.webp"]


def test_targets(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    coded = photo.with_suffix(".bsc")
    _, out, _ = run(capsys, "encode", photo, coded, "--level", 0, "--quality", 30, "--json", *bundle)
    bpp = json.loads(out)[0]["bpp"]
    status, out, err = run(capsys, "encode", photo, coded, "--level", 0, "--target-bpp", bpp, "--json", *bundle)
    assert status == 0 and json.loads(out)[0]["bpp"] <= bpp
    status, out, err = run(capsys, "encode", photo, coded, "--level", 0, "--target-psnr", 999, "--json", *bundle)
    assert status == 0 and json.loads(out)[0]["quality"] == 63 and "out of reach" in err


def piped(data: bytes, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own, with pipes as standard input and output."""
    words = [sys.executable, "-m", "basic.runtime.cli", *map(str, arguments)]
    return subprocess.run(words, input=data, capture_output=True, check=False)


@pytest.mark.parametrize(("source", "target"), [("-", "-"), ("/dev/stdin", "/dev/stdout")])
def test_a_filter_gives_the_bytes_of_a_file(
    source: str, target: str, photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if not (source == "-" or Path(source).exists()):
        pytest.skip(f"no {source}")
    coded, decoded = photo.with_suffix(".bsc"), photo.with_name("decoded.tiff")
    run(capsys, "encode", photo, coded, "--level", 0, *bundle)
    run(capsys, "decode", coded, decoded, *bundle)
    found = piped(photo.read_bytes(), "encode", source, target, "--level", 0, "--json", *bundle)
    assert (found.returncode, found.stdout) == (0, coded.read_bytes())
    assert json.loads(found.stderr)[0]["num_bytes"] == len(found.stdout)
    found = piped(found.stdout, "decode", source, target, "--suffix", "tiff", *bundle)
    assert (found.returncode, found.stdout) == (0, decoded.read_bytes()) and b"130x90" in found.stderr


def test_standard_input_and_output_one_by_one(photo: Path, bundle: list[str]) -> None:
    coded = photo.with_suffix(".bsc")
    found = piped(photo.read_bytes(), "encode", "-", coded, "--level", 0, *bundle)
    assert found.returncode == 0 and b"bpp" in found.stdout
    assert piped(b"", "encode", photo, "-", "--level", 0, *bundle).stdout == coded.read_bytes()
    assert piped(b"", "decode", coded, "-", *bundle).stdout.startswith(b"\x89PNG")
    of_file, of_pipe = (
        json.loads(piped(data, "info", name, "--json").stdout)
        for data, name in ((b"", coded), (coded.read_bytes(), "-"))
    )
    assert of_pipe == of_file | {"file": "standard input"}
    for data, words in ((b"", b"standard input: "), (photo.read_bytes()[:1000], b"standard input: ")):
        found = piped(data, "encode", "-", "-", *bundle)
        assert (found.returncode, found.stdout) == (1, b"") and found.stderr.startswith(b"basic: " + words)
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.bsc", "photo.png"]


def test_what_goes_to_no_pipe_is_refused(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for source, target, words in ((photo.parent, "-", "a folder of files"), ("-", photo.parent, "no name to keep")):
        status, out, err = run(capsys, "encode", source, target, *bundle)
        assert (status, out) == (1, "") and words in err


def test_a_reader_that_ends_early_is_named(photo: Path, bundle: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "basic.runtime.cli", "encode", str(photo), "-", "--level", "0", *bundle]
    found = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert found.returncode == 1 and b"standard output: cannot be written: Broken pipe" in found.stderr
    assert b"Traceback" not in found.stderr and b"Exception ignored" not in found.stderr


def shell(command: str, *arguments: object, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """`basic` as a shell starts it, its words as $1, $2 ..."""
    line = command.replace("basic", f"{sys.executable} -m basic.runtime.entry", 1)
    words = ["sh", "-c", line, "sh", *map(str, arguments)]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def test_closed_and_empty_standard_streams_are_named(photo: Path, tmp_path: Path) -> None:
    for command, words in (
        ('basic encode "$1" - --level 0 >&-', "standard output: closed"),
        ("basic encode - x.bsc --level 0 <&-", "standard input: closed"),
        ("basic encode - x.bsc --level 0 </dev/null", "standard input: empty"),
        ("basic info - </dev/null", "standard input: empty"),
    ):
        found = shell(f"cd {tmp_path}; {command}" if "x.bsc" in command else command, photo)
        assert found.returncode == 1 and words in found.stderr and "Traceback" not in found.stderr
    assert not (tmp_path / "x.bsc").exists()


def test_names_that_the_terminal_cannot_show_do_no_harm(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "ü 日本.bsc"
    found = shell('basic encode "$1" "$2" --level 0', photo, target, encoding="ascii")
    assert (found.returncode, found.stderr) == (0, "") and "\\xfc" in found.stdout and target.exists()


def test_a_folder_that_is_not_there_is_no_name_of_a_file(
    photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, "encode", photo, f"{photo.parent}/new/", "--level", 0, *bundle)
    assert status == 1 and "new/: no such folder; make it first" in err and not (photo.parent / "new").exists()
    (photo.parent / "new").mkdir()
    assert run(capsys, "encode", photo, f"{photo.parent}/new/", "--level", 0, *bundle)[0] == 0
    assert (photo.parent / "new" / "photo.bsc").exists()


def test_a_folder_is_made_when_its_command_can_begin(
    photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (["--level", 99, *bundle], ["--bundle", "nothing.bundle"]):
        assert run(capsys, "encode", photo.parent, photo.parent / "out", *more)[0] == 1
        assert not (photo.parent / "out").exists()


def test_files_whose_names_differ_by_case_are_both_named(
    photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photo.parent / "in"
    folder.mkdir()
    for name in ("a.png", "A.PNG"):
        (folder / name).write_bytes(photo.read_bytes())
    if len(list(folder.iterdir())) == 1:
        pytest.skip("the file system knows no case")
    status, _, err = run(capsys, "encode", folder, photo.parent / "out", "--level", 0, *bundle)
    assert status == 1 and "in/A.PNG" in err and "in/a.png" in err


@pytest.mark.parametrize("suffix", ["gif", "ico", "pdf"])
def test_formats_that_keep_another_image_are_told(
    suffix: str, photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    coded, decoded = photo.with_suffix(".bsc"), photo.with_name(f"decoded.{suffix}")
    run(capsys, "encode", photo, coded, "--level", 0, *bundle)
    status, _, err = run(capsys, "decode", coded, decoded, *bundle)
    assert status == 0 and "not the decoded 130x90 RGB; .png keeps it" in err and decoded.exists()


@pytest.mark.parametrize("name", ["decoded.xyz", "decoded"])
def test_an_output_of_no_format_is_refused_before_anything_is_done(
    name: str, photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    coded, decoded = photo.with_suffix(".bsc"), photo.with_name(name)
    assert run(capsys, "encode", photo, coded, *bundle)[0] == 0
    status, out, err = run(capsys, "decode", coded, decoded, *bundle)
    assert (status, out) == (2, "") and f"OUT {decoded}" in err and "png" in err and not decoded.exists()


def test_a_suffix_does_not_contradict_the_output(
    photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    coded, decoded = photo.with_suffix(".bsc"), photo.with_name("decoded.png")
    run(capsys, "encode", photo, coded, "--level", 0, *bundle)
    status, _, err = run(capsys, "decode", coded, decoded, "--suffix", "webp", *bundle)
    assert status == 2 and "--suffix .webp: not with OUT" in err and not decoded.exists()
    assert run(capsys, "decode", coded, decoded, "--suffix", "png", *bundle)[0] == 0


def test_a_checkpoint_in_the_place_of_a_bundle_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes((40).to_bytes(8, "little") + b'{"weight":{"dtype":"F16","shape":[1]}}  ')
    for arguments in (["info", path], ["doctor", path]):
        status, out, err = run(capsys, *arguments)
        assert status == 1 and "this is a checkpoint; make a bundle of it: basic-export" in out + err


def test_decoding_replaces_no_originals(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = photo.parent, photo.read_bytes()
    assert run(capsys, "encode", folder, folder, "--level", 0, *bundle)[0] == 0
    status, _, err = run(capsys, "decode", folder, folder, *bundle)
    assert status == 1 and "photo.png: is there already, perhaps the original" in err and photo.read_bytes() == before
    assert run(capsys, "decode", folder, folder, "--suffix", ".tiff", *bundle)[0] == 0


def test_a_bitstream_takes_no_name_of_an_image(
    photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("coded.jpg", "other.png"):
        other = photo.with_name(name)
        other.write_bytes(b"dear")
        status, _, err = run(capsys, "encode", photo, other, "--level", 0, *bundle)
        assert status == 1 and f"{name}: expected a name for a bitstream" in err and other.read_bytes() == b"dear"


@pytest.fixture
def profile(bundle_path: Path, tmp_path: Path) -> Path:
    """A latency profile in which every step of level l takes 10 (l + 1) ms, whatever the size."""
    levels = Bundle.open(bundle_path).levels
    curves = {n: dict.fromkeys(STEPS, ((4096, 10.0 * (n + 1)), (1 << 20, 10.0 * (n + 1)))) for n in levels}
    found = LatencyProfile("ort", 1, {n: level.entropy_id.hex() for n, level in levels.items()}, curves, {})
    path = tmp_path / "latency.json"
    path.write_text(found.to_json())
    return path


def test_budgets(
    photo: Path, profile: Path, bundle: list[str], bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded, lightest = photo.with_suffix(".bsc"), min(Bundle.open(bundle_path).levels)
    heaviest = max(Bundle.open(bundle_path).levels)
    assert heaviest > lightest
    common = ["--latency-profile", profile, *bundle]
    for budget_ms, level in ((1e6, heaviest), (20 * (lightest + 1), lightest)):
        status, out, err = run(capsys, "encode", photo, coded, "--budget-ms", budget_ms, "--json", *common)
        assert (status, err) == (0, "") and json.loads(out)[0]["level"] == level
    decoded = {}
    run(capsys, "encode", photo, coded, "--level", lightest, *bundle)
    for option, value in (("--level", heaviest), ("--budget-ms", 10 * (lightest + 1) + 10 * (heaviest + 1))):
        more = common if option == "--budget-ms" else bundle
        path = photo.with_name(f"{option}.png")
        assert run(capsys, "decode", coded, path, option, value, *more)[0] == 0
        decoded[option] = path.read_bytes()
    assert decoded["--level"] == decoded["--budget-ms"]
    status, out, err = run(capsys, "decode", coded, photo.with_name("late.png"), "--budget-ms", 1, *common)
    assert status == 1 and "entropy level" in err and not photo.with_name("late.png").exists()


def test_budgets_that_make_no_sense(
    photo: Path, profile: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        (["--budget-ms", 50], "together"),
        (["--latency-profile", profile], "together"),
        (["--budget-ms", -1, "--latency-profile", profile], "positive"),
        (["--budget-ms", "nan", "--latency-profile", profile], "positive"),
        (["--budget-ms", 50, "--latency-profile", profile, "--target-bpp", 1], "target"),
    ):
        status, _, err = run(capsys, "encode", photo, photo.with_suffix(".bsc"), *arguments, *bundle)
        assert status == 2 and words in err
    with pytest.raises(SystemExit) as exit_:
        cli.main(["encode", str(photo), "out.bsc", "--level", "0", "--budget-ms", "5"])
    assert exit_.value.code == 2
    arguments = ["--budget-ms", 50, "--latency-profile", profile, *bundle, "--threads", 2]
    status, _, err = run(capsys, "encode", photo, photo.with_suffix(".bsc"), *arguments)
    assert status == 1 and "measured with num_threads 1," in err
    profile.write_text("{}")
    arguments = ["--budget-ms", 50, "--latency-profile", profile, *bundle]
    status, _, err = run(capsys, "encode", photo, photo.with_suffix(".bsc"), *arguments)
    assert status == 1 and "save-profile" in err


def test_failures_leave_nothing(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    target = photo.with_name("out.bsc")
    broken = photo.with_name("broken.png")
    broken.write_bytes(photo.read_bytes()[:-500])
    for arguments, words in (
        ([photo.with_name("nothing.png"), target, *bundle], "no such file"),
        ([broken, target, *bundle], "broken.png"),
        ([photo, target, *bundle, "--max-pixels", 100], "raise --max-pixels if"),
        ([photo, target, *bundle, "--level", 99], "99"),
        ([photo, target, "--bundle", photo], "bundle"),
        ([photo, photo, *bundle], "overwrite"),
        ([photo, photo.parent / "no" / "out.bsc", *bundle], "folder does not exist"),
    ):
        status, out, err = run(capsys, "encode", *arguments)
        assert (status, out.replace("[]\n", "")) == (1, ""), arguments
        assert words in err
    photo.with_name("bad.bsc").write_bytes(b"\xd3BSC\x01")
    status, out, err = run(capsys, "decode", photo.with_name("bad.bsc"), photo.with_name("bad.png"), *bundle)
    assert status == 1 and "truncated" in err
    assert sorted(path.name for path in photo.parent.iterdir()) == ["bad.bsc", "broken.png", "photo.png"]


def test_wrong_use_is_2(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    target = photo.with_name("out.bsc")
    assert run(capsys, "encode", photo, target, *bundle, "--quality", 64)[0] == 2
    assert run(capsys, "encode", photo, target, *bundle, "--tile-size", 100)[0] == 2
    ends = ["encode", str(photo), str(target)]
    for arguments in (
        [],
        ["encode"],
        [*ends, "--quality", "1", "--target-bpp", "1"],
        [*ends, "--engine", "magic"],
        [*ends, "--level", "-1"],
        [*ends, "--threads", "0"],
        [*ends, "--threads", "100000"],
        [*ends, "--max-pixels", "-5"],
        ["encode", "", str(target)],
        ["encode", str(photo), ""],
        ["decode", "a", "b", "--suffix", "xyz"],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
    assert not target.exists()


def test_warnings_go_to_the_log(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    deep = photo.with_name("deep.png")
    Image.fromarray(np.full((30, 40), 4000, np.uint16)).save(deep)
    status, out, err = run(capsys, "encode", deep, photo.with_name("deep.bsc"), "--json", *bundle)
    assert status == 0 and json.loads(out) and "reduced to 8" in err


def test_warnings_about_a_folder_name_their_file(
    photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photo.parent / "in"
    folder.mkdir()
    Image.fromarray(np.full((30, 40), 4000, np.uint16)).save(folder / "deep.png")
    (folder / "plain.png").write_bytes(photo.read_bytes())
    status, _, err = run(capsys, "encode", folder, photo.parent / "out", *bundle)
    assert status == 0 and err.count("warning: ") == 1
    assert f"warning: {folder / 'deep.png'}: image has 16 bits" in err


def test_a_suffix_may_come_without_its_dot(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = photo.parent / "in"
    folder.mkdir()
    photo.rename(folder / "a.png")
    assert run(capsys, "encode", folder, folder, *bundle)[0] == 0
    assert run(capsys, "decode", folder, folder / "out", "--suffix", "bmp", *bundle)[0] == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["a.bmp"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_info_names_what_is_damaged(
    damage: str, bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(bundle_path) as archive:
        archive.extractall(tmp_path / "bundle")
    assert run(capsys, "info", tmp_path / "bundle")[0] == 0
    part = tmp_path / "bundle" / "level_0" / "synthesis.onnx"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "missing":
        part.unlink()
    else:
        part.write_bytes(data if damage == "flipped" else data[:-100])
    status, out, err = run(capsys, "info", tmp_path / "bundle")
    assert status == 1 and "kMAC/px" in out and err.count("basic:") == 1 and "level_0/synthesis.onnx" in err
    status, out, _ = run(capsys, "info", tmp_path / "bundle", "--json")
    assert status == 1 and len(json.loads(out)["damage"]) == 1


def test_info_of_a_zip_with_a_flipped_byte(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(bundle_path.read_bytes())
    data[len(data) // 2] ^= 0x55
    broken = tmp_path / "broken.bundle"
    broken.write_bytes(data)
    status, _, err = run(capsys, "info", broken)
    assert status == 1 and "level_" in err and "Traceback" not in err


def test_info_of_a_bundle(bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "info", bundle_path)
    assert status == 0 and "kMAC/px" in out
    row = json.loads(run(capsys, "info", bundle_path, "--json")[1])
    assert [level["level"] for level in row["levels"]] == sorted(Bundle.open(bundle_path).levels)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_a_device_is_no_bundle(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["info", "/dev/zero"], ["doctor", "/dev/zero"], ["encode", photo, "x", "--bundle", "/dev/zero"]):
        status, out, err = run(capsys, *words)
        assert status == 1 and "this is a device" in out + err


def test_a_level_that_is_not_there_is_said_once(
    photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photo.parent / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    status, _, err = run(capsys, "encode", folder, photo.parent / "out", "--level", "99", *bundle)
    assert status == 1 and err.count("level 99") == 1


def test_info_of_something_else(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "info", photo)
    assert (status, out) == (1, "") and "neither" in err
    assert run(capsys, "info", photo.with_name("nothing"))[0] == 1


def test_messages_name_options(photo: Path, bundle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    coded = photo.with_suffix(".bsc")
    assert run(capsys, "encode", photo, coded, "--level", 0, *bundle)[0] == 0
    for words, message in (
        (["decode", coded, photo.with_name("a.png"), "--max-pixels", 9], "; raise --max-pixels if you trust the file"),
        (["encode", photo, coded, "--quality", 64], "basic: --quality: expected a whole number in 0..63, got 64"),
        (["encode", photo, coded, "--tile-size", 65], "basic: --tile-size: expected a multiple of 64"),
        (["encode", photo, coded, "--target-psnr", -1], "basic: --target-psnr: expected a number"),
        (["encode", photo, coded, "--target-bpp", -1], "basic: --target-bpp: expected a positive number"),
    ):
        status, _, err = run(capsys, *words, *bundle)
        assert status in (1, 2) and message in err


def test_info_tells_whether_a_bundle_decodes_a_file(
    photo: Path, bundle: list[str], bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = photo.with_suffix(".bsc")
    level = min(Bundle.open(bundle_path).levels)
    assert run(capsys, "encode", photo, coded, "--level", level, *bundle)[0] == 0
    status, out, err = run(capsys, "info", coded, "--bundle", bundle_path, "--json")
    row = json.loads(out)
    assert (status, err, row["decodable"], row["bundle"], row["level"]) == (0, "", True, str(bundle_path), level)
    with zipfile.ZipFile(bundle_path) as archive:
        archive.extractall(tmp_path / "bundle")
    part = tmp_path / "bundle" / f"level_{level}" / "synthesis.onnx"
    part.write_bytes(part.read_bytes()[:-1])
    status, out, err = run(capsys, "info", coded, "--bundle", tmp_path / "bundle")
    assert status == 1 and "decodable" in out and "False" in out and "synthesis.onnx" in err
    stream = bitstream.read(coded.read_bytes())
    header = replace(stream.header, entropy_id=b"another!")
    coded.write_bytes(bitstream.write(header, None, None, [bytes(tile) for tile in stream.tiles]))
    status, out, err = run(capsys, "info", coded, "--bundle", bundle_path, "--json")
    assert status == 1 and json.loads(out)["decodable"] is False and b"another!".hex() in err


def test_info_of_a_bundle_alone(bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "info", "--bundle", bundle_path)[:2] == run(capsys, "info", bundle_path)[:2]
    status, out, err = run(capsys, "info", bundle_path, "--bundle", bundle_path)
    assert (status, out) == (2, "") and "is a bundle" in err


def test_doctor_proves_the_bundle_it_is_given(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(bundle_path) as archive:
        archive.extractall(tmp_path / "bundle")
    next((tmp_path / "bundle").rglob("hyper.onnx")).write_bytes(b"no network")
    status, out, _ = run(capsys, "doctor", "--bundle", tmp_path / "bundle")
    assert status == 1 and "FAULT" in out and "hyper.onnx" in out
    status, out, err = run(capsys, "doctor", bundle_path, "--bundle", bundle_path)
    assert (status, out) == (2, "") and "expected one bundle" in err


def test_what_info_does_not_know_is_not_printed(bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Bundle.open(bundle_path).manifest.get("name") is None
    assert "None" not in run(capsys, "info", bundle_path)[1]


def test_doctor(bundle_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = run(capsys, "doctor", "--bundle", bundle_path)
    assert status == 0 and str(bundle_path) in out and "files encode and decode" in out and "FAULT" not in out
    both = {"onnxruntime": "1.20", "onnxruntime-gpu": "1.20"}
    monkeypatch.setattr(describe, "onnxruntime_packages", lambda: both)
    status, out, _ = run(capsys, "doctor", bundle_path, "--json")
    (fault,) = [row for row in json.loads(out) if row["ok"] is False]
    assert status == 1 and "pip uninstall onnxruntime onnxruntime-gpu" in fault["detail"]
    assert run(capsys, "doctor", bundle_path / "nothing")[0] == 1
