"""Laws of the slimmable model: any table of widths runs, sizes stay, groups are causal, draws are independent."""

import hashlib
import json
import math
from dataclasses import asdict

import pytest
import torch

from basic.runtime.groups import checkerboard, default_plan, group_channels, one_group, quincunx
from basic.training.complexity import part_macs
from basic.training.context import pack, unpack
from basic.training.draw import Mix, draw
from basic.training.entropy import NUM_SCALES, gaussian_bits, scale_table
from basic.training.layers import Block, round_through
from basic.training.model import Model, quality_to_lambda
from basic.training.nodes import Architecture
from basic.training.structure.levels import load_learned

X = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("step", range(6))
def test_any_drawn_configuration_gives_an_image_and_finite_rates(model: Model, step: int) -> None:
    drawn = draw(model.arch, Mix(0.1, 0.1, 0.2), 5, step, 2)
    with torch.no_grad():
        output = model(X, drawn.quality, drawn.widths, drawn.plan, hard=True)
    assert output.x_hat.shape == X.shape
    assert output.x_hat.isfinite().all()
    assert (output.y_bits > 0).all() and (output.z_bits > 0).all() and output.y_bits.isfinite().all()


def test_gradients_reach_every_weight_of_the_full_model() -> None:
    torch.manual_seed(0)
    model = Model()
    output = model(X, torch.tensor([10.0, 50.0]), model.arch.full(), quincunx())
    (output.x_hat.square().mean() + output.y_bits.mean() + output.z_bits.mean()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Depthwise weights in the corners of tiny maps may see zeros only; nothing else may be idle. The modulator's first
    # layer starts behind a zero second one, and Factorized's factors start where their gradient still is not zero.
    assert set(idle) <= {"modulator.first.weight", "modulator.first.bias"}


def test_a_skipped_block_leaves_its_input_unchanged(model: Model) -> None:
    x = torch.rand(1, 64, 4, 4)
    assert torch.equal(model.g_a.blocks8[0](x, 0, 0), x)


@torch.no_grad()
def test_no_input_drives_the_product_of_a_block_beyond_its_limits() -> None:
    """So a picture of full contrast cannot grow from block to block without end."""
    torch.manual_seed(0)
    block = Block(32, 48, 1.0, 3.0)
    most = 3.0**2 * block.project.weight.abs().sum(1) + block.project.bias.abs()
    for scale in (1.0, 1e2, 1e6):
        x = scale * torch.randn(2, 32, 5, 5)
        added = block(x, 0, 48) - x
        assert (added.abs().amax((0, 2, 3)) <= most * 1.001 + 1e-6 * scale).all()


def test_means_of_a_group_do_not_depend_on_later_groups(model: Model) -> None:
    plan = default_plan(4)
    widths = model.arch.full()
    packed = torch.randn(1, 4 * model.arch.latent_channels, 2, 2) * 5
    state = torch.randn(1, model.arch.state, 2, 2)
    with torch.no_grad():
        before = model.context(state, packed, plan, widths)
        changed = packed.clone()
        changed[:, group_channels(plan[2], model.arch.latent_channels)] += 9.0
        after = model.context(state, changed, plan, widths)
    for g, equal in enumerate([True, True, True, False]):
        channels = group_channels(plan[g], model.arch.latent_channels)
        assert torch.equal(before[0][:, channels], after[0][:, channels]) is equal


def test_context_gives_what_its_groups_give_one_by_one_and_the_same_gradients(model: Model) -> None:
    plan, widths = quincunx(), model.arch.lightest()
    context, inner, num_state = model.context, widths["context.inner"], widths["context.state"]
    generator = torch.Generator().manual_seed(3)
    packed = (torch.randn(2, 4 * model.arch.latent_channels, 2, 2, generator=generator) * 5).requires_grad_()
    state = torch.randn(2, num_state, 2, 2, generator=generator).requires_grad_()
    inputs = [packed, state, context.read.weight, context.write, context.mean.weight, context.scale.bias]

    def one_by_one() -> tuple[torch.Tensor, ...]:
        found, order, now = [], [], state
        for group in plan:
            rows = context.channels(group, packed.device)
            means, indexes = context.outputs(context.head(now, inner), group)
            means = round_through(means * 8) / 8
            y_hat = round_through(packed[:, rows] - means) + means
            now = now + context.update(y_hat, group, num_state)
            found.append((means, indexes, y_hat))
            order.append(rows)
        back = torch.argsort(torch.cat(order))
        return tuple(torch.cat(list(part), dim=1)[:, back] for part in zip(*found, strict=True))

    weights = [torch.randn(packed.shape, generator=generator) for _ in range(3)]
    results = []
    for run in (lambda: context(state, packed, plan, widths), one_by_one):
        outputs = run()
        loss = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
        results.append([*outputs, *torch.autograd.grad(loss, inputs)])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_packing_agrees_with_the_runtime() -> None:
    from basic.runtime import groups

    y = torch.randn(2, 16, 4, 6)
    assert torch.equal(pack(y), torch.from_numpy(groups.pack(y.numpy())))
    assert torch.equal(unpack(pack(y)), y)


def test_draws_repeat_and_differ_between_steps() -> None:
    arch = Architecture()
    first, again, other = (draw(arch, Mix(), 0, step, 4) for step in (7, 7, 8))
    assert first.widths == again.widths and first.plan == again.plan and torch.equal(first.quality, again.quality)
    assert not torch.equal(first.quality, other.quality)


def test_parts_drawn_apart_are_drawn_as_ever() -> None:
    """What runs of before there were matched draws took, by a hash of it: resumed, they go on with the same."""
    widths = [draw(Architecture(), Mix(matched=0.0), 0, step, 8).widths for step in range(50)]
    found = hashlib.sha256(json.dumps(widths, sort_keys=True).encode()).hexdigest()
    assert found.startswith("0bf8569ec58839b2")


@pytest.mark.parametrize(("matched", "fewest_mixed", "most_mixed"), [(0.0, 80, 300), (0.7, 20, 80), (1.0, 0, 0)])
def test_full_and_lightest_come_often_and_parts_are_drawn_apart(
    matched: float, fewest_mixed: int, most_mixed: int
) -> None:
    arch = Architecture()
    kinds = {"full": 0, "mixed": 0}
    for step in range(300):
        widths = draw(arch, Mix(matched=matched), 0, step, 1).widths
        full = [
            all(widths[n.name] == n.full for n in arch.nodes if n.part == part)
            for part in ("analysis", "entropy", "synthesis")
        ]
        kinds["full"] += full[0]
        kinds["mixed"] += full[0] != full[2]
    assert 80 < kinds["full"] < 160
    assert fewest_mixed <= kinds["mixed"] <= most_mixed


def test_the_full_level_meets_its_budgets() -> None:
    """12 / 3 / 12 kMAC a pixel at the full level, 0.5 / 0.3 / 0.5 at the lightest."""
    arch = Architecture()
    for widths, plan, budgets in (
        (arch.full(), default_plan(8), (12, 3, 12)),
        (arch.lightest(), one_group(), (0.5, 0.3, 0.5)),
    ):
        macs = part_macs(arch, widths, plan)
        entropy = sum(value for name, value in macs.items() if name not in ("analysis", "synthesis"))
        for value, budget in zip((macs["analysis"], entropy, macs["synthesis"]), budgets, strict=True):
            assert value <= 1000 * budget


def test_widths_outside_a_nodes_choices_are_refused_by_name() -> None:
    arch = Architecture()
    for change, message in (({"g_a.trunk8": 50}, "g_a.trunk8"), ({"nonsense": 16}, "nonsense")):
        with pytest.raises(ValueError, match=message):
            arch.check(arch.full() | change)


def test_gaussian_bits_sum_to_one_as_probabilities() -> None:
    symbols = torch.arange(-600, 601).double()
    for index in (0, 20, NUM_SCALES - 1):
        bits = gaussian_bits(symbols, torch.full_like(symbols, index))
        assert torch.exp2(-bits).sum().item() == pytest.approx(1.0, abs=2e-6)


def test_the_scale_table_spans_its_ends() -> None:
    table = scale_table()
    assert (table[0].item(), table[-1].item()) == pytest.approx((0.11, 64.0))


def test_a_factorised_density_sums_to_one(model: Model) -> None:
    values = torch.arange(-400, 401).float().expand(model.arch.hyper_channels, 1, -1)
    with torch.no_grad():
        assert torch.allclose(model.z_density.mass(values).sum(-1), torch.ones(1), atol=1e-3)


def test_quality_spans_lambda_and_gain_grows_with_it() -> None:
    ends = quality_to_lambda(Architecture(), torch.tensor([0.0, 63.0]))
    assert ends.tolist() == pytest.approx([0.0004, 0.18])
    gain, inverse = Model().modulator(torch.tensor([0.0, 30.0, 63.0]))
    assert (gain[1:] > gain[:-1]).all() and (gain > 0).all() and (inverse > 0).all()


def test_another_range_of_lambda_changes_no_gain_at_any_lambda() -> None:
    model = Model(Architecture(lambda_min=0.0012, lambda_max=0.18))
    torch.nn.init.normal_(model.modulator.second.weight, std=0.1)
    old, old_quality = model.arch, torch.linspace(0.0, 63.0, 9)
    before = model.modulator(old_quality)
    model.set_lambda_range(0.0004, 0.3)
    logs = (quality_to_lambda(old, old_quality) / model.arch.lambda_min).log()
    quality = 63.0 * logs / math.log(model.arch.lambda_max / model.arch.lambda_min)
    assert torch.allclose(quality_to_lambda(model.arch, quality), quality_to_lambda(old, old_quality))
    for found, expected in zip(model.modulator(quality), before, strict=True):
        assert torch.allclose(found, expected, rtol=1e-4)


def test_a_checkpoint_that_says_nothing_of_it_began_at_lambda_0_0012_and_had_limits_of_8() -> None:
    assert Architecture.of(Architecture().sizes) == Architecture(lambda_min=0.0012, gate_limit=8.0)
    assert Architecture.of(asdict(Architecture())) == Architecture()


def test_learned_structures_are_drawn_too() -> None:
    arch = Architecture()
    learned = load_learned(arch)
    assert learned is not None
    plans = [draw(arch, Mix(), 0, step, 1, learned).plan for step in range(200)]
    assert sum(plan in learned.plans.values() for plan in plans) > 30
    synthesis = [node.name for node in arch.nodes if node.part == "synthesis"]
    of_path = {tuple(entry.widths[name] for name in synthesis) for _, entry in learned.path}
    drawn = [draw(arch, Mix(0.0, 0.0, 1.0), 0, step, 1, learned).widths for step in range(100)]
    assert 30 < sum(tuple(widths[name] for name in synthesis) in of_path for widths in drawn) < 80


def test_hard_rounding_is_what_decoding_gives(model: Model) -> None:
    """y_hat - mean is an integer: the symbols that the coder sees."""
    packed = torch.randn(1, 4 * model.arch.latent_channels, 2, 2) * 3
    with torch.no_grad():
        means, _, y_hat = model.context(
            torch.randn(1, model.arch.state, 2, 2), packed, checkerboard(), model.arch.full()
        )
    symbols = y_hat - means
    assert torch.equal(symbols, symbols.round())
    assert torch.equal(means * 8, (means * 8).round())
