"""The coder's benchmark gives every row that it promises, and sizes that are true whatever the machine is doing."""

import json

import numpy as np
from coder_cases import gaussian

from basic.benchmarks import coder
from basic.benchmarks.coder_peers import PEERS

FIELDS = {"coder", "simd", "workload", "encode_msymbols_per_s", "decode_msymbols_per_s", "overhead_percent"}


def test_rows_of_every_instruction_set(capsys):
    assert coder.main(["--symbols=200000", "--peer-symbols=2000", "--repeats=1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row.keys() >= FIELDS for row in rows)
    own = [row for row in rows if row["coder"] == "basic"]
    assert {row["workload"] for row in own if row["simd"] == "scalar"} == {"U64", "U16", "S16"}
    kinds = {("", 1), ("chunk", 1), ("stream", 1), ("stream of 16 lanes", 1), ("stream", 2)}
    assert {(row["group"], row["num_threads"]) for row in own if row["simd"] == "scalar"} == kinds
    assert all((row["encode_speedup"] > 0) == (row["decode_speedup"] > 0) == (row["num_threads"] > 1) for row in own)
    whole = {(row["simd"], row["workload"]): row["overhead_percent"] for row in own if row["group_size"] == 0}
    of_groups = {
        (row["simd"], row["workload"], row["group"]): row["overhead_percent"] for row in own if row["num_threads"] == 1
    }
    for simd, workload in whole:
        chunk, stream = (of_groups[simd, workload, group] for group in ("chunk", "stream"))
        assert chunk == whole[simd, workload] < stream, "groups of one stream cost nothing, streams of their own do"
    for (_, workload), overhead in whole.items():
        assert 0 < overhead < {"U64": 0.1, "U16": 0.05, "S16": 0.35}[workload]  # lanes weigh more than in 10 M symbols
        assert overhead == whole["scalar", workload]


def test_entropy_is_that_of_the_gaussian():
    workload = coder.WORKLOADS[0]
    symbols, indexes = workload.draw(50_000)
    masses = [coder._mass(abs(int(s)), workload.scales()[i] * 2**0.5) for s, i in zip(symbols, indexes, strict=True)]
    np.testing.assert_allclose(workload.entropy_bytes(symbols, indexes), -np.log2(masses).sum() / 8)


def test_peers_that_are_here_give_back_what_went_in():
    symbols, indexes = gaussian(500)
    for make in PEERS.values():
        peer = make(np.geomspace(0.11, 64, 64))
        if peer is not None:
            np.testing.assert_array_equal(peer.decode(peer.encode(symbols, indexes), indexes), symbols)
