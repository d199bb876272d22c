"""Laws of the structure searches: what they find is never worse than where they start, and a stop loses nothing."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from basic.runtime.groups import NUM_NODES, checkerboard, make_plan, one_group
from basic.training.checkpoint import save_checkpoint
from basic.training.complexity import total_macs
from basic.training.model import Model
from basic.training.nodes import Architecture
from basic.training.structure import cli
from basic.training.structure.budget import targets
from basic.training.structure.check import difference
from basic.training.structure.judge import Judge, crossed
from basic.training.structure.latency import Grid
from basic.training.structure.levels import (
    LEARNED,
    default_levels,
    learned_levels,
    load_learned,
    load_table,
    uniform_level,
)
from basic.training.structure.memo import Memo, StoppedError
from basic.training.structure.plans import ALL, NodeRates, PlanSearch, chain_of, hand_made, plan_of
from basic.training.structure.search import Search
from basic.training.structure.space import PLAN, Choice, Space, default_plans
from basic.training.structure.tables import load_path, load_plans

TINY = Architecture(
    name="tiny",
    latent_channels=32,
    hyper_channels=16,
    trunk8=64,
    trunk16=80,
    inner16=80,
    num_blocks8=4,
    num_blocks16=3,
    hyper_width=64,
    hyper_spread=80,
    state=112,
    context_inner=112,
)
CROPS = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def tiny() -> Model:
    torch.manual_seed(3)
    return Model(TINY).eval()


@pytest.fixture(scope="module")
def judge(tiny: Model) -> Judge:
    return Judge(tiny, CROPS, crossed(3, (10.0, 50.0), 2))


def search_on(space: Space, worth: dict[str, float], calls: list[Choice] | None = None) -> Search:
    """A loss that is a sum of concave gains of every node, so that greedy by price is known to be right."""

    def evaluate(choice: Choice) -> tuple[float, ...]:
        if calls is not None:
            calls.append(choice)
        lost = sum(worth.get(n, 1.0) * (1 - w / max(space.choices(n))) ** 2 for n, w in choice.items())
        return (1 + lost, 3 + lost)

    return Search(space, evaluate)


def test_a_kept_tensor_changes_no_score(judge: Judge, tiny: Model) -> None:
    plan = checkerboard()
    structures = [TINY.full(), TINY.full() | {"g_s.trunk8": 48}, TINY.full() | {"context.state": 96}, TINY.lightest()]
    kept = [judge.score(widths, plan) for widths in structures]
    for widths, score in zip(structures, kept, strict=True):
        fresh = Judge(tiny, CROPS, crossed(3, (10.0, 50.0), 2)).score(widths, plan)
        np.testing.assert_array_equal(fresh.bpp, score.bpp)
        np.testing.assert_array_equal(fresh.mse, score.mse)


def test_a_judge_scores_as_the_model_does(judge: Judge, tiny: Model) -> None:
    plan = one_group()
    quality = torch.tensor(judge.quality).float()
    x = CROPS[judge.of_crop]
    with torch.no_grad():
        output = tiny(x, quality, TINY.full(), plan, hard=True)
    score = judge.score(TINY.full(), plan)
    np.testing.assert_allclose(score.bpp, (output.y_bits + output.z_bits).numpy() / 64**2, rtol=1e-5)
    np.testing.assert_allclose(score.mse, (output.x_hat.clamp(0, 1) - x).square().mean((1, 2, 3)).numpy(), rtol=1e-4)


def test_every_quality_is_seen_equally_often() -> None:
    pairs = crossed(12, (6.0, 24.0, 42.0, 60.0), 2)
    assert len(pairs) == 24 and len(set(pairs)) == 24
    assert all(sum(quality == q for _, quality in pairs) == 6 for q in (6.0, 24.0, 42.0, 60.0))


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("beam", [1, 2])
def test_a_path_leads_from_end_to_end_and_costs_fall(down: bool, beam: int) -> None:
    space = Space.of(TINY, default_plans())
    path = search_on(space, {}).path(down, beam)
    assert path[0].choice == space.full() and path[-1].choice == space.lightest()
    assert all(a.cost >= b.cost for a, b in pairwise(path))
    for found in path:
        TINY.check(space.parts(found.choice)[0])


def test_the_path_keeps_what_is_worth_most() -> None:
    """A node whose loss is a hundred times the others' is narrowed last."""
    space = Space.of(TINY, default_plans())
    path = search_on(space, {"g_s.trunk16": 100.0}).path(True, 1)
    half = next(found for found in path if found.cost < 0.4 * path[0].cost)
    assert half.choice["g_s.trunk16"] > 64
    assert sum(half.choice[n.name] < n.full for n in TINY.nodes) > 10


def test_a_cut_stays_within_its_cost_and_no_worse_than_the_path() -> None:
    space = Space.of(TINY, default_plans())
    search = search_on(space, {"g_s.trunk16": 30.0, "g_a.trunk8": 20.0, PLAN: 5.0})
    path = search.path(True, 1)
    for target in targets(path[-1].cost, path[0].cost, 6):
        found = search.cut(path, target)
        assert found.cost <= target * (1 + 1e-5)
        assert found.loss <= min(v.loss for v in path if v.cost <= target * (1 + 1e-6)) + 1e-9
    with pytest.raises(ValueError, match="lightest one"):
        search.cut(path, 0.9 * path[-1].cost)


def test_what_is_not_free_stays_full() -> None:
    space = Space.of(TINY, default_plans(), control="backbone")
    light = search_on(space, {}).path(True, 1)[-1].choice
    assert light[PLAN] == 8 and light["context.state"] == TINY.state and light["g_s.trunk8"] == 48


def test_lazy_measuring_measures_few() -> None:
    space = Space.of(TINY, default_plans())
    calls: list[Choice] = []
    moves = len(search_on(space, {}, calls).path(True, 1))
    assert len(calls) < 40 * moves


def random_rates(seed: int = 0) -> PlanSearch:
    """Node n costs 1 less what it shares with each known node: rates fall as sets grow."""
    rng = np.random.default_rng(seed)
    shared = rng.random((NUM_NODES, NUM_NODES)) ** 4 / NUM_NODES

    def given(nodes: int) -> np.ndarray:
        known = np.array([nodes >> n & 1 for n in range(NUM_NODES)])
        return 1 - 1.5 * (1 - np.exp(-(shared @ known)))

    return PlanSearch(given)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_found_plan_beats_every_start_and_no_single_move_helps(count: int) -> None:
    search = random_rates()
    starts = list(hand_made().values())
    plan, rate = search.best(count, starts)
    assert len(plan) == count and rate == pytest.approx(search.rate(chain_of(plan)))
    assert all(rate <= search.rate(chain_of(start)) for start in starts if len(start) == count)
    group_of = {n: g for g, group in enumerate(plan) for n in group}
    for node in range(NUM_NODES):
        for target in range(count):
            groups = [[n for n in group if n != node] + [node] * (g == target) for g, group in enumerate(plan)]
            if target != group_of[node] and all(groups):
                assert search.rate(chain_of(make_plan(groups))) >= rate - 1e-9


def test_chains_and_plans_are_the_same_thing() -> None:
    for plan in hand_made().values():
        assert plan_of(chain_of(plan)) == plan and chain_of(plan)[-1] == ALL


def test_rates_of_sets_add_up_to_those_of_decoding(judge: Judge, tiny: Model) -> None:
    """The first group exactly; what follows reads round(y) instead of what decoding rounds around its means."""
    rates = NodeRates(judge, TINY.full())
    search = PlanSearch(rates.given)
    _, z = judge.latents(TINY.full())
    with torch.no_grad():
        z_bpp = tiny.z_density.bits(z).flatten(1).sum(1).double().numpy() / 64**2
    weights = judge.weights / judge.weights.sum()
    for plan, tolerance in ((one_group(), 1e-5), (checkerboard(), 0.02)):
        real = (judge.score(TINY.full(), plan).bpp - z_bpp) @ weights
        assert search.rate(chain_of(plan)) == pytest.approx(real, rel=tolerance)


def test_measurements_return_from_the_file_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.state"
    memo = Memo(path, {"crops": 3})
    assert memo.get("a", lambda: (1.5, 2.0)) == (1.5, 2.0)
    memo.save()
    again = Memo(path, {"crops": 3})
    assert again.get("a", lambda: (0.0,)) == (1.5, 2.0) and again.num_measured == 0
    with pytest.raises(ValueError, match="another crops"):
        Memo(path, {"crops": 4})
    path.write_text("[]")
    with pytest.raises(ValueError, match="not the state"):
        Memo(path, {"crops": 3})


class Stop:
    """Asks for a stop after so many readings."""

    def __init__(self, after: int) -> None:
        self.left = after

    @property
    def asked(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_stop_saves_what_was_measured(tmp_path: Path) -> None:
    memo = Memo(tmp_path / "t.state", {}, Stop(2))  # type: ignore[arg-type]
    with pytest.raises(StoppedError):
        for key in "abc":
            memo.get(key, lambda: (1.0,))
    assert set(Memo(tmp_path / "t.state", {}).values) == {"a", "b"}


def test_the_bootstrap_brackets_the_mean_and_equals_give_zero() -> None:
    rng = np.random.default_rng(1)
    theirs = rng.random(30) + 1
    found = difference(theirs * 0.9 + rng.normal(0, 0.01, 30), theirs)
    assert found.low < found.percent < found.high < 0
    assert difference(theirs, theirs).high == 0


def test_a_grid_meets_its_points_and_is_linear_between() -> None:
    grid = Grid(((0, 10), (0, 4, 8)), np.array([[0.0, 1.0, 4.0], [2.0, 3.0, 6.0]]))
    assert grid.at(10, 4) == 3.0 and grid.at(5, 6) == pytest.approx(3.5) and grid.at(20, 0) == pytest.approx(4.0)


def test_a_uniform_level_meets_its_target() -> None:
    arch = Architecture()
    for target in (2000.0, 6000.0, 15000.0):
        entry = uniform_level(arch, target)
        assert total_macs(arch, entry.widths, entry.plan) == pytest.approx(target, rel=0.03)


@pytest.fixture(scope="module")
def tiny_checkpoint(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_checkpoint(path, tiny, {"steps": 0})
    return path


def test_plans_levels_and_budget_make_a_table_that_loads(
    tiny_checkpoint: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    few = ["--data", str(photographs), "--crops", "2", "--crop-size", "64", "--qualities", "10,50", "--threads", "1"]
    plans, path, table = (tmp_path / f"{name}.json" for name in ("plans", "path", "table"))

    def run(command: str, *more: str) -> dict:
        assert cli.main([command, str(tiny_checkpoint), *few, *more]) == 0
        return json.loads(capsys.readouterr().out)

    run("plans", "-o", str(plans), "--groups", "1,2", "--picture", str(tmp_path / "plans.png"))
    assert sorted(load_plans(plans, TINY)) == [1, 2]
    assert (tmp_path / "plans.png").read_bytes()[:4] == b"\x89PNG"
    assert run("levels", "-o", str(table), "--plans", str(plans), "--path", str(path), "--levels", "3")["levels"] == 3
    saved = load_path(path, TINY)
    assert set(saved.plans) == {1, 2} and saved.choices[0] == TINY.full() | {PLAN: 2}
    run("budget", "-o", str(table), "--path", str(path), "--levels", "3", "--trade-off")
    again = run("budget", "-o", str(tmp_path / "again.json"), "--path", str(table), "--levels", "3")
    assert again["levels"] == 3 and len(load_path(table, TINY).choices) == len(
        json.loads(table.read_text())["notes"]["path"]
    )
    (tmp_path / "again.json").unlink()
    entries = load_table(table, TINY)
    totals = [total_macs(TINY, entry.widths, entry.plan) for entry in entries]
    assert totals == sorted(totals) and entries[-1].widths == TINY.full() and entries[0].widths == TINY.lightest()
    run("budget", "-o", str(table), "--path", str(path), "--levels", "3", "--most-groups", "1")
    entries = load_table(table, TINY)
    assert entries[-1].widths == TINY.full() and all(len(entry.plan) == 1 for entry in entries)
    assert sorted(json.loads(table.read_text())["notes"]["plans"]) == ["1", "2"]  # what was searched is kept
    assert sorted(p.name for p in tmp_path.iterdir()) == ["path.json", "plans.json", "plans.png", "table.json"]


def test_a_cost_in_milliseconds_needs_its_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    common = ["levels", "--data", str(tmp_path), "-o", str(tmp_path / "t.json"), "--cost", "latency"]
    with pytest.raises(SystemExit) as exit_:
        cli.main(common)
    assert exit_.value.code == 2 and "basic.benchmarks.latency_table" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 5, 8, 12])
def test_the_learned_table_spans_the_scale(count: int) -> None:
    arch = Architecture()
    levels = learned_levels(arch, count)
    totals = [total_macs(arch, entry.widths, entry.plan) for entry in levels]
    assert len(levels) == count and totals == sorted(totals) and levels[-1].widths == arch.full()
    if count > 1:
        assert levels[0].widths == arch.lightest() and totals[-1] / totals[0] > 15


@pytest.mark.parametrize("count", [8, 13, 64])
def test_learned_levels_keep_their_targets(count: int) -> None:
    """Complexity control: within 2 % of any number of targets on a logarithmic scale."""
    arch = Architecture()
    totals = [total_macs(arch, entry.widths, entry.plan) for entry in learned_levels(arch, count)]
    for i, total in enumerate(totals):
        assert total == pytest.approx(totals[0] * (totals[-1] / totals[0]) ** (i / (count - 1)), rel=0.02)
    for entry in learned_levels(arch, count):
        arch.check(entry.widths)


def test_an_architecture_without_a_learned_table_has_the_uniform_one() -> None:
    assert learned_levels(TINY, 3) == default_levels(TINY, 3)
    with pytest.raises(ValueError, match=r"learned\.json: a level table learned for a model of other sizes"):
        load_path(LEARNED, TINY)


def test_a_damaged_learned_table_is_refused(tmp_path: Path) -> None:
    content = json.loads(LEARNED.read_text())
    arch = Architecture(**content["notes"]["sizes"])
    del content["notes"]["path"]
    (tmp_path / "learned.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="basic-search budget"):
        load_learned(arch, tmp_path / "learned.json")


def test_an_architecture_of_other_sizes_has_the_uniform_table() -> None:
    """Its widths would be valid there, but its last level would not be the full model."""
    wider = replace(Architecture(), trunk16=Architecture().trunk16 + 64)
    assert load_learned(wider) is None and learned_levels(wider, 3) == default_levels(wider, 3)
