// The register tile every product is made of, and how weights are laid out for it.
//
// A tile holds rows x vectors accumulators and walks the inner dimension once, in order, one fused
// multiply-add an accumulator and step. The order of a sum is therefore the same for every tile
// shape, so a row's result does not depend on the rows beside it.
#pragma once

#include "vec.h"

namespace carryline::CARRYLINE_ISA {

constexpr int panel_vectors = 4;                          // vectors side by side in a panel
constexpr int accumulators = registers == 32 ? 24 : 12;  // leaves room for the operands

constexpr int rows_of_tile(int vectors) {
  const int rows = accumulators / vectors;
  return rows > 8 ? 8 : rows;
}

// sum[m][r][n] += x[r][k] * weight[m][k][n] for all k; the m-th weight `block` values further on.
template <class T, int M, int R, int N>
inline __attribute__((always_inline)) void multiply(Vec<T> (&sum)[M][R][N], const T* x,
                                                    int64_t x_stride, const T* weight,
                                                    int64_t block, int64_t inner) {
  for (int64_t k = 0; k < inner; ++k) {
    Vec<T> left[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) left[r] = broadcast(x[r * x_stride + k]);
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const Vec<T> right = load(weight + m * block + (k * N + n) * lanes<T>);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sum[m][r][n] = fma(left[r], right, sum[m][r][n]);
      }
  }
}

// Calls work(rows, first) with `rows` a compile-time number: whole tiles first, then the rest.
template <int R> struct Rows { static constexpr int value = R; };
template <int R, class Work>
inline __attribute__((always_inline)) void rest_of_rows(int64_t rest, int64_t first, Work&& work) {
  if constexpr (R > 0) {
    if (rest == R) return work(Rows<R>{}, first);
    rest_of_rows<R - 1>(rest, first, work);
  }
}
template <int R, class Work> inline void tiles_of_rows(int64_t rows, Work&& work) {
  int64_t first = 0;
  for (; first + R <= rows; first += R) work(Rows<R>{}, first);
  rest_of_rows<R - 1>(rows - first, first, work);
}

// weight [gates * hidden, inner] -> [hidden / lanes][inner][gate][lane], zero beyond `hidden`.
template <class T> int64_t gates_size(int64_t gates, int64_t inner, int64_t hidden) {
  return (hidden + lanes<T> - 1) / lanes<T> * inner * gates * lanes<T>;
}
template <class T>
void pack_gates(const T* weight, int64_t gates, int64_t inner, int64_t hidden, T* packed) {
  for (int64_t first = 0; first < hidden; first += lanes<T>)
    for (int64_t k = 0; k < inner; ++k)
      for (int64_t gate = 0; gate < gates; ++gate)
        for (int64_t j = first; j < first + lanes<T>; ++j)
          *packed++ = j < hidden ? weight[(gate * hidden + j) * inner + k] : T(0);
}

// matrix [inner, columns] (or its transpose) -> panels [inner][panel_vectors * lanes].
template <class T> int64_t panels_size(int64_t inner, int64_t columns) {
  constexpr int64_t width = panel_vectors * lanes<T>;
  return (columns + width - 1) / width * inner * width;
}
template <class T>
void pack_panels(const T* matrix, int64_t inner, int64_t columns, bool transposed, T* packed) {
  constexpr int64_t width = panel_vectors * lanes<T>;
  for (int64_t first = 0; first < columns; first += width)
    for (int64_t k = 0; k < inner; ++k)
      for (int64_t j = first; j < first + width; ++j)
        *packed++ = j >= columns ? T(0) : transposed ? matrix[j * inner + k] : matrix[k * columns + j];
}

}  // namespace carryline::CARRYLINE_ISA
