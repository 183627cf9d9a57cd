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

// A few tokens of an outer product, gathered so that they stay in the caches: where each left row
// lies, and the right rows side by side in panels (rows a power of two apart would compete for the
// same cache sets). Whole rows are read at once, as memory likes it.
template <class T> struct OuterChunk {
  static constexpr int64_t most = 64, panels = 4, width = panel_vectors * lanes<T>;
  int64_t count = 0;
  const T* left[most];
  alignas(64) T right[panels][most * width];

  OuterChunk(const OuterArgs<T>& a, int64_t begin, int64_t end, int64_t first) {
    const int64_t rest = a.columns - first, columns = rest < panels * width ? rest : panels * width;
    for (int64_t token = begin; token < end; ++token) {
      const int64_t source = a.left_row ? a.left_row[token] : token;
      if (source < 0) continue;
      left[count] = a.left + source * a.left_stride;
      const T* from = a.right + token * a.right_stride + first;
      for (int64_t j = 0; j < columns; j += lanes<T>)
        store(right[j / width] + count * width + j % width, load(from + j, columns - j));
      ++count;
    }
  }
};

// One tile of the sum: R columns of the left from `row` on, a panel of the right from `first` on.
template <class T, int R>
inline void outer_tile(const OuterArgs<T>& a, const OuterChunk<T>& chunk, const T* panel,
                       const T* ahead, int64_t row, int64_t first) {
  constexpr int N = panel_vectors;
  Vec<T> sum[R][N]{};
#pragma GCC unroll 1
  for (int64_t token = 0; token < chunk.count; ++token) {
    const T *left = chunk.left[token] + row, *right = panel + token * chunk.width;
    __builtin_prefetch(ahead + token * a.right_stride);
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
  using Chunk = OuterChunk<T>;
  for (int64_t token = 0; token < a.tokens; token += Chunk::most)
    for (int64_t group = 0; group < a.columns; group += Chunk::panels * Chunk::width) {
      const int64_t end = token + Chunk::most < a.tokens ? token + Chunk::most : a.tokens;
      const Chunk chunk(a, token, end, group);
      for (int64_t p = 0; p < Chunk::panels && group + p * Chunk::width < a.columns; ++p) {
        const int64_t first = group + p * Chunk::width;
        // Each of the first tiles fetches a vector of every row of the next chunk's panel.
        const T* ahead = a.right + end * a.right_stride + first;
        int64_t tile = 0;
        tiles_of_rows<rows_of_tile(panel_vectors)>(a.end - a.begin, [&](auto rows, int64_t row) {
          const T* part = ahead + tile % panel_vectors * lanes<T>;
          outer_tile<T, decltype(rows)::value>(a, chunk, chunk.right[p], part, a.begin + row, first);
          ++tile;
        });
      }
    }
}

}  // namespace carryline::CARRYLINE_ISA
