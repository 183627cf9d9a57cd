// Skip-gram with negative sampling (Mikolov et al. 2013), a centre word at a time: its context words
// share the negatives (Ji et al. 2016), so the scores are a small product of matrices [contexts,
// targets], and so are both updates.
//
//     g = rate (label - sigmoid(x y))     y += sum of g x over contexts     x += sum of g y over targets
//
// both with the rows as they were before. A row may be there twice: what is new is added to it twice.
#pragma once

#include "kernels.h"
#include "memory.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

constexpr int scored_contexts = 4, scored_targets = registers == 32 ? 5 : 2;

template <class T> inline T sum_of_lanes(Vec<T> x) {
  using Index = typename IndexOf<T>::type;
#pragma GCC unroll 4
  for (int half = lanes<T> / 2; half > 0; half /= 2) {
    Index other{};
    for (int i = 0; i < lanes<T>; ++i) other[i] = i ^ half;
    x += __builtin_shuffle(x, other);
  }
  return x[0];
}

// scores[c * stride + t] = x[c] y[t], all rows of whole vectors.
template <class T>
inline void skip_scores(const T* const* x, int64_t contexts, const T* const* y, int64_t targets, int64_t width, T* scores,
                        int64_t stride) {
  tiles_of_rows<scored_contexts>(contexts, [&](auto rows, int64_t c) {
    constexpr int C = decltype(rows)::value;
    tiles_of_rows<scored_targets>(targets, [&](auto columns, int64_t t) {
      constexpr int N = decltype(columns)::value;
      Vec<T> sum[C][N]{};
      for (int64_t k = 0; k < width; k += lanes<T>) {
        Vec<T> right[N];
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) right[j] = load(y[t + j] + k);
#pragma GCC unroll 8
        for (int i = 0; i < C; ++i) {
          const Vec<T> left = load(x[c + i] + k);
#pragma GCC unroll 8
          for (int j = 0; j < N; ++j) sum[i][j] = fma(left, right[j], sum[i][j]);
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < C; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) scores[(c + i) * stride + t + j] = sum_of_lanes<T>(sum[i][j]);
    });
  });
}

// to(r)[…] = or += the sum over k of g[r * row + k * step] from[k][…].
template <bool add, class T, class To>
inline void skip_sums(const To& to, int64_t rows, const T* g, int64_t row, int64_t step, const T* const* from, int64_t inner,
                      int64_t width) {
  constexpr int N = registers == 32 ? 4 : 2, R = registers == 32 ? 5 : 4;
  const auto columns = [&](auto vectors, int64_t first) {
    constexpr int V = decltype(vectors)::value;
    tiles_of_rows<R>(rows, [&](auto tile, int64_t r) {
      constexpr int M = decltype(tile)::value;
      Vec<T> sum[M][V]{};
      for (int64_t k = 0; k < inner; ++k) {
        Vec<T> right[V];
#pragma GCC unroll 4
        for (int n = 0; n < V; ++n) right[n] = load(from[k] + (first + n) * lanes<T>);
#pragma GCC unroll 8
        for (int i = 0; i < M; ++i) {
          const Vec<T> left = broadcast(g[(r + i) * row + k * step]);
#pragma GCC unroll 4
          for (int n = 0; n < V; ++n) sum[i][n] = fma(left, right[n], sum[i][n]);
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
        for (int n = 0; n < V; ++n) {
          T* at = to(r + i) + (first + n) * lanes<T>;
          store(at, add ? load(at) + sum[i][n] : sum[i][n]);
        }
    });
  };
  tiles_of_rows<N>(width / lanes<T>, columns);
}

// The centres of a stretch, one after the other. Adds the loss of every 32nd to `a.loss`: of each of its
// pairs -log sigmoid(x y) of the centre, and -log sigmoid(-x y) of each negative.
template <class T> void skip_gram(SkipGramArgs<T>& a) {
  constexpr int64_t line = 64 / int64_t(sizeof(T)), measured = 32;
  const int64_t stride = blocks_of<T>(a.most_targets) * lanes<T>;
  Buffer<T> errors(a.most_contexts * stride), changes(a.most_contexts * a.width);
  Buffer<T*> x(a.most_contexts), y(a.most_targets);
  for (int64_t i = 0; i < a.count; ++i) {
    const SkipCentre& centre = a.centres[i];
    const int64_t targets = centre.targets;
    int64_t contexts = 0;
    for (int64_t c = centre.begin; c < centre.end; ++c)
      if (c != i) x.at[contexts++] = a.rows + a.inputs[c] * a.width;
    if (contexts == 0) continue;
    for (int64_t t = 0; t < targets; ++t) y.at[t] = a.rows + centre.target[t] * a.width;
    if (i + 1 < a.count)  // of all rows these come by chance, and most lie in the third cache
      for (int64_t t = 0; t < a.centres[i + 1].targets; ++t)
        for (int64_t k = 0; k < a.width; k += line) __builtin_prefetch(a.rows + a.centres[i + 1].target[t] * a.width + k, 1, 2);
    skip_scores<T>(x.at, contexts, y.at, targets, a.width, errors.at, stride);
    const Vec<T> rate = broadcast(T(centre.rate));
    for (int64_t c = 0; c < contexts; ++c) {
      T* error = errors.at + c * stride;
      if (i % measured == 0)
        for (int64_t t = 0; t < targets; ++t) a.loss += log1p(exp(double(t == 0 ? -error[t] : error[t])));
      for (int64_t t = 0; t < stride; t += lanes<T>) store(error + t, -rate * sigmoid(load(error + t)));
      error[0] += T(centre.rate);
    }
    if (i % measured == 0) a.pairs += contexts;
    skip_sums<false, T>([&](int64_t c) { return changes.at + c * a.width; }, contexts, errors.at, stride, 1, y.at, targets, a.width);
    skip_sums<true, T>([&](int64_t t) { return y.at[t]; }, targets, errors.at, 1, stride, x.at, contexts, a.width);
    for (int64_t c = 0; c < contexts; ++c)
      for (int64_t k = 0; k < a.width; k += lanes<T>)
        store(x.at[c] + k, load(x.at[c] + k) + load(changes.at + c * a.width + k));
  }
}

// A row that several have changed, each on a copy of its own: all changes are added, in their order.
template <class T> void merge_row(const MergeArgs<T>& a) {
  if (a.count == 1) {
    memcpy(a.row, a.copies[0], size_t(a.width) * sizeof(T));
    return;
  }
  each_block<T>(a.width, [&](int64_t block, auto n) {
    const int64_t k = block * lanes<T>;
    const Vec<T> before = load(a.row + k, n);
    Vec<T> after = before;
    for (int64_t s = 0; s < a.count; ++s) after += load(a.copies[s] + k, n) - before;
    store(a.row + k, after, n);
  });
}

}  // namespace carryline::CARRYLINE_ISA
