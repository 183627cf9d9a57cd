"""Files of word vectors: what is saved comes back, what is damaged is refused; words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file
from tokenizers import pre_tokenizers

from carryline.errors import ConfigError, ModelError
from carryline.text import codes
from carryline.text.vectors import Vectors, words_of
from carryline.text.words import encodable
from lexicons import layer_of

Tensors = dict[str, Any]
NONE: Tensors = {}
NOTES = ("format", "bits", "width", "hidden", "about")


def made(words: int = 50, width: int = 7, hidden: int = 0) -> Vectors:
    matrix = np.random.default_rng(0).standard_normal((words, width)).astype(np.float32)
    names = ["the", "naïve", "日本", *(f"w{i}" for i in range(3, words))]
    about = {"settings": {"width": width}, "sources": [{"name": "ä.csv"}]}
    layer = layer_of(width, hidden) if hidden else None
    return Vectors(names, np.arange(words, 0, -1) * 10, matrix, about, layer)


# --- words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It's the END,  2nd\tof 3\n", ["it", "'s", "the", "end", ",", "2", "nd", "of", "3"]),
        ("a<br />b", ["a", "<", "br", "/>", "b"]),
        ("CAFÉ's naïve½²x", ["café", "'s", "naïve", "½²", "x"]),
        ("日本語2024年 😀😀!!\u3000don’t", ["日本語", "2024", "年", "😀😀!!", "don", "’", "t"]),
        ("ÅNGSTRÖM ΣΊΣΥΦΟΣ", ["ångström", "σίσυφος"]),
        ("\ud800x \xa0", ["\ufffd", "x"]),
        (" \n ", []),
    ],
)
def test_words(text: str, wanted: list[str]) -> None:
    assert words_of(text) == wanted


@given(st.text(st.sampled_from("aB'sé½1١²日 \t\n\xa0\u3000.-😀\u0301_\ud800"), max_size=40))
def test_words_are_those_of_gpt_2(text: str) -> None:
    text = encodable(text)
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    wanted = [text[begin:end] for _, (begin, end) in cut]
    assert words_of(text) == [w.removeprefix(" ").lower() for w in wanted if not w.isspace()]


# --- files


@pytest.mark.parametrize(("bits", "most"), [(32, 0.0), (16, 1e-3), (8, 0.03), (4, 0.6)])
@pytest.mark.parametrize("width", [1, 7, 8])
def test_what_is_saved_comes_back(tmp_path: Path, bits: int, most: float, width: int) -> None:
    vectors = made(width=width)
    vectors.matrix[3] = 0
    vectors.save(tmp_path / "v", bits)
    found = Vectors.load(tmp_path / "v")
    assert found.words == vectors.words
    assert found.counts.tolist() == vectors.counts.tolist()
    assert found.about == vectors.about
    assert found.by_word["日本"] == 2
    assert found.matrix.dtype == np.float32
    assert found.matrix.flags.c_contiguous and found.matrix.ctypes.data % 64 == 0
    assert abs(found.matrix - vectors.matrix).max() <= most
    assert (found.matrix[3] == 0).all()


@pytest.mark.parametrize(("bits", "most"), [(32, 0.0), (16, 5e-4), (8, 0.01), (4, 0.01)])
def test_a_layer_comes_back(tmp_path: Path, bits: int, most: float) -> None:
    """A row of 12 values of size 0.2: 8 bits are within 0.003 of nearly all, the outermost more."""
    vectors = made(hidden=5)
    vectors.save(tmp_path / "v", bits)
    found, wanted = Vectors.load(tmp_path / "v").layer, vectors.layer
    assert found is not None and wanted is not None
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == value.shape
        assert abs(found[name] - value).max() <= (0 if "bias" in name else most), name
    made().save(tmp_path / "w", bits)
    assert Vectors.load(tmp_path / "w").layer is None


def test_a_file_of_the_first_format_is_read(changed: Callable[..., Path]) -> None:
    assert len(Vectors.load(changed(4, {"format": "1"})).words) == 50


@pytest.mark.parametrize("bits", [4, 8])
def test_few_bits_are_decoded_to_the_same_bits_everywhere(bits: int) -> None:
    """A level looked up, and one product of float32: nothing that may round otherwise."""
    vectors = made(300, 9)
    stored = codes.encode(vectors.matrix, bits)
    out = np.empty_like(vectors.matrix)
    codes.decode(stored["codes"], stored["levels"], stored["scales"], out)
    for row in (0, 7, 299):
        for column in range(9):
            code = int(stored["codes"][row][column * bits // 8])
            if bits == 4:
                code = code >> 4 * (column % 2) & 15
            level, scale = stored["levels"][code], stored["scales"][row]
            assert out[row, column] == np.float32(level * scale)


def test_few_bits_keep_the_direction_and_take_little_time(tmp_path: Path) -> None:
    vectors = made(20_000, 200)
    vectors.matrix[:] *= np.random.default_rng(1).uniform(0.1, 5, (20_000, 1))
    vectors.save(tmp_path / "v", 4)
    assert (tmp_path / "v").stat().st_size < 20_000 * 125
    began = time.process_time()
    found = Vectors.load(tmp_path / "v").matrix
    assert time.process_time() - began < 2  # 0.05 s on an idle machine
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(vectors.matrix, axis=1)
    assert ((found * vectors.matrix).sum(1) / norms).mean() > 0.995


def test_bits_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bits is one of 4, 8, 16, 32, it is 5"):
        made().save(tmp_path / "v", 5)
    assert not list(tmp_path.iterdir())


# --- hostile and damaged files


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A file as `save` writes it but for some tensors and notes; None takes one away."""

    def make(bits: int = 4, changes: Tensors = NONE) -> Path:
        file = tmp_path / "v"
        made(hidden=0 if "hidden" not in changes else 5).save(file, bits)
        with safe_open(file, framework="np") as content:
            notes = content.metadata()
            tensors: Tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        for name, value in changes.items():
            of = notes if name in NOTES else tensors
            of.pop(name, None)
            if value is not None:
                of[name] = value
        save_file(tensors, file, notes)
        return file

    return make


def array(*values: Any, dtype: Any = np.float32) -> Any:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("bits", "changes", "wrong"),
    [
        (4, {"format": "3"}, "format must be 2 at most"),
        (4, {"format": None}, "number format"),
        (4, {"width": "0"}, "1 <= width <= 4096, it is 0"),
        (4, {"width": "999999999999"}, "number width"),
        (4, {"width": "²"}, "number width"),
        (4, {"width": "9"}, r"codes must be U8 and of shape \[50, 5\]"),
        (4, {"bits": "7"}, "bits is one of"),
        (4, {"bits": "8"}, "codes must be"),
        (4, {"bits": "16"}, "tensors must be"),
        (4, {"codes": None}, "tensors must be"),
        (4, {"more": array(1.0)}, "tensors must be"),
        (4, {"codes": np.zeros((49, 4), np.uint8)}, "codes must be"),
        (4, {"levels": np.zeros(15, np.float32)}, "levels must be"),
        (4, {"levels": np.full(16, np.nan, np.float32)}, "levels holds a value that is not finite"),
        (4, {"scales": np.zeros(50, np.float64)}, "scales must be F32"),
        (4, {"scales": np.full(50, 3e38, np.float32)}, "a level times a scale is not finite"),
        (4, {"counts": np.arange(50)}, "never rise"),
        (4, {"counts": np.arange(0, -50, -1)}, "not be below 0"),
        (4, {"counts": np.zeros(51, np.int64)}, "counts must be"),
        (4, {"words": np.frombuffer(b"a\n" * 49 + b"b", np.uint8)}, "there twice"),
        (4, {"words": np.frombuffer(b"a\n\nb", np.uint8)}, "empty"),
        (4, {"words": np.frombuffer(b"a\xff", np.uint8)}, "UTF-8; byte 1"),
        (4, {"words": np.zeros((2, 2), np.uint8)}, "one-dimensional"),
        (4, {"about": "[]"}, "about"),
        (4, {"about": "[" * 100_000}, "about"),
        (16, {"vectors": np.zeros((50, 7), np.float32)}, "vectors must be F16"),
        (16, {"vectors": np.full((50, 7), np.inf, np.float16)}, "not finite"),
        (32, {"vectors": np.zeros((50, 8), np.float32)}, "vectors must be F32"),
        (4, {"hidden": "0"}, "1 <= hidden <= 4096, it is 0"),
        (4, {"hidden": None}, "tensors must be"),
        (4, {"hidden": "6"}, r"layer.codes must be U8 and of shape \[48, 13\]"),
        (4, {"hidden": "5", "bias": None}, "tensors must be"),
        (4, {"hidden": "5", "bias": np.full(40, np.nan, np.float32)}, "bias holds a value that"),
        (4, {"hidden": "5", "layer.scales": np.full(40, 3e38, np.float32)}, "is not finite"),
        (16, {"hidden": "5", "layer": np.zeros((40, 12), np.float32)}, "layer must be F16"),
    ],
)
def test_a_file_that_is_not_sound_is_refused(
    changed: Callable[..., Path], bits: int, changes: Tensors, wrong: str
) -> None:
    file = changed(bits, changes)
    with pytest.raises(ModelError, match=wrong) as caught:
        Vectors.load(file)
    assert str(file) in str(caught.value)


def test_damaged_files_are_refused(changed: Callable[..., Path], tmp_path: Path) -> None:
    content = changed(4).read_bytes()
    Vectors.load(tmp_path / "v")
    for end in (0, 7, 8, 100, len(content) - 1):
        (tmp_path / "v").write_bytes(content[:end])
        with pytest.raises(ModelError, match="not a safetensors file"):
            Vectors.load(tmp_path / "v")
    (tmp_path / "v").write_bytes(b"\xff" * 8 + content[8:])
    with pytest.raises(ModelError, match="not a safetensors file"):
        Vectors.load(tmp_path / "v")
    header = json.dumps(
        {"words": {"dtype": "U8", "shape": [1 << 60], "data_offsets": [0, 1 << 60]}}
    )
    (tmp_path / "v").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(ModelError, match="not a safetensors file"):
        Vectors.load(tmp_path / "v")
    with pytest.raises(ModelError, match="is missing"):
        Vectors.load(tmp_path / "none")
    with pytest.raises(ModelError, match="ordinary file"):
        Vectors.load(tmp_path)
