"""What the texts of a run are cut into: the pieces, and with word vectors the whole words."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from carryline.errors import ConfigError
from carryline.files import write_whole
from carryline.model import lexicon as lexicons
from carryline.model import reading
from carryline.model.config import Config
from carryline.model.lexicon import LARGEST_VECTORS, LARGEST_WORDS, Lexicon
from carryline.tasks.fitted import Fitted
from carryline.text import cache
from carryline.text.tokens import Tokenizer
from carryline.text.vectors import ENGLISH, Vectors
from carryline.training.folder import TOKENIZER, Place
from carryline.training.progress import Callback

NONE, OF_ENGLISH = "none", "english"
LEAST = 2  # how often a word is in the training texts that the vectors lack
# So many of these at most, at 200 bytes each: with all 11,400 a model of IMDB has 25.2 MB.
FURTHER = 8000


def resolved(
    config: Config, *, by_hand: bool, known: Fitted | None = None
) -> tuple[Config, Lexicon | None]:
    """The vectors that the setting names, and the settings as the model will have them: the file's
    name and hash in place of its path, the vectors' width as that of the embedding. The further
    words are those of `vocabulary`.

    by_hand: whether somebody set the width; known: a model whose vectors may be meant. Raises
    `ConfigError` when the widths differ, or there is no such file, and `ModelError`.
    """
    if config.vectors == NONE:
        return config, None
    if known is not None and known.lexicon and known.config.vectors == config.vectors:
        name, lexicon = config.vectors, replace(known.lexicon, further=[])
    else:
        name, lexicon = _read(config.vectors)
    width = lexicon.vectors.matrix.shape[1]
    if by_hand and width != config.embedding:
        raise ConfigError(
            f"embedding must be as wide as the vectors: {config.embedding} is set, those of {name} "
            f"have {width} values"
        )
    return config.replace(vectors=name, embedding=width), lexicon


def _read(named: str) -> tuple[str, Lexicon]:
    """What a model calls these vectors, and they without further words."""
    if named == OF_ENGLISH:
        vectors = Vectors.english()
        return named, Lexicon(vectors, reading.read(ENGLISH, LARGEST_VECTORS), [])
    file = Path(named)
    if not file.exists():
        raise ConfigError(
            f"vectors is none, english or the path of a file of word vectors; there is no {named}"
        )
    content = reading.read(file, LARGEST_VECTORS)
    name = f"{file.name} {hashlib.sha256(content).hexdigest()[:16]}"
    return name, Lexicon(Vectors.load(file), content, [])


def vocabulary(
    config: Config,
    texts: list[str],
    known: Fitted | None,
    place: Place,
    lexicon: Lexicon | None,
    watcher: Callback,
) -> tuple[Tokenizer, Lexicon | None]:
    """Those of the run that is gone on with or of the known model; else learned from the texts."""
    source = place.source
    if source is not None and (source / TOKENIZER).exists():
        tokenizer = Tokenizer.load(source / TOKENIZER)
        file = source / lexicons.WORDS
        if lexicon is not None and file.exists():
            text = reading.text_of(file, reading.read(file, LARGEST_WORDS))
            further = lexicons.further_words(file, text, lexicon.vectors)
            lexicon = replace(lexicon, further=further)
    elif known is not None:
        tokenizer, lexicon = known.tokenizer, known.lexicon
    else:
        tokenizer = cache.vocabulary(texts, config.vocabulary, watcher.message)
        if lexicon is not None:
            lexicon = replace(lexicon, further=_further(texts, lexicon.vectors))
            watcher.message(_told(config.vectors, lexicon))
    if place.folder is not None and source != place.folder:
        write_whole(place.folder / TOKENIZER, tokenizer.to_json().encode())
        if lexicon is not None and lexicons.WORDS in lexicon.files:
            write_whole(place.folder / lexicons.WORDS, lexicon.files[lexicons.WORDS])
    return tokenizer.with_words(lexicon.words) if lexicon else tokenizer, lexicon


def _further(texts: list[str], vectors: Vectors) -> list[str]:
    found = cache.frequent_words(texts, LEAST)
    lacking = [word for word in found if word not in vectors.by_word]
    return [w for w in lacking if len(w) <= lexicons.LONGEST_WORD][:FURTHER]


def _told(name: str, lexicon: Lexicon) -> str:
    words, further = len(lexicon.vectors.words), len(lexicon.further)
    return f"whole words: {words:,} begin as vectors ({name}), {further:,} further ones as others"
