"""How many requests a second does the server answer, and how late: ours beside FastAPI with ONNX
Runtime.

    python benchmarks/serving.py --data imdb-train.parquet
    python benchmarks/serving.py --data imdb-train.parquet --soak 10

The `lecture` preset with the same (untrained) weights behind both, one text a request, on loopback,
asked by wrk (Debian's package) from 1, 16, 64 and 256 connections, in turn, for a few seconds each.
The load comes from the same machine: it costs both the same. Their probabilities must agree within
1e-4 before anything is timed. Times are those of an answer, in milliseconds.

Then where a request's time goes: each of its stages alone, in this process, one text at a time.
With --soak, ours is asked for so many minutes from 64 connections, and its memory is looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import common
from batches import read
from carryline.bench import made_weights, seconds
from carryline.errors import ConfigError
from carryline.model.config import preset
from carryline.text.tokens import Tokenizer
from common import Result
from latency import TOLERANCE, classifier

OURS, THEIRS = "carryline", "FastAPI, ONNX Runtime"
CLIENTS = (1, 16, 64, 256)
HERE = Path(__file__).parent
STAGE = 200  # texts by which a stage is timed


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def ask(port: int, text: str) -> Any:
    body = json.dumps({"text": text}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/predict", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@contextmanager
def server(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that answers on the port, until the end of the block."""
    process = subprocess.Popen([sys.executable, *command])
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise ConfigError(f"{command[0]} ended with {process.returncode}")
            try:
                ask(port, "ready?")
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        else:
            raise ConfigError(f"{command[0]} answers within a minute, it did not")
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def servers(model: Path, asked: argparse.Namespace) -> Iterator[dict[str, int]]:
    """The ports of both; the peer where it is installed."""
    ours, theirs = free_port(), free_port()
    own = ["-m", "carryline", "serve", str(model), "--port", str(ours), "--quiet"]
    with server([*own, "--threads", str(asked.threads)], ours):
        if common.missing("fastapi", "onnx", "onnxruntime"):
            yield {OURS: ours}
            return
        with server([str(HERE / "serving_peer.py"), str(model), str(theirs)], theirs):
            yield {OURS: ours, THEIRS: theirs}


def check(ports: dict[str, int], texts: Sequence[str]) -> None:
    """Ends the benchmark when the answers differ: it would time something else."""
    for text in texts:
        found = {}
        for name, port in ports.items():
            told = ask(port, text)
            answer = told["answers"][0] if "answers" in told else told
            found[name] = answer["probabilities"]["pos"]
        if max(found.values()) - min(found.values()) > TOLERANCE:
            raise SystemExit(f"{text[:40]!r}: {found}")


def load(port: int, bodies: Path, clients: int, lasting: float) -> Result:
    """What wrk says of so many connections; times in milliseconds."""
    done = subprocess.run(
        [
            "wrk", "-t1", f"-c{clients}", f"-d{lasting:g}s", "--timeout", "10s", "-s",
            str(HERE / "serving_load.lua"), f"http://127.0.0.1:{port}/v1/predict",
        ],
        capture_output=True, text=True, check=True, env={**os.environ, "BODIES": str(bodies)},
    )  # fmt: skip
    told: Result = json.loads(done.stdout.splitlines()[-1])
    late = {key: told[key] / 1000 for key in ("p50", "p99", "p999")}
    good = told["requests"] - told["status"]
    return {"rate": good / told["seconds"], **late, "refused": told["status"], "lost": told["lost"]}


def loads(ports: dict[str, int], bodies: Path, asked: argparse.Namespace) -> Result:
    """By connections, then by server: medians of the rounds."""
    found: Result = {}
    for clients in CLIENTS:
        rounds: dict[str, list[Result]] = {name: [] for name in ports}
        for number in range(asked.rounds):
            for name, port in ports.items():
                rounds[name].append(load(port, bodies, clients, asked.seconds))
                rate = rounds[name][-1]["rate"]
                said = f"{clients} clients, round {number + 1}, {name}: {rate:,.0f} a second"
                print(said, file=sys.stderr, flush=True)
        found[str(clients)] = {name: middle(of) for name, of in rounds.items()}
    return found


def middle(rounds: Sequence[Result]) -> Result:
    """The median of each figure, and of the rate its spread; all that was refused or lost."""
    found = {key: statistics.median(one[key] for one in rounds) for key in ("p50", "p99", "p999")}
    lost = {key: sum(one[key] for one in rounds) for key in ("refused", "lost")}
    return {"rate": common.spread([one["rate"] for one in rounds]), **found, **lost}


def stages(model: Any, texts: Sequence[str], threads: int) -> Result:
    """Microseconds of each stage of a request of one text, the median over texts."""
    trained = model.trained
    reads = [trained.read([text]) for text in texts]
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    answer = {"model": "m", "version": "v", "answers": [{"label": "pos", "probability": 0.5,
              "probabilities": {"neg": 0.5, "pos": 0.5}, "tokens": 240}]}  # fmt: skip
    works: dict[str, Callable[[int], object]] = {
        "body from JSON": lambda i: json.loads(bodies[i]),
        "text to tokens": lambda i: trained.read([texts[i]]),
        "network": lambda i: trained.logits_of(reads[i], threads=threads),
        "answer to JSON": lambda i: json.dumps(answer),
    }

    def timed(work: Callable[[int], object], number: int) -> float:
        def once() -> None:
            work(number)

        return 1e6 * seconds(once)

    return {
        name: statistics.median([timed(work, i % len(texts)) for i in range(2 * len(texts))])
        for name, work in works.items()
    }


def resident(process: int) -> int:
    """Bytes of memory that a process has, where /proc tells."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def soak(model: Path, bodies: Path, asked: argparse.Namespace) -> Result:
    """The server's memory at the end of each tenth of so many minutes, and what it answered."""
    port = free_port()
    command = ["-m", "carryline", "serve", str(model), "--port", str(port), "--quiet"]
    with server(command, port) as process:
        memory, answered, refused = [], 0.0, 0
        for tenth in range(10):
            found = load(port, bodies, 64, asked.soak * 6)
            memory.append(resident(process.pid))
            answered += found["rate"] * asked.soak * 6
            refused += found["refused"] + found["lost"]
            said = (
                f"soak {tenth + 1} of 10: {memory[-1] / 1e6:,.1f} MB, {found['rate']:,.0f} a second"
            )
            print(said, file=sys.stderr, flush=True)
    return {"minutes": asked.soak, "memory": memory, "answered": answered, "refused": refused}


def measure(asked: argparse.Namespace) -> Result:
    config, texts = preset("lecture"), read(asked)
    tokenizer = Tokenizer.train(texts, config.vocabulary)
    made = classifier(tokenizer, config, made_weights(config, tokenizer.size))
    with tempfile.TemporaryDirectory() as folder:
        model, bodies = Path(folder) / "model", Path(folder) / "bodies"
        made.save(model)
        chosen = texts[: asked.different]
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in chosen))
        result: Result = {"tokens_a_text": len(tokenizer.encode_batch(chosen).values) / len(chosen)}
        by_wrk = shutil.which("wrk") is not None
        with servers(model, asked) as ports:
            check(ports, chosen[:50])
            result["loads"] = loads(ports, bodies, asked) if by_wrk else {}
        result["stages"] = stages(made, chosen[:STAGE], asked.threads)
        if asked.soak and by_wrk:
            result["soak"] = soak(model, bodies, asked)
    result["left_out"] = common.missing("fastapi", "onnx", "onnxruntime")
    if not by_wrk:
        result["left_out"].append("wrk is not installed (apt-get install wrk): no loads")
    return result


def report(result: Result) -> str:
    rows = [
        ["clients", "", "requests/s", "lowest", "highest", "p50", "p99", "p99.9", "not answered"]
    ]
    for clients, found in result["loads"].items():
        for name, one in found.items():
            late = [f"{one[key]:,.1f}" for key in ("p50", "p99", "p999")]
            lost = str(one["refused"] + one["lost"])
            rows.append([clients, name, *common.between(one["rate"], ",.0f"), *late, lost])
    parts = [
        f"One text of {result['tokens_a_text']:.0f} tokens in the mean a request, lecture preset, "
        f"{result['threads']} threads, {result['rounds']} rounds; milliseconds",
        common.table(rows),
    ]
    if "1" in result["loads"]:
        whole = 1000 * result["loads"]["1"][OURS]["p50"]
        named = result["stages"]
        rest = whole - sum(named.values())
        lines = [["one request, one client", "microseconds", "share"]]
        for name, taken in [*named.items(), ("HTTP, threads, loopback", rest)]:
            lines.append([name, f"{taken:,.0f}", f"{taken / whole:.0%}"])
        parts.append(common.table([*lines, ["all", f"{whole:,.0f}", "100%"]]))
    if "soak" in result:
        memory = " ".join(f"{value / 1e6:,.1f}" for value in result["soak"]["memory"])
        parts.append(
            f"{result['soak']['minutes']} minutes, 64 clients: {result['soak']['answered']:,.0f} "
            f"answers, {result['soak']['refused']} refused or lost; MB after each tenth: {memory}"
        )
    return "\n\n".join(parts)


def main(given: Sequence[str] | None = None) -> int:
    parser = common.options(__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=5.0, help="of a round")
    add("--different", type=common.positive, default=1000, help="texts that are asked in turn")
    add("--soak", type=float, default=0.0, metavar="MINUTES", help="of a long run")
    return common.run("serving", parser.parse_args(given), measure, report)


if __name__ == "__main__":
    sys.exit(main())
