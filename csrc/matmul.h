// Products of matrices that are the same for a row whatever the rows beside it.
#pragma once

#include "kernels.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

template <class T, int R, int M>
inline void matmul_tile(const MatmulArgs<T>& a, int64_t row, int64_t first) {
  constexpr int N = panel_vectors;
  Vec<T> sum[M][R][N];
  T* out = a.out + row * a.out_stride;
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      const int64_t j = first + (m * N + n) * lanes<T>, rest = a.columns - j;
      for (int r = 0; r < R; ++r) {
        Vec<T> start{};
        if (rest > 0 && a.accumulate) start = load(out + r * a.out_stride + j, rest);
        else if (rest > 0 && a.bias) start = load(a.bias + j, rest);
        sum[m][r][n] = start;
      }
    }
  multiply<T, M, R, N>(sum, a.x + row * a.x_stride, a.x_stride, a.panels + first * a.inner,
                       N * lanes<T> * a.inner, a.inner);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      const int64_t j = first + (m * N + n) * lanes<T>, rest = a.columns - j;
      if (rest <= 0) continue;
      for (int r = 0; r < R; ++r) store(out + r * a.out_stride + j, sum[m][r][n], rest);
    }
}

template <class T> void matmul(const MatmulArgs<T>& a) {
  constexpr int most = rows_of_tile(panel_vectors), width = panel_vectors * lanes<T>;
  for (int64_t first = 0; first < a.columns; first += width)
    tiles_of_rows<most>(a.rows, [&](auto rows, int64_t row) {
      matmul_tile<T, decltype(rows)::value, 1>(a, row, first);
    });
}

// A few tokens of an outer product, gathered so that they stay in the first cache: where each
// left row lies, and a panel of the right rows side by side (rows a power of two apart would
// compete for the same cache sets: 67 instead of 95 GFLOP/s).
template <class T> struct OuterChunk {
  static constexpr int64_t most = 64, width = panel_vectors * lanes<T>;
  int64_t count = 0;
  const T* left[most];
  alignas(64) T right[most * width];

  OuterChunk(const OuterArgs<T>& a, int64_t begin, int64_t end, int64_t first) {
    for (int64_t token = begin; token < end; ++token) {
      const int64_t source = a.left_row ? a.left_row[token] : token;
      if (source < 0) continue;
      left[count] = a.left + source * a.left_stride;
      for (int n = 0; n < panel_vectors; ++n) {
        const int64_t j = first + n * lanes<T>;
        const T* from = a.right + token * a.right_stride + j;
        store(right + count * width + n * lanes<T>,
              j < a.columns ? load(from, a.columns - j) : Vec<T>{});
      }
      ++count;
    }
  }
};

// One tile of the sum: R columns of the left from `row` on, a panel of the right from `first` on.
template <class T, int R>
inline void outer_tile(const OuterArgs<T>& a, const OuterChunk<T>& chunk, int64_t row,
                       int64_t first) {
  constexpr int N = panel_vectors;
  Vec<T> sum[R][N]{};
#pragma GCC unroll 1
  for (int64_t token = 0; token < chunk.count; ++token) {
    const T *left = chunk.left[token] + row, *right = chunk.right + token * chunk.width;
    Vec<T> factor[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) factor[n] = load(right + n * lanes<T>);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec<T> x = broadcast(left[r]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[r][n] = fma(x, factor[n], sum[r][n]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) {
      const int64_t j = first + n * lanes<T>;
      if (j >= a.columns) continue;
      T* out = a.out + (row + r) * a.out_stride + j;
      store(out, load(out, a.columns - j) + sum[r][n], a.columns - j);
    }
}

template <class T> void outer(const OuterArgs<T>& a) {
  constexpr int64_t most = OuterChunk<T>::most;
  for (int64_t token = 0; token < a.tokens; token += most)
    for (int64_t first = 0; first < a.columns; first += OuterChunk<T>::width) {
      const OuterChunk<T> chunk(a, token, token + most < a.tokens ? token + most : a.tokens, first);
      tiles_of_rows<rows_of_tile(panel_vectors)>(a.end - a.begin, [&](auto rows, int64_t row) {
        outer_tile<T, decltype(rows)::value>(a, chunk, a.begin + row, first);
      });
    }
}

}  // namespace carryline::CARRYLINE_ISA
