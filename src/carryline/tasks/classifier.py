"""What a user holds: text in, labelled probabilities out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carryline.recurrence.machine import checked_threads
from carryline.tasks import fitted
from carryline.tasks.estimator import Estimator
from carryline.tasks.teller import Advance, Teller
from carryline.text.data import Dataset, Label
from carryline.text.examples import checked_examples, checked_texts, checked_weights

if TYPE_CHECKING:
    from carryline.tasks.parts import Validation
    from carryline.training.progress import Callback

Array = NDArray[Any]


class TextClassifier(Teller, Estimator):
    """A recurrent text classifier.

        classifier = TextClassifier().fit(texts, labels)
        classifier.predict(["what a film"])
        classifier.save("model")

    preset: auto, some of whose settings follow from the texts and are said when training begins;
    or lecture, lecture-stacked, small or base, which are as they stand. settings: those to change,
    such as epochs, hidden, cell, dropout, learning_rate or seed. `help(carryline.Config)` lists
    them all; docs/settings.md has their ranges, and the presets' values side by side. Raises
    `ConfigError` for an unknown setting or a value out of range.
    """

    def __init__(self, preset: str = "auto", **settings: Any) -> None:
        super().__init__(preset, settings)

    def fit(
        self,
        texts: Iterable[str],
        labels: Iterable[Label],
        sample_weight: ArrayLike | None = None,
        *,
        valid: Validation = 0.1,
        threads: int | None = None,
        out: str | Path | None = None,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        warm_start: bool = False,
        baseline: bool = True,
        origin: Dataset | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> TextClassifier:
        """Train on texts and their labels, one label a text, two or more classes.

        sample_weight: how much each text counts in the loss [texts], 0 or more; one of 0 is as if
        it were not there, and only what they are to each other matters. valid: examples to validate
        on, or the share of the texts to hold out for it (each class alike), 0 or None for none;
        they all count the same. The weights of the epoch that is best by the setting `keep` are
        kept. With `folds` of 1 or more the texts held out are trained on too in the end, but not
        those that valid names. Ctrl-C ends training; what was best so far is kept.

        out: a folder for the model, which must not exist; that is found out now, and the model is
        saved at the end. Each epoch's state is written to the folder checkpoint, or else to
        `out`.partial, where no other process may train meanwhile and no other run's state may be;
        with `folds=0` the last state goes with the model when that is saved (its
        checkpoint.safetensors, which may be deleted). resume: go on from that state, with the same
        settings and data. `patience` may change, and `epochs` be more than they were, of a finished
        run too: with a constant rate and no warm-up to the same bits as a run of so many from the
        start; else the rate is from there on that of the longer run.

        warm_start: go on from the weights and the vocabulary that the classifier has. The settings
        of the network must be the same; a linear part is fitted anew. When the labels are not all
        among its classes, they become its classes, and it gets a new head.

        baseline: measure the most frequent class and a linear model on the same parts, in some
        twenty seconds at most; they stand beside the model's figures in `metrics` and in its card.
        The linear model needs scikit-learn, and pictures in `out` matplotlib: what is not installed
        is left out, and said at the beginning.
        origin: what the texts were read from (`carryline.text.data.read`), for the card.

        verbose: None shows progress on a terminal and in a notebook, True everywhere, False
        nowhere. callbacks: each a `carryline.Callback`, told what there is to show: at first an
        account of the data, with what looks wrong in it.

        Raises `DataError`, `ConfigError`, `OutputError`, `TrainingError`.
        """
        from carryline.tasks import beforehand, fitting, folds, recipe
        from carryline.tasks.parts import prepared
        from carryline.tasks.vocabulary import resolved
        from carryline.training.folder import Place
        from carryline.training.progress import watching

        began = time.perf_counter()
        place = Place.of(out, checkpoint, resume)
        place.check()
        known = self.trained if warm_start else None
        examples = checked_examples(texts, labels)
        parts = prepared(*examples, sample_weight, valid, self.config.seed, known)
        with watching(verbose, callbacks) as watcher, place.occupied():
            asked = bool(self._given.get("patience"))
            wanted = baseline and parts.valid is not None
            beforehand.tell_missing(wanted, out is not None, watcher)
            config, why = self.config, list[str]()
            if known:
                beforehand.tell_seen(known, parts, watcher)
                config = recipe.taken_over(config, self.given, known.config)
            elif config.preset == recipe.AUTO:
                config, why = recipe.followed(config, self.given, parts)
            config = folds.settled(config, parts, why)
            told = beforehand.told(*examples, parts, origin, watcher, config.folds)
            for line in why:
                watcher.message(line)
            config, lexicon = resolved(config, by_hand=self.width_given, known=self._fitted)
            if known:
                beforehand.check_network(known.config, config)
            beforehand.check_patience(config, parts.valid is not None, asked, watcher)
            run, model = fitting.train(
                config, parts, known, lexicon, place, checked_threads(threads), watcher, origin
            )
            model.account = told
            self._fitted = model
            if baseline:
                fitting.compare(model, parts, watcher)
            model.seconds = time.perf_counter() - began
            place.deliver(
                self.save,
                new=len(run.history) > run.resumed,
                whole=not run.interrupted,
                longer=not config.folds,
            )
        return self

    def predict_proba(
        self,
        texts: Iterable[str],
        *,
        pad_to: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> Array:
        """[texts, classes] float32, classes in the order of `classes`.

        pad_to: append <pad> to texts of fewer tokens, as a padded batch would. It changes nothing
        unless the model was trained with `mask=False`. advance: called, now and then, with
        the number of texts done since the last time.
        """
        return self._chances(checked_texts(texts), threads, pad_to, advance)[0]

    def predict(
        self,
        texts: Iterable[str],
        *,
        pad_to: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[Any]:
        """[texts] the most probable label of each text; `.tolist()` gives Python's values."""
        chances = self.predict_proba(texts, pad_to=pad_to, threads=threads, advance=advance)
        labels: NDArray[Any] = self.classes_[chances.argmax(axis=1)]
        return labels

    def score(
        self,
        texts: Iterable[str],
        labels: Iterable[Label],
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Accuracy; with sample_weight [texts], numbers of 0 or more, of what each text weighs."""
        own, targets = self._examples(texts, labels)
        right = self.predict_proba(own).argmax(axis=1) == targets
        return float(np.average(right, weights=checked_weights(sample_weight, len(own))))

    def __repr__(self) -> str:
        if self._fitted is None:
            return self._call()
        classes = ", ".join(map(str, self.classes[:6])) + (", …" if self.classes[6:] else "")
        told = [f"{len(self.classes)} classes ({classes})", f"{self.parameters:,} parameters"]
        if self.metrics is not None:
            told.append(f"validation accuracy {self.metrics['accuracy']:.4f}")
        return f"<{self._call()}: {'; '.join(told)}>"


def load(path: str | Path) -> TextClassifier:
    """The classifier in a model directory. Runs no code from it.

    Raises `ModelError` when it is missing or damaged.
    """
    classifier = TextClassifier()
    classifier._fitted = fitted.read(path)
    classifier._adopt(classifier._fitted.config)
    return classifier
