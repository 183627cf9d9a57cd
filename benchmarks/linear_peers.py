"""Linear classifiers of words and word pairs, by scikit-learn: peers of accuracy.py.

Their C is chosen within `fit`, by cross-validation on the texts given there. The solvers run on one
thread.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryline.text.data import Label

Array = NDArray[Any]
Model = tuple[Array, Array, Array]  # see `_nbsvm`
Solved = Callable[[Array, Array, float], Array]
FOLDS = 3
TFIDF_C = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
NBSVM_C = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
BETA = 0.25  # the SVM's share of the weights, the rest is their mean's: the paper's value
TOKEN = r"\w+(?:'\w+)?|[^\w\s]"  # a word or a mark


class Tfidf:
    """Words and word pairs, sublinear TF-IDF, and logistic regression, a class against the rest."""

    def __init__(self, threads: int, seed: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.seed, self.settings = seed, {"c": TFIDF_C, "folds": FOLDS}
        self.chosen: dict[str, Any] = {}
        self.words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self.model: Any = None

    def fit(self, texts: list[str], labels: list[Label]) -> None:
        x, y = self.words.fit_transform(texts), np.array(labels)

        def solved(train: Array, held: Array, c: float) -> Array:
            return np.asarray(_logistic(x[train], y[train], c).predict(x[held]))

        self.chosen = {"c": best_c(TFIDF_C, y, solved, self.seed)}
        self.model = _logistic(x, y, self.chosen["c"])

    def predict(self, texts: list[str]) -> list[Label]:
        found: list[Label] = self.model.predict(self.words.transform(texts)).tolist()
        return found

    def size(self) -> int:
        return len(pickle.dumps((self.words, self.model)))


def _logistic(x: Any, y: Array, c: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    one = LogisticRegression(C=c, solver="liblinear", dual=True, tol=0.01, random_state=0)
    with _near_enough():
        return (OneVsRestClassifier(one) if len(np.unique(y)) > 2 else one).fit(x, y)


class NbSvm:
    """Wang and Manning, Baselines and Bigrams (ACL 2012): whether a word, a mark or a pair of them
    is there, times the logarithm of how much likelier the class makes it, before a linear SVM that
    is drawn towards naive Bayes. Each class against the rest."""

    def __init__(self, threads: int, seed: int) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.seed, self.settings = seed, {"c": NBSVM_C, "folds": FOLDS, "beta": BETA}
        self.chosen: dict[str, Any] = {}
        self.words = CountVectorizer(
            token_pattern=TOKEN, ngram_range=(1, 2), binary=True, dtype=np.float64
        )
        self.model: Any = None

    def fit(self, texts: list[str], labels: list[Label]) -> None:
        x, y = self.words.fit_transform(texts), np.array(labels)

        def solved(train: Array, held: Array, c: float) -> Array:
            known = x[train].getnnz(axis=0) > 0  # as if nobody had seen the others' words
            return _answers(_nbsvm(x[train][:, known], y[train], c), x[held][:, known])

        self.chosen = {"c": best_c(NBSVM_C, y, solved, self.seed)}
        self.model = _nbsvm(x, y, self.chosen["c"])

    def predict(self, texts: list[str]) -> list[Label]:
        found: list[Label] = _answers(self.model, self.words.transform(texts)).tolist()
        return found

    def size(self) -> int:
        return len(pickle.dumps((self.words, self.model)))


def log_count_ratios(x: Any, positive: Array) -> Array:
    """[features] the logarithm of how much likelier each is in the positive texts than in others.

    x [texts, features]: whether it is there; every feature counts once more on both sides.
    """
    p, q = (1 + np.asarray(x[side].sum(axis=0)).ravel() for side in (positive, ~positive))
    return np.asarray(np.log(p / p.sum()) - np.log(q / q.sum()))


def interpolated(
    weights: Array, bias: float, ratios: Array, positive: Array
) -> tuple[Array, float]:
    """Weights of features and a bias between an SVM's, of features times their ratios, and those of
    naive Bayes: the ratios themselves, and the logarithm of how much likelier the class is, both
    times the mean weight."""
    bayes = (1 - BETA) * np.abs(weights).mean()
    prior = np.log(positive.sum() / (~positive).sum())
    return ratios * (bayes + BETA * weights), float(bayes * prior + BETA * bias)


def _nbsvm(x: Any, y: Array, c: float) -> Model:
    """Classes, and weights [rows, features] and biases [rows]: a row a class, for two classes one,
    the second's."""
    from scipy.sparse import diags
    from sklearn.svm import LinearSVC

    classes = np.unique(y)
    weights, biases = [], []
    for one in classes if len(classes) > 2 else classes[1:]:
        ratios = log_count_ratios(x, y == one)
        with _near_enough():
            svm = LinearSVC(C=c, dual=True, tol=0.01, random_state=0)
            svm.fit((x @ diags(ratios)).tocsr(), y == one)
        weight, bias = interpolated(svm.coef_[0], svm.intercept_[0], ratios, y == one)
        weights.append(weight)
        biases.append(bias)
    return classes, np.stack(weights), np.array(biases)


def _answers(model: Model, x: Any) -> Array:
    classes, weights, biases = model
    scores = x @ weights.T + biases
    chosen = scores.argmax(axis=1) if len(classes) > 2 else (scores[:, 0] > 0).astype(int)
    return np.asarray(classes[chosen])


def best_c(values: Sequence[float], y: Array, solved: Solved, seed: int) -> float:
    """The C by which most texts are answered right over the folds, the smallest of equals.

    solved(train, held, c) gives the labels of the rows `held` by what the rows `train` teach. Each
    class is spread over the folds alike.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(y)), y))
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % FOLDS
    right = dict.fromkeys(values, 0)
    for number, c in product(range(FOLDS), values):
        train, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        right[c] += int((solved(train, held, c) == y[held]).sum())
    return max(values, key=lambda c: (right[c], -c))


@contextmanager
def _near_enough() -> Iterator[None]:
    """Without liblinear's warning that it stopped at its last round."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
