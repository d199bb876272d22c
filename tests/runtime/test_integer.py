"""Laws of the integer loops: whatever the processor, the size, the batch and the threads, they equal the oracle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic.runtime import _ans, engine, engine_onnx
from basic.runtime import engine_oracle as oracle
from basic.runtime.bundle import Bundle
from basic.runtime.errors import BundleError, EngineError
from basic.runtime.groups import NUM_NODES, NUM_SLICES, Plan, group_channels
from basic.runtime.integer import IntegerSession, best_kernels, open_parts, parts_of
from basic.runtime.layers import Layer

NUM_LATENTS = 2 * NUM_SLICES  # two channels a node
KERNELS = _ans.integer_kernels()


def random_layers(rng: np.random.Generator, hyper: int, inner: int, state: int, width: int) -> dict[str, Layer]:
    """Layers of these widths whose sums reach their clamps on both sides."""
    packed = 4 * NUM_LATENTS
    shapes = {
        "h_s.spread": (inner, hyper),
        "h_s.depthwise": (inner, 3, 3),
        "h_s.up": (4 * state, inner),
        "context.read": (packed, 3, 3),
        "context.write": (state, packed),
        "context.first": (width, state),
        "context.depthwise": (width, 3, 3),
        "context.second": (width, width),
        "context.mean": (packed, width),
        "context.scale": (packed, width),
    }
    found = {}
    for name, shape in shapes.items():
        shift = rng.integers(1, 13, shape[0]).astype(np.uint8)
        bias = rng.integers(-(1 << 15), 1 << 15, (NUM_NODES, shape[0]) if name == "context.write" else shape[0])
        found[name] = Layer(rng.integers(-300, 301, shape).astype(np.int16), bias.astype(np.int32), shift)
    of_state = found["context.write"].shift
    found["h_s.up"] = Layer(found["h_s.up"].weight, found["h_s.up"].bias, np.repeat(of_state, 4))
    return found


def random_plan(rng: np.random.Generator, num_groups: int) -> Plan:
    cuts = np.sort(rng.choice(np.arange(1, NUM_NODES), num_groups - 1, replace=False))
    return tuple(tuple(sorted(map(int, group))) for group in np.split(rng.permutation(NUM_NODES), cuts))


def run_all(parts: dict, plan: Plan, z_hat: np.ndarray, latents: list[np.ndarray], num_threads: int) -> list[dict]:
    found = [parts["hyper"].run({"z_hat": z_hat.astype(np.float32)}, num_threads)]
    state = found[0]["state"]
    for g in range(len(plan)):
        inputs = {"state": state}
        if g:
            inputs["y_hat"] = (latents[g - 1] / 8).astype(np.float32)
        found.append(parts[f"context_g{g}"].run(inputs, num_threads))
        state = found[-1].get("state_out", state)
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    widths=st.tuples(*[st.integers(1, 37)] * 4),
    size=st.tuples(st.integers(1, 2), st.integers(1, 13), st.integers(1, 13)),
    num_groups=st.integers(1, 5),
    num_threads=st.integers(1, 3),
    kernels=st.sampled_from(KERNELS),
)
def test_any_layers_and_sizes_equal_the_oracle(
    seed: int, widths: tuple, size: tuple, num_groups: int, num_threads: int, kernels: str
) -> None:
    rng = np.random.default_rng(seed)
    layers, plan = random_layers(rng, *widths), random_plan(rng, num_groups)
    b, h, w = size
    z_hat = rng.choice([-500, -127, -3, 0, 1, 2, 127, 500], (b, widths[0], h, w))
    latents = [
        rng.choice(
            [-9000, -1020, -5, -4, 0, 3, 4, 11, 1020], (b, len(group_channels(nodes, NUM_LATENTS)), 2 * h, 2 * w)
        )
        for nodes in plan
    ]
    steps = list(oracle.run_parts(layers, plan, z_hat, lambda group, _: latents[group]))
    found = run_all(parts_of(layers, plan, kernels), plan, z_hat, latents, num_threads)
    for (name, _, want), got in zip(steps, found, strict=True):
        assert want.keys() == got.keys(), name
        for output in want:
            assert want[output].dtype == got[output].dtype
            np.testing.assert_array_equal(want[output], got[output], err_msg=f"{name} {output}")


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("size", [(1, 16, 24), (3, 40, 33), (1, 1, 1100), (1, 130, 1)])
def test_bands_and_threads_change_nothing(kernels: str, size: tuple) -> None:
    rng = np.random.default_rng(5)
    layers, plan = random_layers(rng, 6, 10, 12, 14), random_plan(rng, 3)
    b, h, w = size
    state = rng.normal(0, 90, (b, 12, h, w)).astype(np.float32)
    y_hat = (rng.integers(-900, 900, (b, len(group_channels(plan[0], NUM_LATENTS)), h, w)) / 8).astype(np.float32)
    part = parts_of(layers, plan, kernels)["context_g1"]
    alone = [part.run({"state": state[:1], "y_hat": y_hat[:1]}, 1)]
    together = [part.run({"state": state, "y_hat": y_hat}, n) for n in (1, 2, 5, 64)]
    for outputs in together:
        for name, array in outputs.items():
            np.testing.assert_array_equal(array, together[0][name])
            np.testing.assert_array_equal(array[:1], alone[0][name])


@pytest.mark.parametrize("kernels", KERNELS)
def test_no_float_breaks_the_loops(kernels: str) -> None:
    rng = np.random.default_rng(6)
    layers, plan = random_layers(rng, 3, 5, 7, 9), random_plan(rng, 2)
    parts = parts_of(layers, plan, kernels)
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 127.99, -127.99, 2.0**31, -(2.0**31)], np.float32)
    z_hat = rng.choice(odd, (1, 3, 5, 5))
    y_hat = rng.choice(odd, (1, len(group_channels(plan[0], NUM_LATENTS)), 5, 5))
    state = rng.choice(odd, (1, 7, 5, 5))
    state_of = {
        name: np.floor(np.clip(np.nan_to_num(x, nan=-1e9), -127, 127)) for name, x in (("z", z_hat), ("s", state))
    }
    plain = np.clip(np.floor(np.nan_to_num(y_hat, nan=-1e9) + np.float32(0.5)), -127, 127).astype(np.float32)
    np.testing.assert_array_equal(
        parts["hyper"].run({"z_hat": z_hat}, 1)["state"],
        parts["hyper"].run({"z_hat": state_of["z"].astype(np.float32)}, 1)["state"],
    )
    for name in ("means", "indexes"):
        np.testing.assert_array_equal(
            parts["context_g0"].run({"state": state}, 1)[name],
            parts["context_g0"].run({"state": state_of["s"].astype(np.float32)}, 1)[name],
        )
        np.testing.assert_array_equal(
            parts["context_g1"].run({"state": state_of["s"].astype(np.float32), "y_hat": y_hat}, 1)[name],
            parts["context_g1"].run({"state": state_of["s"].astype(np.float32), "y_hat": plain}, 1)[name],
        )


def one_layer(weight: list, bias: int = 0, shift: int = 1) -> tuple:
    return np.array([weight], np.int16), np.array([bias], np.int32), np.array([shift], np.uint8)


def test_layers_that_32_bits_cannot_hold_are_refused() -> None:
    most = 2**31 - 1 - 255 * 2 * 32767
    _ans.Pointwise(*one_layer([32767, -32767], most - 1), 255)
    for bias in (most, -most):
        with pytest.raises(ValueError, match="output channel 0: expected weights and a bias whose sums fit 31 bits"):
            _ans.Pointwise(*one_layer([32767, -32767], bias), 255)
    with pytest.raises(ValueError, match="sums fit 31 bits"):
        _ans.Depthwise(*one_layer([[-32768] * 3] * 3, 2**31 - 1), 255)
    for shift in (0, 31, 255):
        with pytest.raises(ValueError, match=f"shift: expected 1 to 30, got {shift}"):
            _ans.Pointwise(*one_layer([1], shift=shift), 255)
    with pytest.raises(ValueError, match="limit: expected 0 to 255, got 256"):
        _ans.Pointwise(*one_layer([1]), 256)
    with pytest.raises(ValueError, match=r"kernels: expected one of scalar.*, got mmx"):
        _ans.Pointwise(*one_layer([1]), 255, True, "mmx")


def test_arrays_of_other_kinds_are_refused_by_name() -> None:
    weight, bias, shift = one_layer([1, 2])
    with pytest.raises(TypeError, match="weight: expected a contiguous int16 array, got int32"):
        _ans.Pointwise(weight.astype(np.int32), bias, shift, 255)
    with pytest.raises(TypeError, match="weight: expected an array of 2 axes"):
        _ans.Pointwise(weight[0], bias, shift, 255)
    with pytest.raises(TypeError, match="bias: expected one number an output channel"):
        _ans.Pointwise(weight, np.zeros(2, np.int32), shift, 255)
    with pytest.raises(TypeError, match="shift: expected one number an output channel"):
        _ans.Pointwise(weight, bias, np.ones(2, np.uint8), 255)
    with pytest.raises(TypeError, match=r"weight: expected an array \(channels, 3, 3\)"):
        _ans.Depthwise(np.ones((1, 3, 2), np.int16), bias, shift, 255)
    with pytest.raises(TypeError, match="weight"):
        _ans.Pointwise(np.ones((1, 0), np.int16), bias, shift, 255)

    rng = np.random.default_rng(8)
    layers, plan = random_layers(rng, 3, 5, 7, 9), random_plan(rng, 2)
    parts = parts_of(layers, plan)
    session = IntegerSession(parts["hyper"], "level 0, part hyper", 1)
    with pytest.raises(EngineError, match=r"level 0, part hyper: z_hat: expected an array \(B, 3, h, w\)"):
        session.run({"z_hat": np.zeros((1, 4, 2, 2), np.float32)})
    with pytest.raises(EngineError, match="z_hat: expected a contiguous float32 array, got float64"):
        session.run({"z_hat": np.zeros((1, 3, 2, 2))})
    with pytest.raises(EngineError, match="level 0, part hyper: 'z_hat' is missing"):
        session.run({})
    with pytest.raises(EngineError, match="num_threads: expected 1 to 1024, got 0"):
        IntegerSession(parts["hyper"], "hyper", 0).run({"z_hat": np.zeros((1, 3, 2, 2), np.float32)})
    state = np.zeros((1, 7, 4, 4), np.float32)
    context = IntegerSession(parts["context_g1"], "context_g1", 1)
    with pytest.raises(EngineError, match="y_hat: expected that of the group before, got none"):
        context.run({"state": state})
    y_hat = np.zeros((1, len(group_channels(plan[0], NUM_LATENTS)), 4, 4), np.float32)
    with pytest.raises(EngineError, match="state and y_hat: expected the same size"):
        context.run({"state": state, "y_hat": np.zeros((1, y_hat.shape[1], 2, 4), np.float32)})
    with pytest.raises(EngineError, match="y_hat: expected an array"):
        context.run({"state": state, "y_hat": np.zeros((1, 3, 4, 4), np.float32)})


def test_layers_that_do_not_follow_each_other_are_refused() -> None:
    rng = np.random.default_rng(9)
    plan = random_plan(rng, 2)
    layers = random_layers(rng, 3, 5, 7, 9)
    others = random_layers(rng, 3, 6, 8, 10)
    for name in ("h_s.depthwise", "h_s.up"):
        with pytest.raises(ValueError, match=r"expected [56] channels, got [56]"):
            parts_of(layers | {name: others[name]}, plan)["hyper"].run({"z_hat": np.zeros((1, 3, 2, 2), np.float32)}, 1)
    for name in ("context.depthwise", "context.second", "context.mean", "context.scale", "context.write"):
        part = parts_of(layers | {name: others[name]}, plan)["context_g1"]
        y_hat = np.zeros((1, len(group_channels(plan[0], NUM_LATENTS)), 2, 2), np.float32)
        with pytest.raises(ValueError, match=r"expected [0-9]+ channels, got [0-9]+"):
            part.run({"state": np.zeros((1, 7, 2, 2), np.float32), "y_hat": y_hat}, 1)


def test_an_empty_batch_gives_nothing() -> None:
    rng = np.random.default_rng(10)
    part = parts_of(random_layers(rng, 3, 5, 7, 9), random_plan(rng, 1))["hyper"]
    assert part.run({"z_hat": np.zeros((0, 3, 2, 2), np.float32)}, 2)["state"].shape == (0, 7, 4, 4)
    assert part.run({"z_hat": np.zeros((1, 3, 0, 2), np.float32)}, 2)["state"].shape == (1, 7, 0, 4)


def test_an_entropy_path_that_cannot_be_run_is_a_bundle_error(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(bundle_path)
    arrays = bundle.entropy_arrays(0)
    arrays["context.second.shift"] = arrays["context.second.shift"] * 0
    monkeypatch.setattr(bundle, "entropy_arrays", lambda level: arrays)
    with pytest.raises(BundleError, match=r"level 0: context.second: expected shifts of 1 to 22, got 0 to 0"):
        open_parts(bundle, 0)


def test_layers_made_for_smaller_inputs_or_other_rounding_are_refused() -> None:
    rng = np.random.default_rng(12)
    layers, plan = random_layers(rng, 3, 5, 7, 9), random_plan(rng, 1)
    z_hat = np.zeros((1, 3, 2, 2), np.float32)
    spread, spatial = (
        _ans.Pointwise(*fields(layers["h_s.spread"]), 127),
        _ans.Depthwise(*fields(layers["h_s.depthwise"]), 255),
    )
    up = fields(layers["h_s.up"])
    with pytest.raises(ValueError, match="up: expected a layer for inputs up to 255, got one for 1"):
        _ans.run_hyper(spread, spatial, _ans.Pointwise(*up, 1), z_hat, 1)
    with pytest.raises(ValueError, match="up: expected a layer that rounds, got one that does not"):
        _ans.run_hyper(spread, spatial, _ans.Pointwise(*up, 255, False), z_hat, 1)
    if len(KERNELS) > 1:
        with pytest.raises(ValueError, match=f"up: expected a layer made for {KERNELS[-1]}, as the others"):
            _ans.run_hyper(spread, spatial, _ans.Pointwise(*up, 255, True, KERNELS[0]), z_hat, 1)
    assert parts_of(layers, plan)["hyper"].run({"z_hat": z_hat}, 1)["state"].shape == (1, 7, 4, 4)


def fields(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return layer.weight, layer.bias, layer.shift


def test_memory_that_is_not_to_be_had_is_an_engine_error() -> None:
    class Greedy:
        def run(self, inputs: object, num_threads: int) -> dict:
            raise MemoryError("no room")

    with pytest.raises(EngineError, match="hyper: no room"):
        IntegerSession(Greedy(), "hyper", 1).run({})  # type: ignore[arg-type]


@pytest.mark.skipif(best_kernels() is None, reason="no loops for this processor")
def test_levels_of_one_entropy_path_and_other_plans_do_not_share_their_parts(bundle_path: Path) -> None:
    opened, bundle = engine.open_engine("ort", num_threads=1), Bundle.open(bundle_path)
    level = max(bundle.levels)
    parts = opened._integer_parts(bundle, level)  # type: ignore[attr-defined]
    assert opened._integer_parts(bundle, level) is parts  # type: ignore[attr-defined]
    assert opened.alone()._integer_parts(bundle, level) is parts  # type: ignore[attr-defined]
    whole = bundle.levels[level]
    bundle.levels[level] = replace(whole, plan=whole.plan[::-1])
    with pytest.raises(BundleError, match=r"another plan|do not make an entropy path"):
        opened.open(bundle, level, "hyper")
    bundle.levels[level] = whole
    opened.close()
    assert opened._integer_parts(bundle, level) is not parts  # type: ignore[attr-defined]


@pytest.mark.skipif(best_kernels() is None, reason="no loops for this processor")
def test_more_processors_than_threads_may_be_are_as_many_as_may_be(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_onnx, "_num_cores", lambda: 1500)
    opened, bundle = engine.open_engine("ort"), Bundle.open(bundle_path)
    z_hat = np.zeros((1, bundle.hyper_channels, 1, 1), np.float32)
    assert opened.open(bundle, 0, "hyper").run({"z_hat": z_hat})["state"].shape[2:] == (2, 2)


@pytest.mark.skipif(best_kernels() is None, reason="no loops for this processor")
def test_the_engine_runs_the_loops_and_where_they_are_missing_the_graphs(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(bundle_path)
    level = max(bundle.levels)
    z_hat = np.random.default_rng(11).integers(-9, 10, (1, 128, 3, 2)).astype(np.float32)
    quick = engine.open_engine("ort", num_threads=2)
    assert isinstance(quick.open(bundle, level, "hyper"), IntegerSession)
    monkeypatch.setattr(engine_onnx, "best_kernels", lambda: None)
    plain = engine.open_engine("ort", num_threads=2)
    assert not isinstance(plain.open(bundle, level, "hyper"), IntegerSession)
    states = [opened.open(bundle, level, "hyper").run({"z_hat": z_hat})["state"] for opened in (quick, plain)]
    np.testing.assert_array_equal(*states)
    for opened in (quick, plain):
        found = opened.open(bundle, level, "context_g0").run({"state": states[0]})
        assert found["means"].dtype == np.int16
        states.append(found["means"])
    np.testing.assert_array_equal(*states[2:])
