"""The linear part's file: what is written comes back to the bit, what is hostile is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from carryline.errors import ModelError
from carryline.model import linear as linears
from carryline.model import reading
from carryline.model.config import Config
from carryline.model.linear import Linear
from carryline.text.bags import Bags
from carryline.text.ngrams import Ngrams
from carryline.text.vectors import Vectors

Arrays = dict[str, Any]
FILE = Path("model/linear.safetensors")
TEXTS = ["the film is good", "a bad film", "naïve", "", "unknown words of the film"]
MOST = 40


def bags(width: int = 3) -> Bags:
    matrix = np.random.default_rng(1).standard_normal((2, width)).astype(np.float32)
    return Bags(Vectors(["the", "film"], np.array([2, 1]), matrix, {}))


def made(outputs: int = 2, known: Bags | None = None) -> Linear:
    learned, draw = Ngrams.learn(TEXTS[:3], MOST), np.random.default_rng(0)
    arrays: Arrays = {"bias": draw.standard_normal(outputs).astype(np.float32)}
    for kind, features in (("words", learned.words), ("characters", learned.characters)):
        weight = draw.standard_normal((len(features.keys), outputs)).astype(np.float32)
        arrays |= {f"{kind}.keys": features.keys, f"{kind}.idf": features.idf}
        arrays[f"{kind}.weight"] = weight
    if known is not None:
        arrays["bags.weight"] = draw.standard_normal((outputs, known.width)).astype(np.float32)
    return Linear(arrays, known)


def stored() -> Arrays:
    """What a file of `made` holds."""
    part = made().rounded()
    return {
        name: a.astype(np.float16) if name.endswith("weight") else a
        for name, a in part.arrays.items()
    }


def refused(content: bytes, known: Bags | None = None) -> str:
    with pytest.raises(ModelError) as error:
        Linear.from_bytes(FILE, content, MOST, 2, known)
    assert str(error.value).startswith(str(FILE))
    return str(error.value)


@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize("known", [None, bags()])
def test_what_is_written_comes_back_to_the_bit(outputs: int, known: Bags | None) -> None:
    part = made(outputs, known).rounded()
    content = part.to_bytes()
    assert len(content) <= linears.largest_file(MOST, outputs, known)
    again = Linear.from_bytes(FILE, content, MOST, outputs, known)
    assert again.logits(TEXTS, 1).tobytes() == part.logits(TEXTS, 1).tobytes()
    assert again.to_bytes() == content
    assert {n: a.tobytes() for n, a in again.arrays.items()} == {
        n: a.tobytes() for n, a in part.arrays.items()
    }


@pytest.mark.parametrize("known", [None, bags()])
def test_logits_are_the_sum_of_what_a_text_is_made_of(known: Bags | None) -> None:
    part = made(2, known)
    wanted = np.tile(np.float64(part.arrays["bias"]), (len(TEXTS), 1))
    for kind, sparse in zip(("words", "characters"), part.ngrams(TEXTS, 1), strict=True):
        for text in range(len(TEXTS)):
            own = slice(sparse.offsets[text], sparse.offsets[text + 1])
            wanted[text] += sparse.values[own] @ part.arrays[f"{kind}.weight"][sparse.ids[own]]
    if known is not None:
        wanted += known(TEXTS, 1) @ part.arrays["bags.weight"].T
    np.testing.assert_allclose(part.logits(TEXTS, 1), wanted, rtol=1e-5, atol=1e-5)


def test_a_text_alone_is_the_text_in_company_on_any_number_of_threads() -> None:
    part, texts = made(2, bags()), TEXTS * 500
    together = part.logits(texts, 1)
    assert part.logits(texts, 3).tobytes() == together.tobytes()
    for place in range(len(TEXTS)):
        assert part.logits([texts[place]], 1).tobytes() == together[place].tobytes()


@pytest.mark.parametrize("known", [None, bags()])
def test_pieces_add_up_and_each_has_its_share(known: Bags | None) -> None:
    part = made(2, known)
    pieces = part.pieces(TEXTS, 1)
    assert len(pieces) == part.members
    np.testing.assert_allclose(sum(pieces), part.logits(TEXTS, 1), rtol=1e-5, atol=1e-6)
    shares = (0.25, 3.0)[: len(pieces)]
    wanted = sum(share * piece for share, piece in zip(shares, pieces, strict=True))
    if known is None:
        wanted = 0.25 * part.logits(TEXTS, 1)
    other = part.times(shares)
    np.testing.assert_allclose(other.logits(TEXTS, 1), wanted, rtol=1e-5, atol=1e-5)
    assert other.arrays["words.idf"] is part.arrays["words.idf"]
    if known is not None:
        dense = known(TEXTS, 1) @ part.arrays["bags.weight"].T + part.arrays["bias"]
        np.testing.assert_allclose(pieces[1], dense, rtol=1e-5, atol=1e-5)


def test_a_part_must_be_rounded_to_be_written() -> None:
    with pytest.raises(ModelError, match="weights must be rounded"):
        made().to_bytes()


def test_weights_beyond_float16_are_held_back() -> None:
    arrays = made().arrays
    arrays["words.weight"] = arrays["words.weight"] * np.float32(1e9)
    part = Linear(arrays, None).rounded()
    assert np.abs(part.arrays["words.weight"]).max() == np.finfo(np.float16).max
    Linear.from_bytes(FILE, part.to_bytes(), MOST, 2, None)


def test_parameters() -> None:
    part = made(2, bags())
    features = len(part.arrays["words.keys"]) + len(part.arrays["characters.keys"])
    assert part.parameters == 2 * (features + 12 + 1)


# --- hostile files


def drop(name: str) -> Callable[[Arrays], Any]:
    return lambda arrays: arrays.pop(name)


def put(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], Any]:
    return lambda arrays: arrays.update({name: change(arrays[name])})


def nan(a: Any) -> Any:
    a = a.copy()
    a.flat[-1] = np.nan
    return a


def infinite(a: Any) -> Any:
    a = a.copy()
    a.flat[0] = np.inf
    return a


def doubled(a: Any) -> Any:
    a = a.copy()
    a[1] = a[0]
    return a


UNFIT = "its tensors do not fit the configuration: "
DAMAGES = [
    (drop("bias"), UNFIT + "bias"),
    (drop("words.keys"), UNFIT + "words"),
    (drop("characters.idf"), UNFIT + "characters.idf"),
    (lambda arrays: arrays.update(other=np.ones(1)), UNFIT + "other"),
    (lambda arrays: arrays.update({"bags.weight": np.ones((2, 12), np.float16)}), UNFIT + "bags"),
    (put("words.keys", lambda a: a.astype(np.int64)), UNFIT + "words.keys"),
    (put("words.idf", lambda a: a.astype(np.float64)), UNFIT + "words.idf"),
    (put("words.weight", lambda a: a.astype(np.float32)), UNFIT + "words.weight"),
    (put("bias", lambda a: a[:1]), UNFIT + "bias"),
    (put("words.weight", lambda a: a[:, :1].copy()), UNFIT + "words.weight"),
    (put("words.keys", lambda a: a[:, None].copy()), UNFIT + "words.keys"),
    (put("words.keys", lambda a: a[:-1].copy()), UNFIT + "words."),
    (put("words.keys", lambda a: np.array(a[0])), UNFIT + "words."),
    (put("bias", nan), "bias holds a value that is not finite"),
    (put("words.idf", infinite), "words.idf holds a value that is not finite"),
    (put("characters.weight", nan), "characters.weight holds a value that is not finite"),
    (put("words.keys", doubled), "no key may be there twice"),
]


@pytest.mark.parametrize(("damage", "rule"), DAMAGES)
def test_damage_is_refused(damage: Callable[[Arrays], Any], rule: str) -> None:
    arrays = stored()
    Linear.from_bytes(FILE, save(arrays), MOST, 2, None)
    damage(arrays)
    assert rule in refused(save(arrays))


def test_bags_that_are_missing_are_refused() -> None:
    assert UNFIT + "bags.weight" in refused(save(stored()), bags())


def test_too_many_features_are_refused() -> None:
    with pytest.raises(ModelError, match="at most 5 features of words, it has"):
        Linear.from_bytes(FILE, save(stored()), 5, 2, None)


def test_a_model_of_many_outputs_has_fewer_features() -> None:
    assert linears.most_features(1 << 18, 1) == 1 << 18
    assert linears.most_features(1 << 18, 77) == (1 << 22) // 77


def lied(change: Callable[[Arrays], Any]) -> bytes:
    """A file with another header than its data have."""
    content = save(stored())
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def huge(header: Arrays) -> None:
    header["words.keys"]["shape"] = [1 << 40]


def far(header: Arrays) -> None:
    header["words.keys"]["data_offsets"] = [0, 1 << 40]


def odd_type(header: Arrays) -> None:
    header["words.keys"]["dtype"] = "F8_E4M3"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x", b"\xff" * 8, struct.pack("<Q", 1 << 40) + b"{}", struct.pack("<Q", 2) + b"[]",
        save({"bias": np.ones(2, np.float32)})[:-1], lied(huge), lied(far), lied(odd_type),
    ],
)  # fmt: skip
def test_no_safetensors_file_is_refused(content: bytes) -> None:
    assert "is not a safetensors file" in refused(content)


def test_size_is_limited_before_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where config.json has the hash of what is too large."""
    config = Config(linear=MOST)
    file, most = tmp_path / linears.FILE, linears.largest_file(MOST, 2, None)
    with file.open("wb") as sparse_file:
        sparse_file.truncate(1 << 40)  # a terabyte that takes no room
    with pytest.raises(ModelError, match=f"{file} .*{most}"):
        reading.read_linear(tmp_path, config, 2, {file.name: "0" * 64}, None)


def test_another_files_hash_is_refused(tmp_path: Path) -> None:
    file = tmp_path / linears.FILE
    file.write_bytes(made().rounded().to_bytes())
    with pytest.raises(ModelError, match="is damaged or belongs to another model"):
        reading.read_linear(tmp_path, Config(linear=MOST), 2, {file.name: "0" * 64}, None)


def test_a_model_without_reads_none(tmp_path: Path) -> None:
    assert reading.read_linear(tmp_path, Config(linear=0), 2, {}, None) is None


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"linear\.safetensors is missing"):
        reading.read_linear(tmp_path, Config(linear=MOST), 2, {linears.FILE: "0" * 64}, None)
