"""Laws of the entropy path: places are the packed channels, symbols are exact, ranges are bounded."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import PLANS, FakeBundle, FakeEngine, M
from hypothesis import given
from hypothesis import strategies as st

from basic.runtime import _ans, entropy
from basic.runtime.entropy import MAX_SYMBOL, EntropyPath
from basic.runtime.errors import BitstreamError
from basic.runtime.groups import NUM_NODES, default_plan, group_channels, make_plan, pack, quincunx
from basic.runtime.tables import to_coder

random_plans = st.permutations(range(NUM_NODES)).map(lambda n: make_plan([n[:5], n[5:6], n[6:20], n[20:]]))
plans = st.sampled_from([*PLANS, quincunx(), default_plan(7)]) | random_plans


@given(plans)
def test_places_are_the_packed_channels_of_the_group(plan: tuple) -> None:
    y = np.arange(16 * 8 * 4, dtype=np.float32).reshape(16, 8, 4)
    packed = pack(y[None])[0]
    for group in plan:
        found = np.full((len(group) * 2, 4, 2), -1, np.float32)
        for place in entropy._places(group, 2):
            found[place.run] = y[place.latents]
        assert np.array_equal(found, packed[group_channels(group, 16)])


def fake_path(level: int, num_silent: int = 0) -> EntropyPath:
    bundle, engine = FakeBundle(), FakeEngine()
    contexts = [engine.open(bundle, level, f"context_g{group}") for group in range(len(PLANS[level]))]
    tables = replace(bundle.tables(level), num_silent=num_silent)
    return EntropyPath(PLANS[level], tables, M, engine.open(bundle, level, "hyper"), contexts)


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("spread", [0.1, 3, 400, 30000])
def test_decoding_finds_what_was_encoded(level: int, spread: float) -> None:
    rng = np.random.default_rng(level)
    ys = rng.normal(size=(3, M, 12, 8)).astype(np.float32) * np.float32(spread)
    zs = rng.normal(size=(3, 4, 3, 2)).astype(np.float32) * 4
    path = fake_path(level)
    payloads = path.encode(list(zip(ys, zs, strict=True)))
    whole = np.full((3, M, 14, 9), np.nan, np.float32)
    found = whole[:, :, 1:13, 1:]
    path.decode(payloads, found)
    assert np.isnan(whole).sum() == whole.size - found.size, "wrote beside the tiles"
    for y, y_hat in zip(ys, found, strict=True):
        assert np.abs(y - y_hat).max() <= 0.5 + 1e-7 * np.abs(y).max()
        assert np.array_equal(y_hat * 8, np.rint(y_hat * 8))
    for y, z, payload in zip(ys, zs, payloads, strict=True):
        assert path.encode([(y, z)]) == [payload]


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("num_silent", [24, 30, 63])
def test_silent_latents_are_their_means_and_take_no_bytes(level: int, num_silent: int) -> None:
    rng = np.random.default_rng(level)
    ys = [rng.normal(size=(M, 12, 8)).astype(np.float32) * 40 for _ in range(2)]
    zs = [rng.normal(size=(4, 3, 2)).astype(np.float32) * 4 for _ in range(2)]
    path, found = fake_path(level, num_silent), np.empty((2, M, 12, 8), np.float32)
    payloads = path.encode(list(zip(ys, zs, strict=True)))
    path.decode(payloads, found)
    coded = np.abs(np.stack(ys) - found) <= 0.5 + 1e-5
    if num_silent == 24:  # no index is below
        assert coded.all()
        assert payloads == fake_path(level).encode(list(zip(ys, zs, strict=True)))
    else:
        assert not coded.all()
        others = fake_path(level).encode(list(zip(ys, zs, strict=True)))
        assert all(len(payload) < len(other) for payload, other in zip(payloads, others, strict=True))
    # What lies at a silent place does not matter, so a latent that is decoded is coded as itself.
    assert path.encode(list(zip(found, zs, strict=True))) == payloads


def test_symbols_out_of_range_are_refused() -> None:
    tables = to_coder(FakeBundle().tables(0))
    num_z, num_y = 4, M * 16
    z_indexes = np.repeat(np.arange(64, 68, dtype=np.uint8), 1)
    for position in (0, num_z + 5):
        for value in (MAX_SYMBOL + 1, -MAX_SYMBOL - 1, 2**31 - 1, -(2**31)):
            symbols = np.zeros(num_z + num_y, np.int32)
            symbols[position] = value
            indexes = np.concatenate([z_indexes, np.full(num_y, 24, np.uint8)])
            with pytest.raises(BitstreamError):
                fake_path(0).decode([_ans.encode(symbols, indexes, tables)], np.empty((1, M, 4, 4), np.float32))


def test_a_stream_that_goes_on_is_refused() -> None:
    path = fake_path(1)
    (data,) = path.encode([(np.ones((M, 4, 8), np.float32), np.ones((4, 1, 2), np.float32))])
    with pytest.raises(BitstreamError):
        path.decode([data], np.empty((1, M, 4, 4), np.float32))
    with pytest.raises(BitstreamError):
        path.decode([data, data + b"\0\0"], np.empty((2, M, 4, 8), np.float32))
