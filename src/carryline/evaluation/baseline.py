"""What a model must be better than: the most frequent class, and a linear model on the same split.

The linear model is TF-IDF of words and pairs of words before logistic regression, trained while one
waits: on a sample where there is more text than the time allows.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.errors import InputError
from carryline.text.data import Label, split

NAME = "TF-IDF + logistic regression"
# 3, 10, 30 and 100 give 0.813, 0.821, 0.824 and 0.825 in the mean over held-out tenths of six sets
# (sentences, questions, intents, tweets, reviews, news); 100 takes half as long again.
C = 30
# What a second is enough for, on a core that others use too.
CHARACTERS = 1.5e6  # to count the words of; half of the time
VISITS = 7e7  # of an entry by the solver; the other half
ROUNDS = 20  # of the solver over all entries, at least; it needs 15 to 40
ENTRIES = 0.3  # words and pairs a character, seen in English
MOST_CLASSES = 1000  # each is a model of its own

Integers = NDArray[np.int64]


def baseline(
    train_texts: Sequence[str],
    train_targets: ArrayLike,
    valid_texts: Sequence[str],
    valid_targets: ArrayLike,
    classes: Sequence[Label],
    seconds: float = 20.0,
) -> dict[str, Any]:
    """Figures on the validation part of models that were made from the training part.

    targets [texts]: numbers of classes. Returns plain numbers, ready for JSON:

    - majority: label (of the training part's most frequent class), accuracy, macro_f1;
    - linear: name, accuracy, macro_f1, texts (trained on, a sample where they are fewer than all
      there are, `of`), tested (texts that its figures are of), seconds (it took); None where there
      can be none;
    - why: the reason when linear is None, else "".

    macro_f1 is over the classes that have a text in the validation part. seconds: about the most
    that the linear model may take on an ordinary core; from it follows how many texts it is
    trained on and tested on, each class's share alike. The same texts give the same figures,
    whatever the machine. Raises `InputError` when one of the parts has no text.
    """
    y, held = np.asarray(train_targets, np.int64), np.asarray(valid_targets, np.int64)
    if len(y) == 0 or len(held) == 0:
        raise InputError(f"a baseline needs texts in both parts, there are {len(y)}, {len(held)}")
    most = int(np.bincount(y).argmax())
    found = {"majority": {"label": classes[most], **_figures(np.full_like(held, most), held)}}
    why = _why_not(y)
    if why:
        return {**found, "linear": None, "why": why}
    began = time.perf_counter()
    counted, solved = seconds * CHARACTERS, seconds * VISITS / (ENTRIES * ROUNDS * _models(y))
    tested, held = _sample(valid_texts, held, counted / 3)
    texts, y = _sample(train_texts, y, min(counted - sum(map(len, tested)), solved))
    predicted = _predicted(texts, y, tested, seconds * VISITS)
    if predicted is None:
        return {**found, "linear": None, "why": "no word of two letters or more is in the texts"}
    linear = {
        "name": NAME,
        **_figures(predicted, held),
        "texts": len(texts),
        "of": len(train_texts),
    }
    linear |= {"tested": len(tested), "seconds": time.perf_counter() - began}
    return {**found, "linear": linear, "why": ""}


def _why_not(y: Integers) -> str:
    """Why there can be no linear model for these targets, "" when there can."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return "scikit-learn is not installed: pip install 'carryline[sklearn]'"
    classes = len(np.unique(y))
    if classes < 2:
        return "all texts to train on are of one class"
    if classes > MOST_CLASSES:
        return f"{classes:,} classes are more than the {MOST_CLASSES:,} that there is time for"
    return ""


def _models(y: Integers) -> int:
    """How many models tell the classes apart: each from the rest, one for two."""
    classes = len(np.unique(y))
    return classes if classes > 2 else 1


def _figures(predicted: Integers, y: Integers) -> dict[str, float]:
    """Accuracy, and the mean F1 of the classes in y."""
    size = 1 + max(y.max(), predicted.max())
    right, true, said = (
        np.bincount(one, minlength=size) for one in (y[predicted == y], y, predicted)
    )
    f1 = 2 * right[true > 0] / (true + said)[true > 0]
    return {"accuracy": float((predicted == y).mean()), "macro_f1": float(f1.mean())}


def _sample(texts: Sequence[str], y: Integers, characters: float) -> tuple[list[str], Integers]:
    """All of them, or where they are longer together, so many that they come to `characters`. A
    text is then cut so that 200 of them, and one of each class, have room."""
    texts = list(texts)
    if sum(map(len, texts)) <= characters:
        return texts, y
    longest = max(1, int(characters / max(200, len(np.unique(y)))))
    texts = [text[:longest] for text in texts]
    share = characters / max(1, sum(map(len, texts)))
    rows, _ = split(y.tolist(), max(0.0, 1 - share), seed=0)
    return [texts[row] for row in rows], y[rows]


def _predicted(
    texts: Sequence[str], y: Integers, tested: Sequence[str], visits: float
) -> Integers | None:
    """The classes of `tested`; None when `texts` have no words.

    Logistic regression by liblinear's coordinates of the dual, a class against the rest: on one
    core, the same on every machine, and as good as L-BFGS over all classes at once in a tenth of
    its time (77 classes of 9,003 questions: 1.6 s instead of 9.6).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        x = words.fit_transform(texts)
    except ValueError:  # its word for no words at all
        return None
    models = _models(y)
    rounds = int(np.clip(visits / (models * x.nnz), ROUNDS, 100))
    one = LogisticRegression(
        C=C, solver="liblinear", dual=True, tol=0.01, max_iter=rounds, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is near enough
        model = (OneVsRestClassifier(one) if models > 1 else one).fit(x, y)
    predicted: Integers = model.predict(words.transform(tested))
    return predicted
