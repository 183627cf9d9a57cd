"""The network with its gradients: what it begins with, its derivatives, and torch's of the same.

Tolerances: see gradients.py for finite differences. In float64 two right answers of order 1 differ
by some roundings of 1e-16: 1e-12 leaves room for thousands.
"""

from __future__ import annotations

import weakref
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from carryline.model import network
from carryline.model.config import CELLS, POOLINGS, Config
from carryline.recurrence.ragged import Ragged
from carryline.training import losses, model, stages
from carryline.training.draws import DROPOUT, WEIGHTS, generator
from carryline.training.stages import Way
from gradients import assert_derivatives, dense
from runs import config_of

VOCABULARY = 9
TORCH: dict[str, Any] = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
VARIANTS = [pytest.param(*pair, id="-".join(pair)) for pair in product(CELLS, POOLINGS)]


@pytest.mark.parametrize("cell", CELLS)
def test_first_weights_are_keras(cell: str) -> None:
    config = config_of(cell=cell, embedding=60, hidden=[40, 30], dense=50)
    weights = model.initial_weights(config, 500, 3, generator(0, WEIGHTS))
    shapes = {name: weight.shape for name, weight in weights.items()}
    assert shapes == network.parameter_shapes(config, 500, 3)
    for name, weight in weights.items():
        assert weight.dtype == np.float32
        if name == "embedding.weight":
            assert 0.0499 < abs(weight).max() <= 0.05
        elif weight.ndim == 1:
            forget = np.zeros(len(weight))
            if cell in ("lstm", "carry") and name.startswith("recurrence"):
                forget.reshape(4, -1)[1] = 1
            assert (weight == forget).all()
        elif "_hh_" in name or "_ch_" in name:
            square = weight.T.astype(np.float64) @ weight
            np.testing.assert_allclose(square, np.eye(len(square)), rtol=0, atol=1e-6)
        else:
            bound = (6 / sum(weight.shape)) ** 0.5
            assert 0.95 * bound < abs(weight).max() <= bound
            assert abs(weight.mean()) < 4 * bound / (3 * weight.size) ** 0.5


# --- gradients


def random_weights(config: Config, classes: int, dtype: Any = np.float64) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    shapes = network.parameter_shapes(config, VOCABULARY, network.outputs(classes))
    return {name: rng.uniform(-0.7, 0.7, shape).astype(dtype) for name, shape in shapes.items()}


def problem(seed: int, texts: int, classes: int) -> tuple[Ragged, Any]:
    """Of up to six tokens; an empty text and one of one token are among them."""
    rng = np.random.default_rng(seed)
    lengths = [0, 1, *rng.integers(0, 7, texts - 2)]
    ragged = Ragged.from_lists([rng.integers(1, VOCABULARY, n).tolist() for n in lengths])
    return ragged, rng.integers(0, classes, texts)


def loss_and_gradients(
    config: Config, weights: dict[str, Any], ragged: Ragged, targets: Any, shares: Any = None,
    way: Way | None = None,
) -> tuple[float, dict[str, Any]]:  # fmt: skip
    """Dropout draws the same at every call."""
    way, order = way or Way(), ragged.plan.order
    logits = model.logits(config, weights, ragged, way, 1, generator(0, DROPOUT))
    ranked = None if shares is None else shares[order]
    loss = way(losses.loss(logits, targets[order], ranked))
    _, found = way.back(1.0)
    assert found.keys() == weights.keys()
    return loss, {name: dense(d, weights[name].shape) for name, d in found.items()}


@pytest.mark.parametrize(("cell", "pooling"), VARIANTS)
def test_gradients_of_the_whole_network(cell: str, pooling: str) -> None:
    """By every weight, with and without a stage and a stack."""
    rng = np.random.default_rng(0)
    for number, (classes, width, hidden) in enumerate(product((2, 3), (0, 3), ([3], [3, 2]))):
        config = config_of(
            cell=cell, pooling=pooling, embedding=2, hidden=hidden, dense=width,
            bidirectional=number % 3 > 0, dropout=0.3 * (number % 2),
        )  # fmt: skip
        weights, (ragged, targets) = random_weights(config, classes), problem(number, 5, classes)
        _, found = loss_and_gradients(config, weights, ragged, targets)

        def loss(
            changed: Any, config: Any = config, ragged: Any = ragged, targets: Any = targets
        ) -> float:
            return loss_and_gradients(config, changed, ragged, targets)[0]

        assert_derivatives(loss, weights, found, rng)


def torchs(
    config: Config, weights: dict[str, Any], ragged: Ragged, targets: Any, shares: Any
) -> tuple[float, dict[str, Any]]:
    """Loss and gradients of torch's own modules, packed sequences and autograd."""
    directions, units = 1 + config.bidirectional, config.hidden[0]
    recurrence = TORCH[config.cell](
        config.embedding, units, len(config.hidden), bidirectional=config.bidirectional
    ).double()
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    own = {}
    for name, parameter in recurrence.named_parameters():
        given = leaves.get(f"recurrence.{name}", torch.zeros(0, dtype=torch.float64))
        missing = len(parameter) - len(given)  # of the second bias all, or but gru's candidate
        own[name] = torch.cat([torch.zeros(missing, *given.shape[1:]).double(), given])
    texts = [torch.tensor(np.asarray(ids), dtype=torch.int64) for ids in ragged]
    full = [i for i, text in enumerate(texts) if len(text)]
    x = [torch.nn.functional.embedding(texts[i], leaves["embedding.weight"]) for i in full]
    packed = torch.nn.utils.rnn.pack_sequence(x, enforce_sorted=False)
    out, last = torch.func.functional_call(recurrence, own, (packed,))
    last = (last[0] if isinstance(last, tuple) else last)[-directions:]
    rows = [torch.zeros(network.pooled_width(config)).double()] * len(texts)
    for place, states in enumerate(torch.nn.utils.rnn.unpack_sequence(out)):
        pools = {"last": last[:, place].reshape(-1), "max": states.amax(0), "mean": states.mean(0)}
        kinds = pools if config.pooling == "concat" else [config.pooling]
        rows[full[place]] = torch.cat([pools[kind] for kind in kinds])
    linear, y = torch.nn.functional.linear, torch.stack(rows)
    if config.dense:
        y = torch.relu(linear(y, leaves["dense.weight"], leaves["dense.bias"]))
    logits = linear(y, leaves["head.weight"], leaves["head.bias"])
    wanted = torch.tensor(targets)
    if logits.shape[1] == 1:
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[:, 0], wanted.double(), reduction="none"
        )
    else:
        each = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    counts = torch.tensor(shares)
    loss = (each * counts).sum() / counts.sum()
    torch.autograd.backward(loss)
    return loss.item(), {name: leaf.grad for name, leaf in leaves.items()}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", TORCH)
def test_loss_and_gradients_are_torchs(cell: str, pooling: str) -> None:
    for number, (classes, both) in enumerate(product((2, 4), (False, True))):
        config = config_of(
            cell=cell, pooling=pooling, bidirectional=both, embedding=6, dense=7 * (number % 2),
            hidden=[20] if number % 3 else [20, 20],
        )  # fmt: skip
        weights, (ragged, targets) = random_weights(config, classes), problem(number, 9, classes)
        shares = np.random.default_rng(1).uniform(0.5, 2, 9)
        loss, found = loss_and_gradients(config, weights, ragged, targets, shares)
        expected, theirs = torchs(config, weights, ragged, targets, shares)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        for name, gradient in found.items():
            scale = max(1.0, float(abs(theirs[name]).max()))
            np.testing.assert_allclose(
                gradient, theirs[name], rtol=0, atol=1e-12 * scale, err_msg=name
            )


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_bf16_are_those_of_fp32_but_for_rounding(
    instruction_set: str, cell: str, pooling: str
) -> None:
    """Factors are off by at most 2^-9 of themselves, products by 2^-8. Where signs are random a sum
    errs by less than that of its terms' norm; what layers and steps make of it is bounded as in
    test_kernels.py, by five times 2^-8. (A maximum or a relu may choose otherwise, and then the
    gradient goes another way.)"""
    config = config_of(cell=cell, pooling=pooling, embedding=24, hidden=[33, 20], dense=0)
    weights, (ragged, targets) = random_weights(config, 3, np.float32), problem(0, 40, 3)
    weights = {n: w / 2 if n.startswith("recurrence.w") else w for n, w in weights.items()}
    loss, fine = loss_and_gradients(config, weights, ragged, targets)
    brief = config.replace(precision="bf16")
    near, rough = loss_and_gradients(brief, weights, ragged, targets)
    assert 0 < abs(near - loss) < 2**-8
    for name, expected in fine.items():
        off = float(np.linalg.norm(rough[name] - expected) / np.linalg.norm(expected))
        assert off < 5 * 2**-8, (name, off)
        assert not name.startswith("recurrence") or off > 2**-12, (name, off)  # it does round


class Watching(Way):
    """Asserts that all that stages gave and kept is gone when the first of them is passed back."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[weakref.ref[Any]] = []
        self.seen = 0

    def __call__(self, stage: Any, name: str = "") -> Any:
        out, back = stage
        if name == "embedding":

            def watched(d: Any) -> Any:
                self.seen = len(self.given)
                assert not [of for of in self.given if of() is not None]
                return back(d)

            return super().__call__((out, watched), name)
        parts = out if isinstance(out, stages.States) else [out]
        self.given += [weakref.ref(part) for part in parts if isinstance(part, np.ndarray)]
        return super().__call__(stage, name)


def test_what_a_step_made_is_let_go_on_the_way_back() -> None:
    config = config_of(pooling="concat", hidden=[4, 3], dropout=0.5)
    way = Watching()
    order = problem(0, 6, 3)[0].plan.order
    ragged, targets = problem(0, 6, 3)
    logits = model.logits(config, random_weights(config, 3), ragged, way, 1, generator(0, DROPOUT))
    way(losses.loss(logits, targets[order], None))
    del logits
    way.back(1.0)
    assert way.seen >= 10


# --- dropout


class Noting(Way):
    """Keeps the outputs of all stages."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Any] = []

    def __call__(self, stage: Any, name: str = "") -> Any:
        self.outputs.append(super().__call__(stage, name))
        return self.outputs[-1]


def test_dropout_drops_embeddings_by_token_and_the_pooled_vector() -> None:
    config, way = config_of(dropout=0.5, dense=0, embedding=64, hidden=[32]), Noting()
    ragged = Ragged.from_lists([[1, 2, 1], [2], [3]])
    weights = {n: np.ones_like(w) for n, w in random_weights(config, 3, np.float32).items()}
    model.logits(config, weights, ragged, way, 1, generator(0, DROPOUT))
    _, embedded, _, pooled, dropped, _ = way.outputs
    assert embedded.shape == (3, 64)  # of the distinct tokens: each has one mask in the batch
    assert not np.array_equal(embedded[0], embedded[1])
    for values, whole in ((embedded, np.ones((3, 64))), (dropped, pooled)):
        zeros = values == 0
        assert 0.35 < zeros.mean() < 0.65
        np.testing.assert_allclose(values[~zeros], 2 * whole[~zeros], rtol=1e-6)


@pytest.mark.parametrize("width", [0, 8])
def test_dropout_stands_before_each_layer_and_after_dense(width: int) -> None:
    config = config_of(dropout=0.5, dense=width, hidden=[4, 3])
    drawn = list[tuple[int, ...]]()
    weights, ragged = random_weights(config, 2, np.float32), problem(0, 5, 2)[0]
    tokens, distinct = len(ragged.values), len(np.unique(ragged.values))

    def noting(x: Any, *_: Any) -> Any:
        drawn.append(x.shape)
        return x, None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "dropout", noting)
        model.logits(config, weights, ragged, Way(), 1, generator(0, DROPOUT))
    pooled = network.pooled_width(config)
    expected = [(distinct, 8), (tokens, 8), (5, pooled)]
    assert drawn == ([*expected, (5, width)] if width else expected)


def test_nothing_is_drawn_from_generators_of_the_process() -> None:
    config, ragged = config_of(dropout=0.5, hidden=[8, 6]), Ragged.from_lists([[1, 2, 3], [4, 5]])
    weights = random_weights(config, 2, np.float32)

    def logits(seed: int) -> Any:
        np.random.seed(seed)
        before = str(np.random.get_state())
        out = model.logits(config, weights, ragged, Way(), 1, generator(1, DROPOUT))
        assert str(np.random.get_state()) == before
        return out

    assert np.array_equal(logits(1), logits(2))
