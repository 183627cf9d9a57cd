// Sums of outer products: out [left columns, right columns] = the sum over tokens of left[token] (outer) right[token].
//
// Both sides stand in panels, token by token: a panel of the left is `left_width` columns wide, so
// that a chunk of it and of a right panel stay in the first cache while every tile passes over them
// (rows a power of two apart would compete for the same cache sets).
#pragma once

#include "kernels.h"
#include "memory.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

constexpr int64_t left_width = 64, chunk_tokens = 64;

// One panel by one: left [terms][left_width], of which `columns` count; right [terms][right_step], of
// which the first N vectors count; out [columns][N vectors].
template <class O, int N, class T, class Beside = const Nothing>
inline void add_outer(const O* left, int64_t columns, const O* right, int64_t right_step,
                      int64_t count, T* out, Beside& beside = nothing) {
  tiles_of_rows<rows_of_tile(N)>(columns, [&](auto rows, int64_t first) {
    constexpr int R = decltype(rows)::value;
    Vec<T> sum[1][R][N]{};
    multiply<O, 1, R, N>(sum, {left + first, 1, left_width}, {right, 0, right_step}, count, beside);
    T* to = out + first * N * lanes<T>;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n, to += lanes<T>) store(to, load(to) + sum[0][r][n]);
  });
}

// Columns `first` to `first + count` of some rows as an operand: side by side, filled up with zeros
// to `width`; for pairs two rows become one.
template <class O, class T>
inline void copy_panel(const T* from, int64_t stride, int64_t rows, int64_t count, int64_t width, O* to) {
  const auto part = [&](int64_t row, int64_t j) {
    return row < rows && j < count ? load(from + row * stride + j, count - j) : Vec<T>{};
  };
  for (int64_t row = 0; row < rows; row += depth<O>, to += width)
    for (int64_t j = 0; j < width; j += lanes<T>) {
      if constexpr (depth<O> == 1) store(to + j, part(row, j));
      else store(to + j, pair(part(row, j), part(row + 1, j)));
    }
}

template <class T, class O> void outer(const OuterArgs<T>& a) {
  constexpr int N = panel_vectors, width = N * lanes<T>, together = 4;
  const int64_t rows = a.rows, panels = (a.columns + width - 1) / width;
  Buffer<T> sums(panels * rows * width);
  Buffer<O> right(together * chunk_tokens * width), left(chunk_tokens * left_width);
  for (int64_t token = 0; token < a.tokens; token += chunk_tokens)
    for (int64_t group = 0; group < panels; group += together) {
      const int64_t tokens = a.tokens - token < chunk_tokens ? a.tokens - token : chunk_tokens;
      const int64_t last = group + together < panels ? group + together : panels;
      for (int64_t p = group; p < last; ++p)
        copy_panel(a.right + token * a.right_stride + p * width, a.right_stride, tokens,
                   a.columns - p * width, width, right.at + (p - group) * chunk_tokens * width);
      for (int64_t row = 0; row < rows; row += left_width) {
        const int64_t columns = rows - row < left_width ? rows - row : left_width;
        copy_panel(a.left + token * a.left_stride + row, a.left_stride, tokens, columns,
                   left_width, left.at);
        for (int64_t p = group; p < last; ++p)
          add_outer<O, N>(left.at, columns, right.at + (p - group) * chunk_tokens * width, width,
                          terms<O>(tokens), sums.at + (p * rows + row) * width);
      }
    }
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t columns = a.columns - p * width < width ? a.columns - p * width : width;
    for (int64_t row = 0; row < rows; ++row)
      memcpy(a.out + row * a.out_stride + p * width, sums.at + (p * rows + row) * width, size_t(columns) * sizeof(T));
  }
}

}  // namespace carryline::CARRYLINE_ISA
