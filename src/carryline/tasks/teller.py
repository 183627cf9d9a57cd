"""What a trained classifier tells of texts: why it decides, how good it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from carryline.model import network
from carryline.recurrence.machine import checked_threads
from carryline.tasks.fitted import Holder
from carryline.text.bags import Bags
from carryline.text.data import Label
from carryline.text.examples import checked_examples, checked_texts, targets_of

if TYPE_CHECKING:
    from carryline.explaining.explanation import Explanation
    from carryline.reporting.measured import Learned

Array = NDArray[Any]
Advance = Callable[[int], object]
TEXTS_AT_ONCE = 2048  # about, when predicting: a second or two of long ones


class Teller(Holder):
    """Explanations, reports and figures of a trained model."""

    def explain(
        self,
        text: str,
        label: Label | None = None,
        *,
        way: str = "gradients",
        by: str = "words",
        threads: int | None = None,
    ) -> Explanation:
        """Each word's part in the decision for a label, None for the most probable one.

        The parts in the linear part are exact. Those in the recurrent one are found by integrated
        gradients (they add up, too), or with way="occlusion" by what is lost without the word.
        by: "words", or "sentences". See `carryline.explaining.explanation.Explanation`.

        Raises `DataError` for an unknown label, or a text that is too long for it.
        """
        from carryline.explaining.explain import Explainer

        model, count = self.trained, checked_threads(threads)
        explainer = Explainer(
            model.classes, model.tokenizer, model.network, model.linear,
            lambda texts: model.logits(texts, threads=count)[0], count,
        )  # fmt: skip
        return explainer(checked_texts([text])[0], label, way, by)

    def report(
        self,
        texts: Iterable[str] | None = None,
        labels: Iterable[Label] | None = None,
        *,
        name: str = "A classifier",
        source: str = "",
        training: Iterable[str] = (),
        training_labels: Iterable[Label] | None = None,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> str:
        """A page of HTML that says how good the model is on labelled texts that it has not learned
        from; without them, what its training has measured.

        name: of the model, source: of the texts, as the page calls them. training: the texts that
        it has learned from, to look for near-duplicates in both; with training_labels, one a text,
        also for labels that look wrong: to linear parts like the model's, five of them, each
        fitted without the texts that it judges. advance: see `predict_proba`; training texts with
        labels count as well. Raises `DataError` for a label that the model has never seen.
        """
        from carryline.reporting.measured import Measured
        from carryline.reporting.page import Subject, page

        model, of = self.trained, None
        if texts is not None:
            own, targets = self._examples(texts, labels or [])
            chances, _ = self._chances(own, threads, advance=advance)
            of = Measured(own, targets, chances, model.classes)
        learned = self._learned(training, training_labels, checked_threads(threads), advance)
        subject = Subject(
            name, model.config, model.parameters, model.history, model.metrics, model.made
        )
        return page(subject, of, lambda text: self.explain(text, threads=threads), source, learned)

    def evaluate(
        self,
        texts: Iterable[str],
        labels: Iterable[Label],
        *,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> dict[str, Any]:
        """Loss, accuracy and the rest of `metrics.evaluate`, and how fast it went.

        `seconds` is the time from text to probabilities. advance: see `predict_proba`. Raises
        `DataError` for a label that the model has never seen.
        """
        from carryline.evaluation import metrics

        classes = self.trained.classes
        own, targets = self._examples(texts, labels)
        began = time.perf_counter()
        chances, tokens = self._chances(own, threads, advance=advance)
        seconds = time.perf_counter() - began
        speed = {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}
        return {**metrics.evaluate(chances, targets, classes), **speed}

    def _learned(
        self,
        texts: Iterable[str],
        labels: Iterable[Label] | None,
        threads: int,
        advance: Advance | None,
    ) -> Learned | None:
        """What a report knows of the texts that the model has learned from; None without any."""
        from carryline.reporting.judged import judged
        from carryline.reporting.measured import Learned

        if labels is None:
            own = checked_texts(texts)
            return Learned(own) if own else None
        model, (own, targets) = self.trained, self._examples(texts, labels)
        bags = Bags(model.lexicon.vectors) if model.lexicon else None
        found = judged(
            own,
            targets,
            model.classes,
            model.config,
            bags,
            threads,
            advance or (lambda texts: None),
        )
        return Learned(own, targets, found)

    def _examples(
        self, texts: Iterable[str], labels: Iterable[Label]
    ) -> tuple[list[str], NDArray[np.int64]]:
        """Checked texts, and the number of each one's class."""
        own, given = checked_examples(texts, labels)
        return own, targets_of(given, self.trained.classes)

    def _chances(
        self,
        texts: list[str],
        threads: int | None,
        pad_to: int = 0,
        advance: Advance | None = None,
    ) -> tuple[Array, int]:
        """Probabilities [texts, classes], and the number of tokens that were read.

        Some texts after the others, which changes no bit; without a mask every batch is filled up
        to its longest text, so these must stay the same.
        """
        batch = self.trained.config.batch_size
        size = max(TEXTS_AT_ONCE // batch, 1) * batch
        parts, tokens = [np.empty((0, len(self.classes)), np.float32)], 0
        for begin in range(0, len(texts), size):
            chunk = texts[begin : begin + size]
            logits, read = self.trained.logits(chunk, pad_to=pad_to, threads=threads)
            parts.append(network.probabilities(logits))
            tokens += read
            if advance:
                advance(len(chunk))
        return np.concatenate(parts), tokens
