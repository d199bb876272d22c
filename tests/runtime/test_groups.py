"""Laws of group plans and the packed latent."""

import numpy as np
import pytest

from basic.runtime import groups

HAND_MADE = [
    groups.one_group(),
    groups.checkerboard(),
    groups.quincunx(),
    groups.raster(),
    *(groups.channel_wise(n) for n in range(1, 9)),
    *(groups.channel_wise_checkerboard(n) for n in range(1, 9)),
    *(groups.default_plan(n) for n in range(1, 9)),
]


@pytest.mark.parametrize("plan", HAND_MADE)
def test_a_plan_is_an_ordered_partition_with_ascending_nodes(plan: groups.Plan) -> None:
    assert sorted(node for group in plan for node in group) == list(range(32))
    assert all(group == tuple(sorted(group)) and group for group in plan)


@pytest.mark.parametrize("count", range(1, 9))
def test_the_default_plan_has_the_number_of_groups_asked_for(count: int) -> None:
    assert len(groups.default_plan(count)) == count


def test_unpack_inverts_pack() -> None:
    y = np.arange(2 * 16 * 6 * 4).reshape(2, 16, 6, 4)
    assert np.array_equal(groups.unpack(groups.pack(y)), y)


def test_packing_is_phase_major() -> None:
    y = np.arange(16 * 4 * 4).reshape(1, 16, 4, 4)
    packed = groups.pack(y)
    for phase, (dy, dx) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert np.array_equal(packed[:, phase * 16 : (phase + 1) * 16], y[:, :, dy::2, dx::2])


def test_a_node_covers_its_own_run_of_packed_channels() -> None:
    assert groups.group_channels((3, 9), 16).tolist() == [6, 7, 18, 19]


@pytest.mark.parametrize("bad", [[range(31)], [range(32), [0]], [range(32), []], [range(33)], []])
def test_what_is_not_a_partition_is_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="ordered partition"):
        groups.make_plan(bad)


@pytest.mark.parametrize("count", [0, 9, -1])
def test_group_counts_outside_one_to_eight_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        groups.default_plan(count)
