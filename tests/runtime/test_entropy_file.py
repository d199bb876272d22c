"""Laws of a level's entropy path: what was taken apart returns bit for bit; what does not fit is a BundleError."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from basic.runtime import onnx_file
from basic.runtime.bundle import Bundle, content_id, load_arrays
from basic.runtime.entropy_file import complete, lean
from basic.runtime.errors import BundleError
from basic.runtime.groups import Plan, default_plan, group_channels, make_plan

M, HYPER, INNER, STATE, K = 16, 5, 6, 7, 9
SCATTERED = make_plan([[31, 2, 9], [node for node in range(32) if node not in (31, 2, 9, 17)], [17]])
PLANS = [*(default_plan(n) for n in (1, 2, 5, 8)), SCATTERED]
Parts = dict[str, dict[str, np.ndarray]]


def drawn_arrays() -> dict[str, np.ndarray]:
    """Every array of a small entropy path."""
    rng = np.random.default_rng(0)
    shapes = {
        "h_s.spread": (INNER, HYPER), "h_s.depthwise": (INNER, 3, 3), "h_s.up": (4 * STATE, INNER),
        "context.read": (4 * M, 3, 3), "context.write": (STATE, 4 * M), "context.first": (K, STATE),
        "context.depthwise": (K, 3, 3), "context.second": (K, K), "context.mean": (4 * M, K),
        "context.scale": (4 * M, K),
    }  # fmt: skip
    found = {"frequencies": rng.integers(1, 99, 30).astype(np.uint16)}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = rng.integers(-2047, 2048, shape).astype(np.int16)
        found[f"{name}.bias"] = rng.integers(-99, 99, shape[0]).astype(np.int32)
        found[f"{name}.shift"] = rng.integers(1, 9, shape[0]).astype(np.uint8)
    return found


def parts_of(arrays: dict[str, np.ndarray], plan: Plan) -> Parts:
    """The weights as the parts of a level hold them (BUNDLE.md)."""

    def stored(name: str, weight: np.ndarray) -> dict[str, np.ndarray]:
        key = f"{name}.weight"
        return {key: weight[:, None] if weight.ndim == 3 else weight[:, :, None, None]}

    def all_of(*names: str) -> dict[str, np.ndarray]:
        return {key: value for name in names for key, value in stored(name, arrays[f"{name}.weight"]).items()}

    found = {"hyper": all_of("h_s.spread", "h_s.depthwise", "h_s.up")}
    for g, group in enumerate(plan):
        context = all_of("context.first", "context.depthwise", "context.second")
        for name in ("context.mean", "context.scale"):
            context |= stored(name, arrays[f"{name}.weight"][group_channels(group, M)])
        if g:
            before = group_channels(plan[g - 1], M)
            context |= stored("context.read", arrays["context.read.weight"][before])
            context |= stored("context.write", arrays["context.write.weight"][:, before])
        found[f"context_g{g}"] = context
    return found


def reader(parts: Parts) -> Callable[[str], bytes]:
    return lambda name: onnx_file.write(onnx_file.Graph(name, [], parts[name], [], []))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{len(plan)} groups")
def test_what_was_taken_apart_returns_bit_for_bit(plan: Plan) -> None:
    arrays = drawn_arrays()
    kept = lean(arrays, plan)
    back = complete(kept, plan, reader(parts_of(arrays, plan)), "here")
    assert content_id(back) == content_id(arrays)
    num_twice = sum(kept[name].size for name in kept if name.endswith("weight"))
    assert num_twice == len(group_channels(plan[-1], M)) * (9 + STATE)  # what no part reads, and no more


def test_every_weight_counts() -> None:
    """Whichever integer of whichever part changes, the entropy path is another, or none."""
    arrays = drawn_arrays()
    kept, base = lean(arrays, SCATTERED), content_id(arrays)
    for part, weights in parts_of(arrays, SCATTERED).items():
        for name in weights:
            parts = parts_of(arrays, SCATTERED)
            parts[part][name] = weights[name].copy()
            parts[part][name].reshape(-1)[-1] += 1
            try:
                assert content_id(complete(kept, SCATTERED, reader(parts), "here")) != base
            except BundleError as error:
                assert "differs between contexts" in str(error)


def drop(parts: Parts) -> None:
    del parts["hyper"]["h_s.up.weight"]


def retype(parts: Parts) -> None:
    parts["context_g0"]["context.mean.weight"] = parts["context_g0"]["context.mean.weight"].astype(np.float32)


def narrow(parts: Parts) -> None:
    parts["context_g1"]["context.read.weight"] = parts["context_g1"]["context.read.weight"][1:]


def flatten(parts: Parts) -> None:
    parts["hyper"]["h_s.spread.weight"] = parts["hyper"]["h_s.spread.weight"][:, :, 0, 0]


@pytest.mark.parametrize("damage", [drop, retype, narrow, flatten])
def test_weights_that_do_not_fit_are_refused(damage: Callable[[Parts], None]) -> None:
    arrays = drawn_arrays()
    parts = parts_of(arrays, SCATTERED)
    damage(parts)
    with pytest.raises(BundleError, match=r"here: .*export the bundle again"):
        complete(lean(arrays, SCATTERED), SCATTERED, reader(parts), "here")


@pytest.mark.parametrize("name", ["context.read.shift", "context.read.weight", "context.write.weight"])
def test_a_file_without_what_no_part_holds_is_refused(name: str) -> None:
    arrays = drawn_arrays()
    kept = {key: value for key, value in lean(arrays, SCATTERED).items() if key != name}
    with pytest.raises(BundleError, match="export the bundle again"):
        complete(kept, SCATTERED, reader(parts_of(arrays, SCATTERED)), "here")


def test_another_plan_is_another_entropy_path() -> None:
    arrays = drawn_arrays()
    plan = default_plan(2)
    swapped = make_plan([plan[1], plan[0]])
    back = complete(lean(arrays, plan), swapped, reader(parts_of(arrays, plan)), "here")
    assert content_id(back) != content_id(arrays)


def test_format_1_with_every_weight_in_one_file_still_reads() -> None:
    arrays = drawn_arrays()

    def no_part(name: str) -> bytes:
        raise AssertionError(f"{name} is not needed")

    assert content_id(complete(arrays, SCATTERED, no_part, "here")) == content_id(arrays)


def test_the_packaged_bundle_holds_no_integer_weight_twice(bundle_path: Path) -> None:
    bundle = Bundle.open(bundle_path)
    for number, level in bundle.levels.items():
        kept = load_arrays(bundle.read(level.entropy_file), "here")
        whole = bundle.entropy_arrays(number)
        assert {name: array.shape for name, array in kept.items()} == {
            name: array.shape for name, array in lean(whole, level.plan).items()
        }
    with zipfile.ZipFile(io.BytesIO(bundle_path.read_bytes())) as archive:
        sizes = {info.filename: info.compress_size for info in archive.infolist()}
    assert sum(size for name, size in sizes.items() if name.endswith("entropy.npz")) < 0.03 * sum(sizes.values())
    num_parameters = sum(part.num_parameters for level in bundle.levels.values() for part in level.parts.values())
    assert sum(sizes.values()) < 1.6 * num_parameters  # bytes: float16, int16 and int8, deflated
