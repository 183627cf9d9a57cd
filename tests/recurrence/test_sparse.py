"""Sparse rows and long vectors: products against NumPy, the same bits on any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.recurrence import _kernels
from carryline.recurrence.ragged import offsets_of
from carryline.recurrence.sparse import Sparse, combined, dots

SETS = _kernels.instruction_sets()
TYPES = [np.float32, np.float64]
COLUMNS = [1, 2, 6, 16, 77, 150]


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest) -> Any:
    before = _kernels.instruction_set()
    _kernels.use_instruction_set(request.param)
    yield request.param
    _kernels.use_instruction_set(before)


def made(rows: int, width: int, most: int, seed: int = 0) -> Sparse:
    """Random rows of 0 to `most` entries; an id may be there twice."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(0, most + 1, rows)
    ids = draw.integers(0, width, sizes.sum()).astype(np.int32)
    values = draw.standard_normal(len(ids)).astype(np.float32)
    return Sparse(values, ids, offsets_of(list(sizes)), width)


def full(sparse: Sparse) -> np.ndarray:
    out = np.zeros((len(sparse), sparse.width))
    for row in range(len(sparse)):
        part = slice(sparse.offsets[row], sparse.offsets[row + 1])
        np.add.at(out[row], sparse.ids[part], sparse.values[part])
    return out


def row_of(sparse: Sparse, row: int) -> Sparse:
    part = slice(sparse.offsets[row], sparse.offsets[row + 1])
    values, ids = sparse.values[part].copy(), sparse.ids[part].copy()
    return Sparse(values, ids, np.array([0, len(ids)]), sparse.width)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("columns", COLUMNS)
def test_product(isa: str, columns: int, dtype: Any) -> None:
    sparse = made(30, 50, 70)
    dense = np.random.default_rng(1).standard_normal((50, columns)).astype(dtype)
    found = sparse.product(dense, 1)
    assert found.dtype == dtype
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, full(sparse) @ dense, rtol=tolerance, atol=tolerance)


@given(st.integers(0, 12), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_product_of_any_shape(rows: int, width: int, most: int, columns: int) -> None:
    sparse = made(rows, width, most, seed=rows + most)
    dense = np.random.default_rng(columns).standard_normal((width, columns))
    np.testing.assert_allclose(sparse.product(dense, 2), full(sparse) @ dense, atol=1e-12)


@pytest.mark.parametrize("columns", COLUMNS)
def test_a_row_alone_is_the_row_in_company(isa: str, columns: int) -> None:
    sparse = made(200, 50, 70)
    dense = np.random.default_rng(1).standard_normal((50, columns)).astype(np.float32)
    together = sparse.product(dense, 1)
    for row in (0, 63, 64, 199):
        assert row_of(sparse, row).product(dense, 1).tobytes() == together[row].tobytes()


@pytest.mark.parametrize("columns", [1, 77])
def test_threads(isa: str, columns: int) -> None:
    sparse = made(4_000, 500, 250)  # 0.5 million entries: enough for several threads
    dense = np.random.default_rng(1).standard_normal((500, columns)).astype(np.float32)
    one = sparse.product(dense, 1)
    assert sparse.product(dense, 3).tobytes() == one.tobytes()


def test_empty_rows() -> None:
    none = Sparse(np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(4, np.int64), 5)
    assert not none.product(np.ones((5, 3), np.float32), 1).any()
    assert none.product(np.ones((5, 0), np.float32), 1).shape == (3, 0)
    assert none.transposed.product(np.ones((3, 1), np.float32), 1).shape == (5, 1)
    assert not none.transposed.product(np.ones((3, 1), np.float32), 1).any()


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 20))
def test_transposed(rows: int, width: int, most: int) -> None:
    sparse = made(rows, width, most, seed=most)
    turned = sparse.transposed
    assert (len(turned), turned.width) == (width, rows)
    np.testing.assert_allclose(full(turned), full(sparse).T, rtol=1e-6)
    for column in range(width):
        own = turned.ids[turned.offsets[column] : turned.offsets[column + 1]]
        assert (np.diff(own) >= 0).all()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"offsets": [1, 2, 3]}, "offsets must begin with 0"),
        ({"offsets": [0, 2, 1]}, "offsets must never fall"),
        ({"offsets": [0, 3, 2, 3]}, "offsets must never fall"),
        ({"offsets": [0, 1, 2]}, "offsets must end with the number of entries"),
        ({"offsets": [0, 1, 4]}, "offsets must end with the number of entries"),
        ({"offsets": []}, "offsets must begin with 0"),
        ({"ids": [0, 1, 4]}, "an id must be below the number of features"),
        ({"ids": [0, -1, 1]}, "an id must be below the number of features"),
        ({"values": [1.0, 2.0]}, "every id needs its value"),
    ],
)
def test_doors_refuse(change: dict[str, Any], rule: str) -> None:
    parts: dict[str, Any] = {
        "values": [1.0, 2.0, 3.0],
        "ids": [0, 1, 2],
        "offsets": [0, 1, 3],
    } | change
    values, ids = np.float32(parts["values"]), np.array(parts["ids"], np.int32)
    broken = Sparse(values, ids, np.array(parts["offsets"], np.int64), 4)
    rows = max(0, len(parts["offsets"]) - 1)
    with pytest.raises(ValueError, match=rule):
        _kernels.sparse_product(
            broken.values, broken.ids, broken.offsets, np.ones((4, 2)), np.ones((rows, 2)), 1
        )
    with pytest.raises(ValueError, match=rule):
        broken.transposed  # noqa: B018


def test_product_refuses_an_odd_out() -> None:
    sparse = made(3, 4, 2)
    for shape in ((2, 2), (3, 1)):
        with pytest.raises(ValueError, match="out must be"):
            _kernels.sparse_product(
                sparse.values, sparse.ids, sparse.offsets, np.ones((4, 2)), np.ones(shape), 1
            )


# --- long vectors


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [0, 1, 15, 1023, 1024, 5_000])
def test_dots_and_combined(isa: str, size: int, dtype: Any) -> None:
    draw = np.random.default_rng(size)
    ones, others = draw.standard_normal((2, size)), draw.standard_normal((3, size))
    ones, others = ones.astype(dtype), others.astype(dtype)
    exact = ones.astype(np.float64) @ others.astype(np.float64).T
    np.testing.assert_allclose(dots(list(ones), list(others), 1), exact, atol=1e-10)
    factors = np.array([1.5, -0.25, 3.0])
    found = combined(factors, list(others), 1)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, factors @ others, atol=1e-5)


def test_dots_of_small_numbers_beside_a_large_one_are_summed_in_double_precision() -> None:
    x = np.full(100_000, 0.1, np.float32)
    x[0] = 1e6
    wanted = float((x.astype(np.float64) ** 2).sum())
    assert dots([x], [x], 1)[0, 0] == pytest.approx(wanted, rel=1e-14)


def test_threads_of_dots_and_combined(isa: str) -> None:
    vectors = list(np.random.default_rng(0).standard_normal((5, 700_001)).astype(np.float32))
    one, many = dots(vectors[:2], vectors, 1), dots(vectors[:2], vectors, 3)
    assert one.tobytes() == many.tobytes()
    factors = np.arange(5.0) - 2
    assert combined(factors, vectors, 1).tobytes() == combined(factors, vectors, 3).tobytes()


def test_dots_and_combined_refuse_odd_vectors() -> None:
    a, b = np.ones(3), np.ones(4)
    with pytest.raises(ValueError, match="vectors must be of one length"):
        dots([a], [b], 1)
    with pytest.raises(ValueError, match="vectors must be of one length"):
        combined(np.ones(2), [a, b], 1)
    with pytest.raises(ValueError, match="every vector needs its factor"):
        combined(np.ones(3), [a, a], 1)
    with pytest.raises(ValueError, match="there must be vectors"):
        dots([a], [], 1)
