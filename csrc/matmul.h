// Products of matrices that are the same for a row whatever the rows beside it.
#pragma once

#include "kernels.h"
#include "memory.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

// R rows from `row` on, of the panel that begins at column `first`; x as an operand.
template <class T, class O, int R>
inline void matmul_tile(const MatmulArgs<T>& a, Left<O> x, int64_t row, int64_t first) {
  constexpr int N = panel_vectors;
  Vec<T> sum[1][R][N];
  T* out = a.out + row * a.out_stride;
  const int64_t inner = terms<O>(a.inner);
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const int64_t j = first + n * lanes<T>, rest = a.columns - j;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      Vec<T> start{};
      if (rest > 0 && a.accumulate) start = load(out + r * a.out_stride + j, rest);
      else if (rest > 0 && a.bias) start = load(a.bias + j, rest);
      sum[0][r][n] = start;
    }
  }
  for (int r = 0; r < R; ++r)  // on their way while the product is made: a projection is 20 % faster
    for (int n = 0; n < N; ++n) __builtin_prefetch(out + r * a.out_stride + first + n * lanes<T>, 1, 3);
  multiply<O, 1, R, N>(sum, x, {reinterpret_cast<const O*>(a.panels) + first * inner, 0, N * lanes<T>}, inner);
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    const int64_t j = first + n * lanes<T>, rest = a.columns - j;
    if (rest <= 0) continue;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) store(out + r * a.out_stride + j, sum[0][r][n], rest);
  }
}

template <class T, class O> void matmul(const MatmulArgs<T>& a) {
  constexpr int width = panel_vectors * lanes<T>;
  constexpr int64_t together = 60;  // rows that stay in the second cache; whole tiles of 3 and 6
  const int64_t pairs = blocks_of<T>(a.inner) * lanes<T> / 2;
  Buffer<O> brief(depth<O> == 1 ? 0 : together * pairs);
  for (int64_t begin = 0; begin < a.rows; begin += together) {
    const int64_t rows = a.rows - begin < together ? a.rows - begin : together;
    const T* x = a.x + begin * a.x_stride;
    if constexpr (depth<O> > 1)
      for (int64_t row = 0; row < rows; ++row)
        each_block<T>(a.inner, [&](int64_t block, auto n) {
          store_pairs(brief.at + row * pairs + block * lanes<T> / 2, load(x + row * a.x_stride + block * lanes<T>, n));
        });
    for (int64_t first = 0; first < a.columns; first += width)
      tiles_of_rows<rows_of_tile(panel_vectors)>(rows, [&](auto tile, int64_t row) {
        constexpr int R = decltype(tile)::value;
        if constexpr (depth<O> > 1)
          matmul_tile<T, O, R>(a, {brief.at + row * pairs, pairs, 1}, begin + row, first);
        else
          matmul_tile<T, O, R>(a, {x + row * a.x_stride, a.x_stride, 1}, begin + row, first);
      });
  }
}

}  // namespace carryline::CARRYLINE_ISA
