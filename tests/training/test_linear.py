"""The linear part's optimum: against scikit-learn, and its edges.

Bits are the same on any number of threads: each row of a product is made by one thread, whichever,
in the order of its entries (`Sparse.product`, `kernels.Dense`); `kernels.outer` cuts between
columns and never within a sum; sums over long vectors (`sparse.dots`) are of fixed chunks, added up
in their order. `test_threads_and_runs_give_the_same_bits` has enough texts that all of them are
indeed shared out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from carryline.model.linear import Linear
from carryline.text.bags import Bags
from carryline.text.vectors import Vectors
from carryline.training import linear, logistic, losses

Array = np.ndarray[Any, Any]
FIRST = linear.BALANCES[0]
WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "el", "ir", "os")]


def corpus(texts: int, classes: int, seed: int = 0) -> tuple[list[str], Array]:
    """Classes prefer some of the words; a tenth of the labels is wrong."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, classes, texts)
    liked = np.random.default_rng(7).dirichlet(np.full(len(WORDS), 0.3), classes)
    written = [
        " ".join(draw.choice(WORDS, 8, p=0.5 * liked[c] + 0.5 / len(WORDS))) for c in targets
    ]
    wrong = draw.random(texts) < 0.1
    return written, np.where(wrong, draw.integers(0, classes, texts), targets)


def bags(width: int = 6) -> Bags:
    matrix = np.random.default_rng(1).standard_normal((len(WORDS), width)).astype(np.float32)
    return Bags(Vectors(WORDS, np.arange(len(WORDS), 0, -1), matrix, {}))


def fitted(texts: list[str], targets: Array, outputs: int, **more: Any) -> Linear:
    how: dict[str, Any] = {"bags": bags(), "features": 500} | more
    return linear.fit(texts, targets, outputs, **how)[0]


def features(part: Linear, texts: list[str], known: Bags | None) -> Array:
    """[texts, features] as the optimum is looked for in them."""
    blocks = [
        scipy.sparse.csr_matrix((s.values, s.ids, s.offsets), (len(s), s.width)).toarray()
        for s in part.ngrams(texts, 1)
    ]
    all_of_them = [block * (FIRST.ngrams / 2) ** 0.5 for block in blocks]
    if known is not None:
        dense = known(texts, 1)
        middle, scale = linear._spread(dense)
        all_of_them.append((dense - middle) * scale)
    return np.concatenate(all_of_them, axis=1, dtype=np.float64)


def objective(part: Linear, x: Array, targets: Array, weights: Array | None = None) -> float:
    """The minimised function at a fitted part's weights."""
    size = np.float32((FIRST.ngrams / 2) ** 0.5)
    own = [part.arrays[f"{kind}.weight"] / size for kind in ("words", "characters")]
    outputs = len(part.arrays["bias"])
    if part.bags is not None:
        scale = linear._spread(part.bags(part_texts[id(part)], 1))[1]
        by_dense = part.arrays["bags.weight"] / np.where(scale > 0, scale, 1)
        own.append(by_dense.T)
    w = np.concatenate(own)
    assert w.shape == (x.shape[1], outputs)
    logits = np.float64(part.logits(part_texts[id(part)], 1))
    value, _ = losses.loss(logits, targets, weights)
    return value + float((np.float64(w) ** 2).sum()) / (2 * FIRST.strength * len(targets))


part_texts: dict[int, list[str]] = {}


def by_peer(x: Array, targets: Array, weights: Array | None = None) -> tuple[float, Array]:
    """The least value, and the probabilities there."""
    count = len(targets)
    total = count if weights is None else float(weights.sum())
    strength = FIRST.strength * count / total  # its loss is a sum
    peer = LogisticRegression(C=strength, tol=1e-8, max_iter=5_000)
    peer.fit(x, targets, sample_weight=weights)
    chances = peer.predict_proba(x)
    each = -np.log(chances[np.arange(count), targets])
    w = peer.coef_
    penalty = float((w**2).sum()) / (2 * FIRST.strength * count)
    return float(np.average(each, weights=weights)) + penalty, chances


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("with_bags", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_least_loss_is_that_of_scikit_learn(
    classes: int, with_bags: bool, weighted: bool
) -> None:
    texts, targets = corpus(300, classes)
    weights = None
    if weighted:
        weights = np.random.default_rng(3).uniform(0, 3, 300).astype(np.float32)
    known = bags() if with_bags else None
    part = fitted(texts, targets, 1 if classes == 2 else classes, bags=known, weights=weights)
    part_texts[id(part)] = texts
    x = features(part, texts, known)
    wanted, chances = by_peer(x, targets, weights)
    assert objective(part, x, targets, weights) == pytest.approx(wanted, rel=1e-3)
    logits = part.logits(texts, 1)
    found = logits[:, 0] > 0 if classes == 2 else logits.argmax(axis=1)
    assert np.mean(found == chances.argmax(axis=1)) > 0.98


@pytest.mark.parametrize("weighted", [False, True])
def test_uneven_ngrams_are_as_if_multiplied_by_their_ratio(weighted: bool) -> None:
    """Of two classes: the optimum on features times |r|, counted here in plain NumPy."""
    texts, targets = corpus(300, 2)
    weights = np.full(300, 1.0, np.float32)
    if weighted:
        weights = np.random.default_rng(3).uniform(0, 3, 300).astype(np.float32)
    how: dict[str, Any] = {"weights": weights if weighted else None, "features": 500}
    balance = linear.Balance(4.0, 4.0, 1.0)
    part = linear.fit(texts, targets, 1, None, [balance], **how)[0]
    columns = []
    for block in part.ngrams(texts, 1):
        dense = scipy.sparse.csr_matrix(
            (block.values, block.ids, block.offsets), (300, block.width)
        )
        x = dense.toarray().astype(np.float64)
        has = (x > 0) * np.float64(weights)[:, None]
        pos, neg = has[targets == 1].sum(axis=0), has[targets == 0].sum(axis=0)
        count = [float(weights[targets == k].sum()) for k in (1, 0)]
        r = np.log((pos + 1) / (count[0] + 2)) - np.log((neg + 1) / (count[1] + 2))
        mean = (x**2 * r**2).sum() / (x**2).sum()
        columns.append(x * np.abs(r) / mean**0.5 * 2**0.5)
    both = np.concatenate(columns, axis=1)
    _, chances = by_peer(both, targets, weights if weighted else None)
    logits = part.logits(texts, 1)[:, 0]
    # The optimum is left within a thousandth of its loss: a probability within a hundredth or two.
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), chances[:, 1], atol=0.02)


def test_ngrams_that_are_everywhere_alike_tell_nothing() -> None:
    part = linear.fit(["a b", "a c"] * 9, np.array([0, 1] * 9), 1, None,
                      [linear.Balance(4.0, 4.0, 0.5)], features=99)[0]  # fmt: skip
    place = part.ngrams.places(["a"])[0]
    assert (part.arrays["words.weight"][place.features] == 0).all()
    assert np.isfinite(part.logits(["a b", "x", ""], 1)).all()
    nothing = linear.fit(["a", "a"], np.array([0, 1]), 1, None,
                         [linear.Balance(4.0, 4.0, 0.5)], features=99)[0]  # fmt: skip
    assert np.isfinite(nothing.logits(["a"], 1)).all()


@pytest.mark.parametrize("uneven", [0.0, 1.0])
@pytest.mark.parametrize(("outputs", "weighted"), [(1, False), (3, True)])
def test_gradient(outputs: int, weighted: bool, uneven: float) -> None:
    """Of the function on texts' coefficients, in float64: see `logistic.Problem`."""
    texts, targets = corpus(40, max(2, outputs))
    draw = np.random.default_rng(5)
    weights = draw.uniform(0, 2, 40).astype(np.float32) if weighted else None
    part = fitted(texts, targets, outputs, features=80, bags=None)
    dense = draw.standard_normal((40, 5))
    blocks = list(part.ngrams(texts, 1))
    free = [linear._freedom(b, targets, outputs, weights, uneven, 1) for b in blocks]
    problem = logistic.Problem(
        blocks, dense, targets, outputs, weights, 40 * FIRST.strength, free if uneven else None, 1
    )
    a, bias = draw.standard_normal((40, outputs)), draw.standard_normal(outputs)

    def point(a: Array, bias: Array) -> Array:
        z = problem.of_texts(*problem.by_features(a))
        return np.concatenate([a.ravel(), z.ravel(), bias])

    x, way = point(a, bias), point(draw.standard_normal(a.shape), draw.standard_normal(outputs))
    gradient = problem(x)[1]()
    slope = float(problem.products([gradient], [way])[0, 0])
    step = 1e-5
    difference = (problem(x + step * way)[0] - problem(x - step * way)[0]) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-6)


def test_weights_are_texts_that_are_there_several_times() -> None:
    texts, targets = corpus(60, 3)
    times = np.random.default_rng(0).integers(0, 3, 60)
    # the same features: what a text of weight 0 has counts for how rare a feature is
    part = fitted(texts, targets, 3, weights=times.astype(np.float32), bags=None)
    repeated = np.repeat(np.arange(60), times)
    x = features(part, texts, None)
    share = len(repeated) / 60
    peer = LogisticRegression(C=FIRST.strength / share, tol=1e-8, max_iter=5_000)
    wanted = peer.fit(x[repeated], targets[repeated]).predict_proba(x)
    logits = part.logits(texts, 1)
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), wanted, atol=0.02)


def test_all_weights_zero_is_no_error() -> None:
    texts, targets = corpus(20, 2)
    part = fitted(texts, targets, 1, weights=np.zeros(20, np.float32))
    assert not part.logits(texts, 1).any()


def test_a_class_without_a_text_gets_a_low_logit() -> None:
    texts, targets = corpus(90, 2)
    part = fitted(texts, targets, 3)
    logits = part.logits(texts, 1)
    assert np.isfinite(logits).all()
    assert (logits[:, 2] < logits[:, :2].min(axis=1)).all()


def test_one_class_alone() -> None:
    texts, _ = corpus(30, 2)
    part = fitted(texts, np.ones(30, np.int64), 1)
    assert (part.logits(texts, 1) > 0).all()


def test_texts_without_features_get_how_frequent_classes_are() -> None:
    targets = np.array([0] * 30 + [1] * 10)
    part = fitted([""] * 40, targets, 1)
    np.testing.assert_allclose(part.logits(["", "ban"], 1), np.log(1 / 3), atol=1e-2)


def test_it_learns_and_tells_each_step() -> None:
    texts, targets = corpus(400, 3)
    steps: list[None] = []
    part = fitted(texts, targets, 3, after_step=lambda: steps.append(None))
    assert 3 <= len(steps) <= linear.STEPS
    others, truth = corpus(300, 3, seed=9)
    assert np.mean(part.logits(others, 1).argmax(axis=1) == truth) > 0.65
    assert part.parameters == sum(
        part.arrays[name].size for name in
        ("words.weight", "characters.weight", "bags.weight", "bias")
    )  # fmt: skip


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (5, 5)])
def test_threads_and_runs_give_the_same_bits(classes: int, outputs: int) -> None:
    texts, targets = corpus(2_500, classes)
    more: dict[str, Any] = {"bags": bags(70), "features": 2_000}
    first = fitted(texts, targets, outputs, **more)
    for threads in (1, 3):
        other = fitted(texts, targets, outputs, threads=threads, **more)
        for name, array in first.arrays.items():
            assert other.arrays[name].tobytes() == array.tobytes(), (name, threads)


def test_the_most_features_are_fewer_for_many_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carryline.model.linear.MOST_VALUES", 120)
    texts, targets = corpus(50, 3)
    part = fitted(texts, targets, 3)
    assert len(part.arrays["words.keys"]) == len(part.arrays["characters.keys"]) == 40


def test_two_texts_many_times_are_no_numerical_accident() -> None:
    """At the optimum, which is near at once, rounding is all that steps differ by: no division by
    a product that one order of it makes zero."""
    targets = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0])
    texts = ["a fine film" if target else "a dull one" for target in targets]
    for part in linear.fit(
        texts, targets, 1, Bags(Vectors.english()), linear.BALANCES, features=99
    ):
        assert all(np.isfinite(value).all() for value in part.arrays.values())


@pytest.mark.parametrize("uneven", [0.0, 1.0])
@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (4, 4)])
def test_no_text_has_a_say_in_what_is_predicted_of_it(
    classes: int, outputs: int, uneven: float
) -> None:
    texts, targets = corpus(120, classes)
    turn = np.arange(120) % 3
    balance = linear.Balance(4.0, 4.0, uneven)

    def outside(targets: Array) -> Array:
        return linear.outside(texts, targets, outputs, bags(), turn, balance, features=500)

    first, other = outside(targets), targets.copy()
    other[turn == 1] = (other[turn == 1] + 1) % classes
    changed = outside(other)
    assert changed[turn == 1].tobytes() == first[turn == 1].tobytes()
    assert (changed[turn != 1] != first[turn != 1]).any(axis=1).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_predicted_of_it_is_by_the_other_texts(weighted: bool) -> None:
    texts, targets = corpus(150, 3)
    weights = None
    if weighted:
        weights = np.random.default_rng(3).uniform(0.5, 3, 150).astype(np.float32)
    turn, told = np.arange(150) % 3, list[int]()
    logits = linear.outside(
        texts, targets, 3, bags(), turn, features=500, weights=weights, after_turn=told.append
    )
    assert told == [50, 50, 50]
    x = features(fitted(texts, targets, 3), texts, bags())
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for number in range(3):
        held, rest = turn == number, turn != number
        own = None if weights is None else weights[rest]
        total = 100 if own is None else float(own.sum())
        peer = LogisticRegression(C=FIRST.strength * 100 / total, tol=1e-8, max_iter=5_000)
        wanted = peer.fit(x[rest], targets[rest], sample_weight=own).predict_proba(x[held])
        np.testing.assert_allclose(found[held], wanted, atol=0.03)


def test_what_is_worth_trying() -> None:
    assert linear.worth_trying(1, True) == linear.worth_trying(20, True) == [*linear.BALANCES]
    assert linear.worth_trying(77, True) == [*linear.BALANCES[:2]]
    assert linear.worth_trying(1, False) == [linear.BALANCES[0], linear.BALANCES[-1]]
