"""A server as people write it: FastAPI, tokenizers and ONNX Runtime, which each request calls once.

    python benchmarks/serving_peer.py MODEL PORT [THREADS]

Its function is a plain `def`, so that FastAPI runs it in its pool of threads, where requests are
computed side by side: with THREADS of ONNX Runtime each (1 is best for many clients).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import onnx_peer
from carryline.tasks.classifier import load


class Asked(BaseModel):
    text: str


def application(folder: Path, threads: int) -> FastAPI:
    classifier = load(folder)
    runtime = onnx_peer.Peer(classifier.network.weights, threads)
    pieces = tokenizers.Tokenizer.from_str(classifier.tokenizer.to_json())
    labels = [str(label) for label in classifier.classes]
    app = FastAPI()

    @app.post("/v1/predict")
    def predict(asked: Asked) -> dict[str, Any]:
        ids = np.array(pieces.encode(asked.text).ids, np.int64)
        logit = float(runtime.logits((ids[:, None], np.array([len(ids)])))[0])
        second = 1 / (1 + np.exp(-logit))
        chances = [1 - second, second]
        best = int(second > 0.5)
        return {
            "label": labels[best],
            "probability": chances[best],
            "probabilities": dict(zip(labels, chances, strict=True)),
        }

    return app


if __name__ == "__main__":
    model, port, threads = sys.argv[1], int(sys.argv[2]), int((*sys.argv[3:], "1")[0])
    uvicorn.run(application(Path(model), threads), port=port, log_level="warning")
