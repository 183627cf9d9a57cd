"""Running the command line in tests, and the data it runs on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from carryline.cli import main

TINY = ["--preset", "base", "--set", "vocabulary=400", "--set", "embedding=8", "--set", "hidden=8"]
TINY += ["--set", "batch_size=16", "--set", "learning_rate=0.02"]
WORDS = {"pos": ["moving", "clever", "bright"], "neg": ["dull", "clumsy", "flat"]}
RESULT = {"accuracy", "loss", "macro_f1", "roc_auc", "texts", "seconds", "tokens_per_second"}
RESULT |= {"parameters", "epochs", "best_epoch", "interrupted", "model"}
RESULT |= {"unmeasured", "baseline", "account"}
EPOCHS = 60  # so many that a run can be stopped before it ends
PNG = b"\x89PNG\r\n"


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Made-up reviews of five to nine words, the classes in turn."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = ("pos", "neg")[number % 2]
        nouns = draw.sample(["film", "plot", "cast", "music", "ending"], 2)
        tail = draw.choice(["", " again", f" and so was the {nouns[1]}"])
        rows.append((f"The {nouns[0]} was {draw.choice(WORDS[label])}{tail}.", label))
    return rows


def write(path: Path, rows: list[Any], header: str = "text,label") -> Path:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*arguments: Any, **options: Any) -> Result:
    """Run the command line in this process; nothing but an exit may come out of it."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def done(*arguments: Any, **options: Any) -> Result:
    result = run(*arguments, **options)
    assert result.exit_code == 0, result.output
    return result


def fails(status: int, *arguments: Any, **options: Any) -> str:
    """What standard error says of a failure; standard output stays empty."""
    result = run(*arguments, **options)
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    return result.stderr


def as_json(*arguments: Any, **options: Any) -> Any:
    """The last line of standard output."""
    return json.loads(done(*arguments, "--json", **options).stdout.splitlines()[-1])


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "carryline", *map(str, arguments)]


def weights(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def no_room(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")
