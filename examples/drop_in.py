"""Somebody else's PyTorch model with Carryline's LSTM in the place of torch's: one line.

    python examples/drop_in.py

`Classifier` is an ordinary BiLSTM classifier, as one finds them: padded ids, packed by their
lengths. Its LSTM is replaced, the state dict of the original is loaded, both give the same logits.
Then both are trained in turn on made-up batches whose texts are as uneven as reviews are; printed
are medians of whole training steps (forward, backward, Adam), and a JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import carryline
import carryline.nn
from carryline.recurrence.machine import default_threads, instruction_set

VOCABULARY, EMBEDDING, HIDDEN, CLASSES = 8000, 64, 64, 2
Batch = tuple[Tensor, Tensor, Tensor]  # ids [texts, steps], lengths [texts], classes [texts]


class Classifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING, padding_idx=0)
        self.lstm = torch.nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.head = torch.nn.Linear(2 * HIDDEN, CLASSES)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(
            self.embedding(ids), lengths, batch_first=True, enforce_sorted=False
        )
        _, (h, _) = self.lstm(packed)
        logits: Tensor = self.head(torch.cat([h[0], h[1]], dim=1))
        return logits


def swapped(original: Classifier, threads: int) -> Classifier:
    """The same model with our LSTM."""
    model: Any = Classifier()
    model.lstm = carryline.nn.LSTM(
        EMBEDDING, HIDDEN, batch_first=True, bidirectional=True, threads=threads
    )
    model.load_state_dict(original.state_dict())  # torch's two biases a gate are added
    return model  # type: ignore[no-any-return]


def made_up(batches: int, texts: int) -> list[Batch]:
    """Lengths as those of IMDB's reviews in subwords: 240 in the median, 330 in the mean."""
    torch.manual_seed(0)
    made = []
    for _ in range(batches):
        lengths = torch.empty(texts).log_normal_(5.48, 0.79).clamp(8, 2700).long()
        ids = torch.randint(1, VOCABULARY, (texts, int(lengths.max())))
        ids[torch.arange(ids.shape[1]) >= lengths[:, None]] = 0
        made.append((ids, lengths, torch.randint(0, CLASSES, (texts,))))
    return made


class Training:
    """All batches once, a step each."""

    def __init__(self, model: Classifier, batches: list[Batch]) -> None:
        self.model, self.batches = model, batches
        self.optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def __call__(self) -> None:
        for ids, lengths, classes in self.batches:
            loss = torch.nn.functional.cross_entropy(self.model(ids, lengths), classes)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()


def interleaved(contenders: dict[str, Training], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, in turn, after an untimed one."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def machine() -> dict[str, Any]:
    """What the figures were made on; load: other work in the last minute makes them wrong."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": default_threads(),
        "instruction_set": instruction_set(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "carryline": carryline.__version__,
    }


def compare(batches: int, texts: int, rounds: int, threads: int) -> dict[str, Any]:
    about, data = machine(), made_up(batches, texts)
    original = Classifier()
    ours = swapped(original, threads)
    with torch.no_grad():
        gap = max(float((original(i, n) - ours(i, n)).abs().max()) for i, n, _ in data)
    contenders = {"torch.nn.LSTM": Training(original, data), "carryline": Training(ours, data)}
    seconds = interleaved(contenders, rounds)
    tokens = sum(int(lengths.sum()) for _, lengths, _ in data)
    faster = [a / b for a, b in zip(*seconds.values(), strict=True)]
    return {
        "example": "drop_in",
        "machine": about,
        "threads": threads,
        "tokens": tokens,
        "largest_difference": gap,
        "tokens_per_second": {n: tokens / statistics.median(s) for n, s in seconds.items()},
        "faster": {"median": statistics.median(faster), "min": min(faster), "max": max(faster)},
    }


def report(result: dict[str, Any]) -> str:
    lines = [
        ", ".join(f"{name} {value}" for name, value in result["machine"].items()),
        f"largest difference of the logits: {result['largest_difference']:.1e}",
        f"training steps on {result['tokens']:,} tokens, {result['threads']} threads:",
        *(f"  {n:<14}{r:>10,.0f} tokens/s" for n, r in result["tokens_per_second"].items()),
        "carryline is {median:.1f} times as fast ({min:.1f} to {max:.1f})".format(
            **result["faster"]
        ),
    ]
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--texts", type=int, default=64, help="of a batch")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each")
    parser.add_argument("--threads", type=int, default=default_threads())
    asked = parser.parse_args(given)
    for name, value in vars(asked).items():
        if value < 1:
            parser.error(f"--{name} must be 1 or more, it is {value}")
    torch.set_num_threads(asked.threads)
    result = compare(asked.batches, asked.texts, asked.rounds, asked.threads)
    print(report(result))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
