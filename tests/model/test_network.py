"""The network on arrays: against the plain reference, and against the stages that are trained.

Tolerance: logits are float32 sums (unit 6e-8) of at most 60 products of order 1 over states that
passed at most 12 steps of 2 layers; 2e-5 is 300 such roundings, far below any mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from carryline import Ragged
from carryline.errors import ConfigError, DataError
from carryline.model import network
from carryline.model.config import CELLS, POOLINGS, Config, preset
from carryline.model.network import PAD, Network
from carryline.recurrence import cells, kernels
from carryline.recurrence.ragged import Plan
from carryline.training import model
from carryline.training.stages import Way

TOLERANCE = 2e-5
VOCABULARY = 40
LENGTHS = [5, 0, 12, 1, 3, 3, 7]
VARIANTS = [
    pytest.param(cell, pooling, id=f"{cell}-{pooling}")
    for cell, pooling in product(CELLS, POOLINGS)
]


def config_of(**settings: Any) -> Config:
    return Config().replace(**{"vocabulary": 300, "embedding": 6, "hidden": 20, **settings})


def weights_of(config: Config, outputs: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = network.parameter_shapes(config, VOCABULARY, outputs)
    return {n: rng.uniform(-0.5, 0.5, shape).astype(np.float32) for n, shape in shapes.items()}


def texts_of(lengths: Sequence[int] = LENGTHS) -> Ragged:
    rng = np.random.default_rng(1)
    return Ragged.from_lists([rng.integers(1, VOCABULARY, n).tolist() for n in lengths])


def reference(config: Config, weights: dict[str, Any], ragged: Ragged) -> Any:
    """The whole flow in float64, by the reference cells and a text at a time."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    cell = cells.CELLS[config.cell]
    suffixes = ("", "_reverse") if config.bidirectional else ("",)
    states = w["embedding.weight"][ragged.values]
    for layer, hidden in enumerate(config.hidden):
        zeros = np.zeros((len(suffixes), len(ragged), hidden))
        directions = [
            {n: w[f"recurrence.{n}_l{layer}{suffix}"] for n in cells.shapes(cell, 1, 1)}
            for suffix in suffixes
        ]
        states, h, _ = cells.forward(cell, directions, states, ragged.offsets, zeros, zeros)
    nothing = np.zeros(states.shape[1])
    own = [states[a:b] for a, b in pairwise(ragged.offsets)]
    last = np.concatenate(list(h), axis=1)
    largest = np.array([s.max(axis=0) if len(s) else nothing for s in own])
    mean = np.array([s.mean(axis=0) if len(s) else nothing for s in own])
    pools = {"last": [last], "max": [largest], "mean": [mean], "concat": [last, largest, mean]}
    x = np.concatenate(pools[config.pooling], axis=1)
    if config.dense:
        x = np.maximum(x @ w["dense.weight"].T + w["dense.bias"], 0)
    return x @ w["head.weight"].T + w["head.bias"]


@pytest.mark.parametrize(("cell", "pooling"), VARIANTS)
def test_agrees_with_the_reference(instruction_set: str, cell: str, pooling: str) -> None:
    for bidirectional, hidden, dense in [(True, [20, 9], 7), (False, [17], 0), (True, [16], 0)]:
        config = config_of(
            cell=cell, pooling=pooling, bidirectional=bidirectional, hidden=hidden, dense=dense
        )
        weights = weights_of(config, 3)
        logits = Network(config, weights).logits(texts_of())
        assert logits.dtype == np.float32
        expected = reference(config, weights, texts_of())
        np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("cell", "pooling"), VARIANTS)
def test_training_computes_the_same_network(cell: str, pooling: str) -> None:
    config = config_of(cell=cell, pooling=pooling, hidden=[20, 9], dense=7, dropout=0.5)
    weights, ragged = weights_of(config, 3), texts_of()
    by_rank = model.logits(config, weights, ragged, Way(), threads=1)
    logits = Network(config, weights).logits(ragged)
    np.testing.assert_allclose(logits[ragged.plan.order], by_rank, rtol=0, atol=TOLERANCE)


def test_parameters_in_the_order_of_the_flow() -> None:
    shapes = network.parameter_shapes(config_of(bidirectional=False), VOCABULARY, 1)
    assert shapes == {
        "embedding.weight": (VOCABULARY, 6),
        "recurrence.weight_ih_l0": (80, 6),
        "recurrence.weight_hh_l0": (80, 20),
        "recurrence.bias_ih_l0": (80,),
        "dense.weight": (64, 20),
        "dense.bias": (64,),
        "head.weight": (1, 64),
        "head.bias": (1,),
    }
    without = network.parameter_shapes(config_of(dense=0, pooling="concat"), VOCABULARY, 5)
    assert without["head.weight"] == (5, 3 * 2 * 20)
    assert "dense.weight" not in without
    assert network.count_parameters({"a": (2, 3), "b": (4,), "c": ()}) == 11


def test_two_classes_need_one_output() -> None:
    assert [network.outputs(classes) for classes in (2, 3, 10)] == [1, 3, 10]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_empty_text_pools_to_zeros(pooling: str) -> None:
    config = config_of(pooling=pooling, dense=0)
    weights = weights_of(config, 2)
    net = Network(config, weights)
    alone: list[list[int]] = [[]]
    for texts in (alone, [[3], [], [4, 5]]):
        logits = net.logits(Ragged.from_lists(texts))
        assert (logits[texts.index([])] == weights["head.bias"]).all()


def test_no_texts() -> None:
    logits = Network(config_of(), weights_of(config_of(), 3)).logits(texts_of([]))
    assert logits.shape == (0, 3)
    assert network.probabilities(logits).shape == (0, 3)
    assert network.probabilities(logits[:, :1]).shape == (0, 2)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """limit(net, NAME=value): other limits for a network that has its own already."""

    def change(net: Network, **limits: int) -> None:
        for name, value in limits.items():
            monkeypatch.setattr(network, name, value)
        vars(net).pop("_at_once", None)

    return change


def test_chunks_hold_few_tokens_and_every_text_once(
    limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, ragged = Network(config_of(), weights_of(config_of())), texts_of(LENGTHS * 9)
    whole, sizes, batch_logits = net.logits(ragged), list[int](), Network._batch_logits

    def noting(self: Network, batch: Ragged, threads: int) -> Any:
        sizes.append(len(batch.values))
        return batch_logits(self, batch, threads)

    limit(net, TOKENS_AT_ONCE=30)
    monkeypatch.setattr(Network, "_batch_logits", noting)
    assert (net.logits(ragged) == whole).all()
    assert max(sizes) <= 30 + max(LENGTHS)
    assert sum(sizes) == len(ragged.values)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Texts and tokens of every chunk that is predicted."""
    seen, batch_logits = list[tuple[int, int]](), Network._batch_logits

    def noting(self: Network, batch: Ragged, threads: int) -> Any:
        seen.append((len(batch), len(batch.values)))
        return batch_logits(self, batch, threads)

    monkeypatch.setattr(Network, "_batch_logits", noting)
    return seen


@pytest.mark.parametrize("mask", [True, False])
def test_chunks_hold_few_texts(mask: bool, sizes: list[tuple[int, int]]) -> None:
    """However few tokens they have: their states take memory, too."""
    config = config_of(mask=mask, batch_size=10**6)
    weights, count = weights_of(config), 2 * network.TEXTS_AT_ONCE
    logits = Network(config, weights).logits(texts_of([0] * count))
    assert logits.shape == (count, 1)
    assert (logits == logits[0]).all()
    assert max(texts for texts, _ in sizes) <= network.TEXTS_AT_ONCE
    assert 2 <= len(sizes) <= 3


def test_chunks_of_wide_networks_hold_fewer(
    sizes: list[tuple[int, int]], limit: Callable[..., None]
) -> None:
    """States of 2 x 20 units for the layer above: 160 bytes a token, 640 of its projection."""
    config, ragged = config_of(hidden=[20, 20]), texts_of([3] * 60)
    net = Network(config, weights_of(config))
    whole = net.logits(ragged)
    limit(net, BYTES_AT_ONCE=16_000)
    assert (net.logits(ragged) == whole).all()
    assert all(800 * tokens <= 16_000 for _, tokens in sizes[1:])
    limit(net, BYTES_AT_ONCE=1)
    assert (net.logits(ragged) == whole).all()


def test_a_padded_batch_is_cut_as_well(
    sizes: list[tuple[int, int]], limit: Callable[..., None]
) -> None:
    config = config_of(mask=False, batch_size=7)
    net, ragged = Network(config, weights_of(config)), texts_of(LENGTHS * 3)
    whole = net.logits(ragged, pad_to=9)
    assert sizes == [(7, 7 * 12)] * 3
    limit(net, TOKENS_AT_ONCE=40)
    assert (net.logits(ragged, pad_to=9) == whole).all()
    assert sizes[3:] == [(3, 36), (3, 36), (1, 12)] * 3


PEAK = """
from pathlib import Path

def peak():  # bytes; ru_maxrss would begin with those of the process that this one came from
    (line,) = [s for s in Path("/proc/self/status").read_text().split("\\n") if "VmHWM" in s]
    return int(line.split()[1]) << 10
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")

ONE_TEXT = """
import numpy as np
from carryline import Ragged
from carryline.model import network
from carryline.model.config import Config

config = Config().replace(pooling="concat")
rng, shapes = np.random.default_rng(0), network.parameter_shapes(config, 300, 1)
net = network.Network(config, {n: rng.random(s, np.float32) for n, s in shapes.items()})
net.logits(Ragged.from_lists([[1] * 100]))
tokens = 150_000
text = Ragged(rng.integers(1, 300, tokens, np.int32), np.array([0, tokens]))
before = peak()
net.logits(text)
print((peak() - before) / tokens)
"""


@needs_proc
def test_one_text_needs_no_memory_for_its_states(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    """In bytes a token: a step's place 8, an id 4. States of 2 x 64 units would be 512."""
    done = python(PEAK + ONE_TEXT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60


def test_a_text_that_needs_too_much_is_refused_before_it_takes_it(
    sizes: list[tuple[int, int]], limit: Callable[..., None]
) -> None:
    """Below the last layer all states are needed: 2 x (20 + 4 x 9) numbers a token."""
    config = config_of(hidden=[20, 9])
    net = Network(config, weights_of(config))
    expected = net.logits(texts_of())
    limit(net, MOST_BYTES=12 * 448, TOKENS_AT_ONCE=5)
    assert (net.logits(texts_of()) == expected).all()
    sizes.clear()
    with pytest.raises(DataError, match=r"at most 5,376 bytes .* of 13 tokens needs 5,824 .* cut"):
        net.logits(texts_of([1, 13]))
    assert not sizes
    padded = config_of(hidden=[20, 9], mask=False)
    with pytest.raises(DataError, match="one of 14 tokens needs"):
        Network(padded, weights_of(padded)).logits(texts_of([1, 2]), pad_to=14)
    one = config_of(hidden=[20], pooling="concat")
    Network(one, weights_of(one)).logits(texts_of([1000]))  # states that nobody keeps


@pytest.mark.parametrize(("cell", "pooling"), VARIANTS)
def test_rows_projected_as_they_come_have_the_bits_of_the_table(
    instruction_set: str, cell: str, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(cell=cell, pooling=pooling, hidden=[20, 9])
    weights, ragged = weights_of(config, 3), texts_of(LENGTHS * 5)
    expected = Network(config, weights).logits(ragged)
    assert (Network(config, weights, table=False).logits(ragged) == expected).all()
    monkeypatch.setattr(network, "BYTES_AT_ONCE", 6_000)
    net = Network(config, weights)
    assert net._table is None
    assert (net.logits(ragged) == expected).all()
    for text in range(3):
        assert (net.logits(ragged.take([text])) == expected[text]).all()


LARGE_TABLE = """
import numpy as np
from carryline import Ragged
from carryline.model import network
from carryline.model.config import Config

config = Config().replace(vocabulary=1 << 18, embedding=8)
rng, shapes = np.random.default_rng(0), network.parameter_shapes(config, 1 << 18, 1)
weights = {n: rng.random(s, np.float32) for n, s in shapes.items()}
before = peak()
net = network.Network(config, weights)
print(peak() - before >> 20)
net.logits(Ragged.from_lists([rng.integers(1, 1 << 18, 500).tolist() for _ in range(400)]))
print(peak() - before >> 20)
"""


@needs_proc
def test_a_table_is_made_up_to_a_size(python: Callable[..., CompletedProcess[str]]) -> None:
    """Of 8 MB of embeddings it would be one of 512 MB; 65,536 tokens at once need 128."""
    done = python(PEAK + LARGE_TABLE)
    assert done.returncode == 0, done.stderr
    made, predicted = map(int, done.stdout.split())
    assert made < 50
    assert predicted < 350


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        (np.array([1, 2**32 + 1, 2]), "text 1 (from 0) has 4294967297"),
        (np.array([1, 2, 2**40 - 1], np.uint64), "text 1 (from 0) has 1099511627775"),
        (np.array([1.7, 2.0, 3.0]), "text 0 (from 0) has 1.7"),
        (np.array([1.0, 2.0, np.nan], np.float32), "text 1 (from 0) has nan"),
        (np.array([1.0, 2.0, np.inf]), "text 1 (from 0) has inf"),
        (np.array([1, 2, -1], np.int8), "text 1 (from 0) has -1"),
        (np.array([VOCABULARY, 2, 3], np.int32), f"text 0 (from 0) has {VOCABULARY}"),
        (np.zeros((3, 1), np.int32), "not of 2 dimensions and type int32"),
        (np.array(["1", "2", "3"]), "not of 1 dimensions and type <U1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("mask", [True, False])
def test_what_is_no_token_id_is_refused(values: Any, wrong: str, mask: bool) -> None:
    net = Network(config_of(mask=mask), weights_of(config_of()))
    rule = f"a token id is a whole number from 0 to {VOCABULARY - 1}"
    with pytest.raises(DataError, match=re.escape(rule) + ".*" + re.escape(wrong)):
        net.logits(Ragged(values, np.array([0, 1, 3])))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_ids(dtype: Any) -> None:
    net, ragged = Network(config_of(), weights_of(config_of())), texts_of()
    assert (net.logits(ragged.like(ragged.values.astype(dtype))) == net.logits(ragged)).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pads_are_read_past_with_a_mask_and_as_words_without(pooling: str) -> None:
    ragged = texts_of()
    for mask in (True, False):
        config = config_of(pooling=pooling, mask=mask, batch_size=3)
        weights = weights_of(config)
        got = Network(config, weights).logits(ragged, pad_to=8)
        if mask:
            assert (got == Network(config, weights).logits(ragged)).all()
            continue
        batches = [ragged.take(np.arange(b, min(b + 3, len(ragged)))) for b in (0, 3, 6)]
        filled = [batch.filled(max(8, int(batch.lengths.max())), PAD) for batch in batches]
        expected = np.concatenate([reference(config, weights, batch) for batch in filled])
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("pad_to", [-1, network.MOST_PADS + 1])
def test_more_pads_than_anyone_needs_are_refused(mask: bool, pad_to: int) -> None:
    net = Network(config_of(mask=mask), weights_of(config_of()))
    with pytest.raises(ConfigError, match=f"0 <= pad_to <= 100000, it is {pad_to}"):
        net.logits(texts_of(), pad_to=pad_to)


def test_probabilities() -> None:
    one = network.probabilities(np.array([[0.0], [1e4], [-1e4], [2.0]], np.float32))
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one[:3], [[0.5, 0.5], [0, 1], [1, 0]])
    np.testing.assert_allclose(one[3], [1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))], rtol=1e-6)
    many = network.probabilities(np.array([[0, 0, 0], [1e4, 0, -1e4], [1, 2, 3]], np.float32))
    np.testing.assert_allclose(many.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(many[0], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(many[1], [1, 0, 0])
    np.testing.assert_allclose(many[2], np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum(), rtol=1e-6)


def test_distinct_is_unique() -> None:
    texts = texts_of()
    unique, place = kernels.distinct(texts.values, texts.plan, VOCABULARY)
    expected, inverse = np.unique(texts.values[texts.plan.positions], return_inverse=True)
    assert (unique == expected).all()
    assert (place == inverse).all()
    none = Ragged.from_lists([[]])
    assert [len(found) for found in kernels.distinct(none.values, none.plan, VOCABULARY)] == [0, 0]


@pytest.mark.parametrize("ids", [[0, VOCABULARY], [-1, 0], [0]], ids=str)
def test_distinct_refuses_what_is_out_of_range(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="for every token|below the number of entries"):
        kernels.distinct(np.array(ids, np.int32), Plan(np.array([0, 2])), VOCABULARY)


def test_a_network_keeps_its_own_weights() -> None:
    """Packed once: the arrays that it was given are not looked at again."""
    config = config_of()
    weights = weights_of(config)
    net = Network(config, weights)
    before = net.logits(texts_of())
    packed = {n: v for n, v in weights.items() if n.startswith(("embedding", "recurrence.weight"))}
    for value in packed.values():
        value.fill(0)
    assert (net.logits(texts_of()) == before).all()


@pytest.mark.parametrize("hidden", [(64,), (64, 32), (2,) * 12], ids=len)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_rows_of_a_summary_add_up(hidden: Any, bidirectional: bool) -> None:
    settings = preset("lecture", hidden=hidden, bidirectional=bidirectional)
    *rows, total = network.summary(settings).splitlines()[1:]
    counts = [int(row.split()[-1].replace(",", "")) for row in rows]
    assert sum(counts) == int(total.split()[-1].replace(",", ""))
    assert len(rows) == len(hidden) + 4


def test_the_summary_of_the_textbook() -> None:
    lines = [line.split("  ") for line in network.summary(preset("lecture")).splitlines()]
    assert [line[-1].strip() for line in lines] == [
        "parameters", "523,840", "66,048", "0", "8,256", "65", "598,209",
    ]  # fmt: skip
    assert "635,329" in network.summary(preset("lecture-stacked"))
