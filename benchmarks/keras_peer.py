"""The same network in Keras on TensorFlow, masked: its documented way to read texts exactly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from batches import Batches


class TrainingSteps:
    """Keras's training step over all batches, one-layer lstm networks or stacks of them."""

    def __init__(self, batches: Batches, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        config, layers = batches.config, keras.layers
        recurrence = [
            layers.Bidirectional(layers.LSTM(units, return_sequences=above > 0))
            for units, above in zip(config.hidden, (*config.hidden[1:], 0), strict=True)
        ]
        self.model: Any = keras.Sequential(
            [
                layers.Embedding(batches.vocabulary, config.embedding, mask_zero=True),
                *recurrence,
                layers.Dense(config.dense, activation="relu"),
                layers.Dense(1),
            ]
        )
        self.model.compile(
            optimizer=keras.optimizers.Adam(config.learning_rate),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
        )
        self.batches = [
            (np.ascontiguousarray(ids.T), targets[:, None].astype(np.float32))
            for (ids, _), targets in zip(batches.padded, batches.targets, strict=True)
        ]

    def __call__(self) -> None:
        for ids, targets in self.batches:
            self.model.train_on_batch(ids, targets)
