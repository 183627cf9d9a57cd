"""How a server is set up, and what a request may ask of it."""

from __future__ import annotations

import dataclasses
import hmac
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carryline.errors import ConfigError

TOKEN = "CARRYLINE_TOKEN"  # the variable that holds the bearer token
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Limits:
    """body: bytes of a request; texts: of one; tokens: of each; wait: seconds that a request would
    wait before it is refused; timeout: seconds until it is given up, reading it included; head:
    bytes of its line and headers."""

    body: int = 1 << 20
    texts: int = 256
    tokens: int = 20_000
    wait: float = 2.0
    timeout: float = 30.0
    head: int = 1 << 14

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 < value < 1 << 40:
                raise ConfigError(f"{name} is more than 0, and no more than 2^40; it is {value}")

    def account(self) -> dict[str, float]:
        """Those that who asks should know."""
        return {"body": self.body, "texts": self.texts, "tokens": self.tokens}


@dataclass(frozen=True)
class Settings:
    """models: names and folders, the first one is asked where none is named; token_file: None, or
    where the token stands; shared: a folder that the workers of one server have in common; hosts:
    the names by which it may be asked, None for any."""

    models: tuple[tuple[str, str], ...]
    limits: Limits = field(default_factory=Limits)
    threads: int | None = None
    reload: bool = False
    log_texts: bool = False
    quiet: bool = False
    token_file: str | None = None
    shared: str | None = None
    hosts: tuple[str, ...] | None = None

    def token(self) -> str | None:
        """The bearer token, from the file or the environment; None for a server without.

        Raises `ConfigError` for one that is too short.
        """
        found = os.environ.get(TOKEN)
        where = f"the variable {TOKEN}"
        if self.token_file is not None:
            where = self.token_file
            try:
                found = Path(self.token_file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{where} must hold the token: {error}") from None
        if found is None:
            return None
        found = found.strip()
        if len(found) < _SHORTEST_TOKEN or not (found.isascii() and found.isprintable()):
            raise ConfigError(
                f"{where} must hold a token of at least {_SHORTEST_TOKEN} printable ASCII "
                f"characters, it has {len(found)}"
            )
        return found

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values = json.loads(text)
        values["limits"] = Limits(**values["limits"])
        values["models"] = tuple(map(tuple, values["models"]))
        values["hosts"] = None if values["hosts"] is None else tuple(values["hosts"])
        return cls(**values)


def named(models: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names and folders of models given as FOLDER, which names itself, or NAME=FOLDER.

    Raises `ConfigError` for a name that is no good, or there twice.
    """
    found: dict[str, str] = {}
    for given in models:
        name, equals, folder = given.partition("=")
        if not equals or Path(given).is_dir():
            name, folder = Path(given).resolve().name, given
        if not _NAME.fullmatch(name):
            raise ConfigError(
                "a model's name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with none of the last "
                f"three, this one is {name!r}: give it one, as NAME={folder}"
            )
        if name in found:
            raise ConfigError(
                f"models need different names, {found[name]} and {folder} are both {name!r}: give "
                f"one another, as NAME={folder}"
            )
        found[name] = folder
    return tuple(found.items())


def same(given: str, token: str) -> bool:
    """Whether two tokens are the same, in a time that does not tell how far they are."""
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())
