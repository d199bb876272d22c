"""Laws of the integer entropy path: bounds are real, engines equal the oracle, noise of a quarter flips nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from basic.export import graphs, integer, verify
from basic.runtime import engine_oracle as oracle
from basic.runtime import layers as limits
from basic.runtime.bundle import content_id
from basic.runtime.groups import Plan, default_plan, group_channels
from basic.training.model import Model
from basic.training.nodes import Architecture

PLAN = default_plan(3)


@pytest.fixture(scope="module")
def layers() -> dict[str, limits.Layer]:
    """Layers of a narrow level with weights spread as in training, so that clamps and bounds are reached."""
    torch.manual_seed(3)
    model = Model().eval()
    with torch.no_grad():
        model.context.mean.weight.mul_(200)
        model.context.scale.weight.mul_(600)
    widths = Architecture().between(0.2)
    seen = integer.calibrate(model, widths, PLAN, verify.load_images(None)[:1])
    return integer.quantise(model, widths, seen, PLAN)[0]


def inputs(layers: dict[str, limits.Layer], kind: str, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """z_hat and, per group, y_hat in eighths: small, extreme beyond the clamps, or edges of rounding."""
    rng = np.random.default_rng(seed)
    z_hat = rng.integers(-6, 7, (1, layers["h_s.spread"].weight.shape[1], 2, 2))
    shapes = [(1, len(group_channels(group, Architecture().latent_channels)), 4, 4) for group in PLAN]
    if kind == "small":
        return z_hat, [rng.integers(-80, 81, shape) for shape in shapes]
    if kind == "extreme":
        return 40 * z_hat, [rng.choice([-1016, 1016, -9000, 9000], shape) for shape in shapes]
    return z_hat, [rng.integers(-20, 21, shape) * 8 + rng.choice([-4, 3, 4], shape) for shape in shapes]


def expected(
    layers: dict[str, limits.Layer], z_hat: np.ndarray, latents: list[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Every part's outputs by the oracle, fed with the given latents."""
    state = oracle.run_hyper(layers, z_hat)
    found = [{"state": oracle.state_out(layers, state)}]
    for g in range(len(PLAN)):
        if g:
            state = oracle.run_update(layers, PLAN, g - 1, state, latents[g - 1])
        means, indexes = oracle.run_head(layers, PLAN, g, state)
        found.append({"means": means, "indexes": indexes})
        if 0 < g < len(PLAN) - 1:
            found[-1]["state_out"] = oracle.state_out(layers, state)
    return found


def run_graphs(
    models: list[bytes], z_hat: np.ndarray, latents: list[np.ndarray], threads: int, level: str
) -> list[dict]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}_ALL")
    found, state = [], None
    for number, data in enumerate(models):
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        feed = {"z_hat": z_hat.astype(np.float32)} if number == 0 else {"state": state}
        if number > 1:
            feed["y_hat"] = (latents[number - 2] / 8).astype(np.float32)
        outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))
        state = outputs.get("state", outputs.get("state_out", state))
        found.append(outputs)
    return found


def all_graphs(layers: dict[str, limits.Layer], plan: Plan = PLAN) -> list[bytes]:
    return [
        g.serialize()
        for g in [graphs.hyper_graph(layers), *(graphs.context_graph(layers, plan, g) for g in range(len(plan)))]
    ]


def assert_same(got: list[dict], want: list[dict]) -> None:
    for one, other in zip(got, want, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("kind", ["small", "extreme", "edges"])
@pytest.mark.parametrize(("threads", "level"), [(1, "ENABLE"), (2, "ENABLE"), (1, "DISABLE")])
def test_onnxruntime_equals_the_oracle(layers: dict, kind: str, threads: int, level: str) -> None:
    models = all_graphs(layers)
    for seed in range(4):
        z_hat, latents = inputs(layers, kind, seed)
        assert_same(run_graphs(models, z_hat, latents, threads, level), expected(layers, z_hat, latents))


def test_the_walk_over_the_parts_is_the_walk_by_hand(layers: dict) -> None:
    z_hat, latents = inputs(layers, "small", 0)
    walked = list(oracle.run_parts(layers, PLAN, z_hat, lambda group, means: latents[group]))
    assert [name for name, _, _ in walked] == ["hyper", *(f"context_g{g}" for g in range(len(PLAN)))]
    assert_same([outputs for _, _, outputs in walked], expected(layers, z_hat, latents))
    assert_same(run_graphs(all_graphs(layers), z_hat, latents, 1, "ENABLE"), [outputs for _, _, outputs in walked])
    for (_, fed, _), y_hat in zip(walked[2:], latents, strict=False):
        np.testing.assert_array_equal(8 * fed["y_hat"], y_hat)


def test_inputs_reach_the_clamps(layers: dict) -> None:
    """Else the tests above would not see them."""
    z_hat, latents = inputs(layers, "extreme", 0)
    found = expected(layers, z_hat, latents)
    assert max(int(part["indexes"].max()) for part in found[1:]) == limits.INDEX_CLAMP
    assert min(int(part["indexes"].min()) for part in found[1:]) == 0


@pytest.mark.parametrize("kind", ["small", "extreme", "edges"])
def test_noise_of_a_quarter_on_every_accumulator_flips_nothing(layers: dict, kind: str) -> None:
    """A convolution's output is its accumulator over 2^s: noise of up to 0.25 / 2^s is added behind each of them."""
    models = [add_noise(data, layers) for data in all_graphs(layers)]
    z_hat, latents = inputs(layers, kind, 1)
    got, want = run_graphs(models, z_hat, latents, 1, "DISABLE"), expected(layers, z_hat, latents)
    for one, other in zip(got, want, strict=True):
        for name in set(one) - {"state", "state_out"}:  # the state carries the noise; what is read from it does not
            np.testing.assert_array_equal(one[name], other[name])


def add_noise(data: bytes, layers: dict) -> bytes:
    model = onnx.load_from_string(data)
    rng = np.random.default_rng(0)
    biases = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name.endswith(".bias")}
    last_write = "context.write.bias" in biases
    for name, tensor in biases.items():
        # The state is the sum of two accumulators: half of the noise each.
        share = 0.5 if name in ("h_s.up.bias", "context.write.bias") else 1.0
        bias = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        shift = layer_shift(name.removesuffix(".bias"), layers, len(bias), bias)
        noisy = bias + share * rng.uniform(-0.25, 0.25, len(bias)) / np.exp2(shift)
        tensor.CopyFrom(onnx.numpy_helper.from_array(noisy.astype(np.float32), name))
    assert biases or last_write
    return model.SerializeToString()


def layer_shift(name: str, layers: dict, count: int, bias: np.ndarray) -> np.ndarray:
    """The shifts of a layer; of a group.s rows the largest (the least noise)."""
    shift = layers[name].shift.astype(np.float64)
    return shift if len(shift) == count else np.full(count, shift.max())


def test_float_networks_do_differ_between_settings() -> None:
    """What the integer path prevents: the same float layers in another order of summation give other last bits."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(1, 320, 16, 16)).astype(np.float32))
    w = torch.from_numpy(rng.normal(size=(320, 320, 1, 1)).astype(np.float32))
    direct = F.conv2d(x, w)
    order = torch.from_numpy(rng.permutation(320))
    shuffled = F.conv2d(x[:, order], w[:, order])
    assert not torch.equal(direct, shuffled)
    assert (torch.floor(direct * 8) != torch.floor(shuffled * 8)).any()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("onednn", [True, False])
def test_torch_in_float32_equals_the_oracle(layers: dict, threads: int, onednn: bool) -> None:
    """hyper's layers as plain float32 convolutions, channels_last, with and without oneDNN."""
    z_hat, _ = inputs(layers, "extreme", 2)
    before, enabled = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn
    try:
        x = torch.from_numpy(z_hat).float().clamp(-127, 127).contiguous(memory_format=torch.channels_last)
        for name, depthwise in (("h_s.spread", False), ("h_s.depthwise", True), ("h_s.up", False)):
            layer = layers[name]
            weight = torch.from_numpy(layer.weight.astype(np.float32))
            weight = weight[:, None] if depthwise else weight[:, :, None, None]
            bias = torch.from_numpy(layer.bias.astype(np.float32))
            x = F.conv2d(x, weight, bias, padding=int(depthwise), groups=len(weight) if depthwise else 1)
            if name != "h_s.up":
                scale = torch.exp2(-torch.from_numpy(layer.shift.astype(np.float32)))[:, None, None]
                half = torch.exp2(torch.from_numpy(layer.shift.astype(np.float32)) - 1)[:, None, None] + 0.5
                x = ((x + half) * scale).floor().clamp(*limits.CLAMPS[name])
        state = F.pixel_shuffle(x, 2).numpy()
    finally:
        torch.set_num_threads(before)
        torch.backends.mkldnn.enabled = enabled
    np.testing.assert_array_equal(state, oracle.run_hyper(layers, z_hat))


def test_the_state_survives_its_exchange_format(layers: dict) -> None:
    rng = np.random.default_rng(0)
    state = rng.integers(-(1 << 22), 1 << 22, (1, len(layers["context.write"].shift), 3, 3))
    np.testing.assert_array_equal(oracle.state_in(layers, oracle.state_out(layers, state)), state)


def test_bounds_hold_for_the_worst_inputs(layers: dict) -> None:
    """The proof's number is reached by inputs at the clamps with the weights' signs, and by none beyond."""
    by_name = {bound.layer: bound for bound in limits.prove(layers)}
    layer, bound = layers["context.first"], by_name["context.first"]
    row = layer.weight[bound.channel].astype(np.int64)
    reached = abs(row).sum() * 127 + abs(int(layer.bias[bound.channel])) + (1 << (int(layer.shift[bound.channel]) - 1))
    assert reached == bound.largest < limits.ACCUMULATOR_LIMIT
    assert set(by_name) == {*limits.prove_inputs(), "context.state"}


@pytest.mark.parametrize("name", ["h_s.spread", "context.second", "context.write"])
def test_a_layer_over_the_bound_is_refused_by_name(layers: dict, name: str) -> None:
    broken = dict(layers)
    broken[name] = replace(layers[name], weight=np.full_like(layers[name].weight, 2047))
    with pytest.raises(ValueError, match="context.state" if name == "context.write" else name):
        limits.prove(broken)
    broken[name] = replace(layers[name], weight=np.full_like(layers[name].weight, 2048))
    with pytest.raises(ValueError, match="a weight of 2048"):
        limits.prove(broken)


def test_operations_that_are_not_exact_are_refused_by_name() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)

    def graph(node: onnx.NodeProto, *weights: tuple[str, tuple[int, ...]]) -> bytes:
        tensors = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights]
        return helper.make_model(helper.make_graph([node], "part", [x], [y], tensors)).SerializeToString()

    integer.check_exact_ops(graph(helper.make_node("Conv", ["x", "w"], ["y"]), ("w", (4, 4, 1, 1))))
    integer.check_exact_ops(graph(helper.make_node("Conv", ["x", "w"], ["y"], group=4), ("w", (4, 1, 3, 3))))
    refused = [
        graph(helper.make_node("Sigmoid", ["x"], ["y"])),
        graph(helper.make_node("Conv", ["x", "w"], ["y"]), ("w", (4, 4, 3, 3))),
        graph(helper.make_node("MatMul", ["x", "x"], ["y"])),
        graph(helper.make_node("ConvTranspose", ["x", "w"], ["y"]), ("w", (4, 4, 1, 1))),
    ]
    for data in refused:
        with pytest.raises(ValueError, match="not exact"):
            integer.check_exact_ops(data)


def test_the_entropy_id_sees_every_integer_and_nothing_else(layers: dict) -> None:
    base = limits.layers_to_arrays(layers)
    assert content_id(base) == content_id(limits.layers_to_arrays(limits.layers_from_arrays(base, "here")))
    for name in base:
        changed = dict(base)
        changed[name] = base[name].copy()
        changed[name].reshape(-1)[0] += 1
        assert content_id(changed) != content_id(base)


def test_every_entropy_graph_of_a_bundle_is_exact(untrained: Path) -> None:
    from basic.runtime.bundle import Bundle

    bundle = Bundle.open(untrained)
    for level in bundle.levels.values():
        for name, part in level.parts.items():
            if name not in ("analysis", "synthesis"):
                integer.check_exact_ops(bundle.read(part.file))
        limits.prove(limits.layers_from_arrays(bundle.entropy_arrays(level.level), "here"))
