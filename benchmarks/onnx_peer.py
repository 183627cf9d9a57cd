"""The same network for ONNX Runtime: one bidirectional LSTM that is told the texts' lengths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from batches import Padded

Array = NDArray[np.float32]
GATES = [0, 3, 1, 2]  # ONNX has the gates in the order i, o, f, g; Carryline i, f, g, o


class Peer:
    """weights: Carryline's, of one bidirectional lstm layer with pooling `last` and a dense layer
    (see `network.parameter_shapes`)."""

    def __init__(self, weights: Mapping[str, Array], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model(weights), options, providers=["CPUExecutionProvider"]
        )

    def logits(self, batch: Padded) -> Array:
        """[texts]"""
        ids, lengths = batch
        given = {"ids": ids, "lengths": lengths.astype(np.int32)}
        found: Array = self.session.run(None, given)[0]
        return found[:, 0]


def model(weights: Mapping[str, Array]) -> bytes:
    """An ONNX model: ids [steps, texts] and lengths [texts] -> logits [texts, outputs]."""
    hidden = weights["recurrence.weight_hh_l0"].shape[1]
    constants = {"embedding": weights["embedding.weight"], **_recurrence(weights)}
    for name in ("dense", "head"):
        constants |= {f"{name}.{part}": weights[f"{name}.{part}"] for part in ("weight", "bias")}
    lstm = {"direction": "bidirectional", "hidden_size": hidden}
    nodes = [
        helper.make_node("Gather", ["embedding", "ids"], ["x"]),
        helper.make_node("LSTM", ["x", "W", "R", "B", "lengths"], ["", "h"], **lstm),
        helper.make_node("Transpose", ["h"], ["by text"], perm=[1, 0, 2]),
        helper.make_node("Flatten", ["by text"], ["last"]),
        helper.make_node("Gemm", ["last", "dense.weight", "dense.bias"], ["dense"], transB=1),
        helper.make_node("Relu", ["dense"], ["relu"]),
        helper.make_node("Gemm", ["relu", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "lecture",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["steps", "texts"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["texts"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["texts", "outputs"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    content: bytes = made.SerializeToString()
    return content


def _recurrence(weights: Mapping[str, Array]) -> dict[str, Array]:
    """W [2, 4 * hidden, input], R [2, 4 * hidden, hidden], B [2, 8 * hidden], whose second half,
    the bias of R, is 0."""

    def both(name: str) -> Array:
        directions = [weights[f"recurrence.{name}_l0{suffix}"] for suffix in ("", "_reverse")]
        parts = [np.concatenate([np.split(w, 4)[gate] for gate in GATES]) for w in directions]
        return np.stack(parts)

    bias = both("bias_ih")
    second = np.zeros_like(bias)
    return {
        "W": both("weight_ih"),
        "R": both("weight_hh"),
        "B": np.concatenate([bias, second], axis=1),
    }
