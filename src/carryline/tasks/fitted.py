"""A trained model as it is held in memory, and its way to and from a model directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from carryline.errors import CarrylineError, ModelError
from carryline.files import write_whole
from carryline.model import history, network, storage
from carryline.model.config import Config
from carryline.model.lexicon import Lexicon
from carryline.model.linear import Linear
from carryline.model.network import Network
from carryline.model.storage import Stored
from carryline.recurrence import machine
from carryline.recurrence.ragged import Ragged
from carryline.text.cut import Cut
from carryline.text.data import Label
from carryline.text.tokens import Tokenizer

if TYPE_CHECKING:
    from carryline.text.account import Account


@dataclass(frozen=True, eq=False)
class Read:
    """Texts as a model takes them. ragged: the embedding's row of each token; cut: for a linear
    part, None without one."""

    ragged: Ragged
    cut: Cut | None


@dataclass
class Fitted:
    """What `fit` leaves, or `read` finds.

    history: a row an epoch; metrics: on the validation part, None without one; made: where it comes
    from (see `storage.Stored`); lexicon, linear: its whole words and its linear part, None without.
    Of a training in this process: the account of its data, whether Ctrl-C ended it, and the seconds
    it took.
    """

    config: Config
    classes: list[Label]
    tokenizer: Tokenizer
    network: Network
    history: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    made: dict[str, Any] | None = None
    lexicon: Lexicon | None = field(default=None, repr=False)
    linear: Linear | None = field(default=None, repr=False)
    account: Account | None = field(default=None, repr=False)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def texts(self) -> int:
        """That it was trained on; 0 where nobody knows."""
        return 0 if self.made is None else int(self.made["texts"])

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        own = sum(value.size for value in self.network.weights.values())
        return own + (self.linear.parameters if self.linear else 0)

    @property
    def best_epoch(self) -> int:
        """The epoch (1, 2, …) whose weights were kept."""
        return history.best_epoch(self.history, self.config.keep)

    @property
    def tokens_per_second(self) -> float:
        """Of training, the median over epochs."""
        return float(np.median([row["tokens_per_second"] for row in self.history]))

    def read(self, texts: Sequence[str]) -> Read:
        """The texts as both parts take them."""
        cut = Cut.of(texts) if self.linear is not None else None  # once for both parts
        tokenizer = self.tokenizer
        ragged = tokenizer.encode_cut(cut) if cut is not None else tokenizer.encode_batch(texts)
        return Read(ragged.like(tokenizer.rows_of(ragged.values)), cut)

    def logits_of(self, read: Read, *, pad_to: int = 0, threads: int | None = None) -> NDArray[Any]:
        """[texts, outputs] of both parts together."""
        logits = self.network.logits(read.ragged, pad_to=pad_to, threads=threads)
        if self.linear is not None and read.cut is not None:
            logits = logits + self.linear.logits(read.cut, machine.checked_threads(threads))
        return logits

    def logits(
        self, texts: Sequence[str], *, pad_to: int = 0, threads: int | None = None
    ) -> tuple[NDArray[Any], int]:
        """[texts, outputs] of both parts together, and how many tokens the recurrent one read."""
        read = self.read(texts)
        return self.logits_of(read, pad_to=pad_to, threads=threads), len(read.ragged.values)

    def summary(self) -> str:
        """The layers with their shapes and parameter counts, as a table; what else there is."""
        from carryline.evaluation import inside

        outputs = network.outputs(len(self.classes))
        linear = None if self.linear is None else self.linear.parameters
        table = network.summary(self.config, outputs, self.tokenizer.rows, linear)
        more = inside.lines(self.linear, self.lexicon, self.config.vectors, self.parameters)
        return "\n".join([table, *more])

    def save(
        self,
        path: str | Path,
        *,
        replace: bool = False,
        extras: Callable[[Path], None] = lambda folder: None,
    ) -> None:
        """Write the model directory (see storage.py), whole or not at all.

        extras(folder) adds to what is there. Raises `OutputError` when `path` exists (unless it
        holds a model and `replace` is given).
        """

        def complete(folder: Path) -> None:
            self._illustrate(folder)
            extras(folder)

        storage.save(path, self.stored(), extras=complete, replace=replace)

    def stored(self) -> Stored:
        """What the model directory holds of it, but for what is made from that."""
        return Stored(
            self.config,
            self.classes,
            self.tokenizer.to_json(),
            self.network.weights,
            self.history,
            self.metrics,
            self.made,
            self.lexicon,
            self.linear,
        )

    def _illustrate(self, folder: Path) -> None:
        """Plots, where matplotlib is installed, and the card."""
        from carryline.evaluation import card, inside

        named = self.config.vectors
        text = card.model_card(
            self.config, self.classes, self.parameters, self.history, self.metrics,
            "the validation part", self.made,
            inside.paragraphs(self.linear, self.lexicon, named, card.plain),
        )  # fmt: skip
        text = card.illustrated(text, self._draw(folder / "plots"))
        write_whole(folder / "README.md", text.encode())

    def _draw(self, folder: Path) -> list[str]:
        """The names of the pictures that were drawn."""
        from carryline.evaluation import pictures

        try:
            import matplotlib  # noqa: F401
        except ImportError:
            return []
        folder.mkdir()
        return pictures.draw(folder, self.history, self.metrics, self.config.keep)


class Holder:
    """What a user holds of a trained model: `trained`, and its figures by their names."""

    _fitted: Fitted | None = None

    @property
    def trained(self) -> Fitted:
        """What training gave. Raises `CarrylineError` before `fit`."""
        if self._fitted is None:
            raise CarrylineError("this classifier is not trained yet: call fit first")
        return self._fitted

    @property
    def tokenizer(self) -> Tokenizer:
        return self.trained.tokenizer

    @property
    def network(self) -> Network:
        return self.trained.network

    @property
    def classes(self) -> list[Label]:
        """The labels that can be predicted, in the order of probabilities; none before `fit`."""
        return self._fitted.classes if self._fitted else []

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row an epoch (see history.py)."""
        return self._fitted.history if self._fitted else []

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Of `metrics.evaluate` on the validation part, None without one; with the baseline."""
        return self._fitted.metrics if self._fitted else None

    @property
    def made(self) -> dict[str, Any] | None:
        """Where the model comes from (see `storage.Stored`)."""
        return self._fitted.made if self._fitted else None

    @property
    def account(self) -> Account | None:
        """Of the data that `fit` was given; None where that was in another process."""
        return self._fitted.account if self._fitted else None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the last `fit`."""
        return self.trained.interrupted

    @property
    def seconds(self) -> float:
        """That the last `fit` took."""
        return self.trained.seconds

    @property
    def texts(self) -> int:
        """That it was trained on; 0 where nobody knows."""
        return self.trained.texts

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return self.trained.parameters

    @property
    def best_epoch(self) -> int:
        """The epoch (1, 2, …) whose weights were kept."""
        return self.trained.best_epoch

    @property
    def tokens_per_second(self) -> float:
        """Of training, the median over epochs."""
        return self.trained.tokens_per_second

    def summary(self) -> str:
        """The layers with their shapes and parameter counts, as a table."""
        return self.trained.summary()

    def save(self, path: str | Path, *, replace: bool = False) -> None:
        """Write the model directory (see storage.py), whole or not at all.

        Raises `OutputError` when `path` exists (unless it holds a model and `replace` is given).
        """
        self.trained.save(path, replace=replace)


def read(path: str | Path) -> Fitted:
    """The model in a directory. Raises `ModelError` when it is missing or damaged."""
    stored = storage.load(path)
    tokenizer = Tokenizer.from_json(stored.tokenizer)
    rows = len(stored.weights["embedding.weight"])
    words = stored.lexicon.words if stored.lexicon else []
    if tokenizer.size + len(words) != rows:
        others = f" beside {len(words)} words" if words else ""
        raise ModelError(
            f"{path}: tokenizer.json has {tokenizer.size} entries{others}, the embedding {rows}"
        )
    if words:
        tokenizer = tokenizer.with_words(words)
    net = Network(stored.config, stored.weights)
    return Fitted(
        stored.config, stored.classes, tokenizer, net, stored.history, stored.metrics, stored.made,
        stored.lexicon, stored.linear,
    )  # fmt: skip
