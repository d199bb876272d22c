"""Laws of the export: repeats byte for byte, equals the model, counts what it costs, leaves nothing half done."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from basic.export import cli, graphs, to_onnx, verify
from basic.export.integer import calibrate, quantise
from basic.runtime.bundle import Bundle
from basic.runtime.groups import channel_wise_checkerboard
from basic.training.complexity import part_macs
from basic.training.draw import Mix, draw
from basic.training.model import Model
from basic.training.nodes import Architecture
from basic.training.structure.levels import LevelEntry, default_levels, learned_levels, load_table, save_table


def test_an_export_repeats_byte_for_byte(checkpoint: Path, untrained: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.bundle"
    assert cli.main([str(checkpoint), "-o", str(again), "--only", "0,3"]) == 0
    assert again.read_bytes() == untrained.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.bundle"]


def test_graphs_hold_opset_18_and_no_path(untrained: Path) -> None:
    with zipfile.ZipFile(untrained) as archive:
        names = [name for name in archive.namelist() if name.endswith(".onnx")]
        assert names
        for name in names:
            model = onnx.load_from_string(archive.read(name))
            assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
            assert not model.metadata_props and not any(
                node.metadata_props or node.doc_string for node in model.graph.node
            )
            texts = [model.doc_string, model.producer_name, *(node.name for node in model.graph.node)]
            assert not any("/" in text or "\\" in text for text in texts)


def test_weights_are_cut_to_the_level(untrained: Path) -> None:
    bundle = Bundle.open(untrained)
    full = sum(tensor.numel() for name, tensor in Model().named_parameters() if name.startswith(("g_s", "g_a", "h_")))
    light = sum(part.num_parameters for name, part in bundle.levels[0].parts.items() if not name.startswith("context"))
    assert light < full / 6


@pytest.mark.parametrize("step", range(3))
def test_any_drawn_level_equals_the_model_and_its_closed_form(step: int) -> None:
    torch.manual_seed(1)
    model = Model().half().float().eval()  # as a checkpoint holds it: float16 is then no further rounding
    drawn = draw(model.arch, Mix(0.0, 0.1, 0.1), 2, step, 1)
    images = verify.load_images(None)[:1]
    layers, _ = quantise(model, drawn.widths, calibrate(model, drawn.widths, drawn.plan, images), drawn.plan)
    parts = graphs.build_parts(model, drawn.widths, drawn.plan, layers)
    found = verify.verify_level(model, drawn.widths, drawn.plan, layers, parts, images)
    assert {d.part for d in found} == {part.name for part in parts}
    expected = part_macs(model.arch, drawn.widths, drawn.plan)
    for part in parts:
        assert to_onnx.count_macs_per_pixel(part.data, part.stride) == pytest.approx(expected[part.name], rel=1e-12)


def test_a_transposed_convolution_is_counted_by_its_input() -> None:
    """16 x 16 positions, each multiplied once by every weight of 8 x 4 x 5 x 5."""
    weight = onnx.numpy_helper.from_array(np.zeros((8, 4, 5, 5), np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, "h", "w"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, "h2", "w2"])
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[2, 2, 2, 2], output_padding=[1, 1]
    )
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y], [weight]), opset_imports=[helper.make_opsetid("", 18)]
    )
    counted = to_onnx.count_macs_per_pixel(model.SerializeToString(), 16)
    assert counted == 16 * 16 * 8 * 4 * 25 / 256**2


def test_parts_take_any_batch_and_size(untrained: Path) -> None:
    bundle = Bundle.open(untrained)
    session = onnxruntime.InferenceSession(bundle.read("level_3/synthesis.onnx"))
    rng = np.random.default_rng(0)
    y_hat = rng.normal(size=(3, bundle.latent_channels, 4, 12)).astype(np.float32)
    gain = bundle.inverse_gain(30)
    together = session.run(None, {"y_hat": y_hat, "inverse_gain": gain})[0]
    alone = session.run(None, {"y_hat": y_hat[1:2], "inverse_gain": gain})[0]
    assert together.shape == (3, 3, 64, 192)
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_entropy_parts_give_integers(untrained: Path) -> None:
    bundle = Bundle.open(untrained)
    level = bundle.levels[3]
    assert [(o[0], o[1]) for o in level.parts["context_g0"].outputs] == [("means", "int16"), ("indexes", "uint8")]
    session = onnxruntime.InferenceSession(bundle.read("level_3/context_g0.onnx"))
    state = np.random.default_rng(0).normal(size=(1, level.widths["context.state"], 2, 2)).astype(np.float32) * 100
    means, indexes = session.run(None, {"state": state})
    assert means.dtype == np.int16 and indexes.dtype == np.uint8 and indexes.max() <= 63


def test_a_part_that_differs_from_the_model_stops_the_export(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(graphs, "LEAKY_SLOPE", 0.2)
    assert cli.main([str(checkpoint), "-o", str(tmp_path / "b.bundle"), "--only", "0"]) == 1
    assert re.search("analysis: [yz] differs from torch", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_count_stops_the_export(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cli, "part_macs", lambda *args: {k: v + 1 for k, v in part_macs(*args).items()})
    assert cli.main([str(checkpoint), "-o", str(tmp_path / "b"), "--only", "0"]) == 1
    assert "must agree" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_a_bundle_but_no_other_folder(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for _ in range(2):
        assert cli.main([str(checkpoint), "-o", str(target), "--only", "0"]) == 0
    assert Bundle.open(target).num_levels == 8
    other = tmp_path / "photos"
    other.mkdir()
    (other / "holiday.txt").write_text("mine")
    assert cli.main([str(checkpoint), "-o", str(other), "--levels", "1"]) == 1
    assert [path.name for path in other.iterdir()] == ["holiday.txt"]


@pytest.mark.parametrize(("count", "tolerance"), [(1, 0), (2, 0), (8, 0.012), (11, 0.04)])
def test_levels_are_log_spaced_in_macs_with_growing_groups(count: int, tolerance: float) -> None:
    arch = Architecture()
    entries = default_levels(arch, count)
    totals = [sum(part_macs(arch, e.widths, e.plan).values()) for e in entries]
    groups = [len(e.plan) for e in entries]
    assert len(entries) == count and totals == sorted(totals) and groups == sorted(groups) and groups[-1] == 8
    for i, total in enumerate(totals[1:-1], 1):
        target = totals[0] * (totals[-1] / totals[0]) ** (i / (count - 1))
        assert total == pytest.approx(target, rel=tolerance)


def test_a_level_table_returns_as_it_was_saved(tmp_path: Path) -> None:
    arch = Architecture()
    entries = [
        LevelEntry(arch.between(0.3), channel_wise_checkerboard(2)),
        LevelEntry(arch.full(), default_levels(arch, 1)[0].plan),
    ]
    save_table(tmp_path / "t.json", arch, entries, {"made": "by hand"})
    assert load_table(tmp_path / "t.json", arch) == entries


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "expected basic-level-table version 1 of basic-s, found x"),
        ({"format_version": 9}, "found basic-level-table version 9"),
        ({"architecture": "other"}, "of other"),
        ({"levels": {}}, "levels: expected a list of 1 to 64, found an object"),
        ({"levels": []}, "levels: expected 1 to 64, found 0"),
        ({"levels": [[]]}, "level 0: expected a JSON object with widths, plan, found a list"),
        ({"levels": [{"plan": [[0]]}]}, "level 0: expected widths, plan, found no widths"),
        ({"levels": [{"widths": 3, "plan": [[0]]}]}, "level 0: widths: expected an object of node: width, found 3"),
        ({"levels": [{"widths": {}, "plan": [[0]]}]}, "level 0: width table of basic-s: missing nodes"),
    ],
)
def test_a_wrong_level_table_is_refused_by_what_came(change: dict, message: str, tmp_path: Path) -> None:
    arch = Architecture()
    path = tmp_path / "t.json"
    save_table(path, arch, default_levels(arch, 1), {})
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        load_table(path, arch)
    assert str(refused.value).startswith(f"level table {path}: ") and "docs/levels.md" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "expected a JSON object with format"),
        (b"{}", "found no format, format_version, architecture, levels"),
        (b"hello", "expected JSON"),
        (b"\xff\xfe", "no text"),
        (b"[" * 100_000, "expected JSON"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_level_table_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_table(path, Architecture())


@pytest.mark.parametrize("width", [48.0, True, "48", None, [48], 47, -16, 144])
def test_a_width_that_is_no_choice_is_refused(
    width: object, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """48.0 equals 48 and True equals 1, but neither makes a layer."""
    arch = Architecture()
    path = tmp_path / "t.json"
    save_table(path, arch, [LevelEntry(arch.full() | {"g_a.trunk8": width}, default_levels(arch, 1)[0].plan)], {})  # type: ignore[dict-item]
    assert cli.main([str(checkpoint), "--table", str(path), "-o", str(tmp_path / "b")]) == 1
    message = f"width of g_a.trunk8: expected a whole number, 48 to 128 in steps of 16, got {width!r}"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("plan", [{"0": 1}, [0, 1], [[0.0, *range(1, 32)]], [[False, *range(1, 32)]], [[0, 1]]])
def test_a_plan_of_other_than_nodes_is_refused(plan: object, tmp_path: Path) -> None:
    arch = Architecture()
    path = tmp_path / "t.json"
    save_table(path, arch, default_levels(arch, 1), {})
    table = json.loads(path.read_text())
    table["levels"][0]["plan"] = plan
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match=r"level 0: .*plan"):
        load_table(path, arch)


def test_levels_stand_from_lightest_to_heaviest(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Reversed ones are refused; one that is lighter to encode and heavier to decode is a choice."""
    arch = Architecture()
    path = tmp_path / "t.json"
    first, second, third = default_levels(arch, 3)
    save_table(path, arch, [first, third, second], {})
    assert cli.main([str(checkpoint), "--table", str(path), "-o", str(tmp_path / "b")]) == 1
    assert "expected lightest to heaviest, but level 2 is lighter than level 1" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    mixed = {name: (first if name.startswith(("g_a", "h_a")) else third).widths[name] for name in first.widths}
    entries = [second, LevelEntry(mixed, first.plan)]
    save_table(path, arch, entries, {})
    assert load_table(path, arch) == entries


@pytest.mark.parametrize("only", ["8", "a", "-1", ""])
def test_levels_outside_the_table_are_refused(only: str, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(checkpoint), "-o", str(tmp_path / "b"), f"--only={only}"])
    assert stopped.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_levels_are_learned_unless_uniform_ones_are_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    arch = Architecture()
    for more, expected in (([], learned_levels(arch, 8)), (["--uniform"], default_levels(arch, 8))):
        assert cli.main([str(checkpoint), "-o", str(tmp_path / "b"), "--only", "1", *more]) == 0
        level = Bundle.open(tmp_path / "b").level(1)
        assert (level.widths, level.plan) == (expected[1].widths, expected[1].plan)
    with pytest.raises(SystemExit, match="2"):
        cli.main([str(checkpoint), "-o", str(tmp_path / "c"), "--uniform", "--table", "t.json"])
