// The time loop of one direction, forward: h, c = step(U h + W x + b, c) for the texts still going.
#pragma once

#include "cells.h"
#include "kernels.h"
#include "memory.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

// One step, of the active ranks, from the states `h`, `c` to the states `h_next`, `c_next`; and the
// same states as products take them, rows of `width` operands.
template <class T, class O> struct Step {
  const ForwardArgs<T>& args;
  const T *h, *c;
  T *h_next, *c_next;
  const O *h_left, *c_left;
  O *h_left_next, *c_left_next;
  int64_t width;
  T* carried;              // [rows of a tile, carried_width] V_o c; carry only
  int64_t carried_width;
  int64_t position;        // of rank 0
  int64_t position_ahead;  // the same of the step after this one
  int64_t ahead;           // ranks of that step whose rows are to be fetched
};

// Rows of the projection lie anywhere in some megabytes: the ones of the next step are fetched
// during this one, for units `first` to `first + blocks * lanes`.
template <int Gates, class T>
inline void fetch_row(const ForwardArgs<T>& a, int64_t at, int64_t first, int blocks) {
  constexpr int64_t line = 64 / int64_t(sizeof(T));
  const T* row = a.projected + a.row[at] * Gates * a.hidden;
  for (int64_t j = first; j < first + blocks * lanes<T>; j += lanes<T>)
    if (j % line == 0)
      for (int g = 0; g < Gates; ++g) __builtin_prefetch(row + g * a.hidden + j, 0, 2);
}

// R ranks from `rank` on, M blocks of units from unit `first` on; Whole: none ends within a vector.
template <template <class> class Cell, class T, class O, int R, int M, bool Whole>
inline __attribute__((always_inline)) void forward_tile(const Step<T, O>& s, int64_t rank,
                                                        int64_t first) {
  using C = Cell<T>;
  constexpr int P = C::products;
  const auto& a = s.args;
  const int64_t hidden = a.hidden, blocks = blocks_of<T>(hidden);
  const T* x[R];
  Vec<T> sum[M][R][P];
  for (int r = 0; r < R; ++r) {
    const int64_t at = s.position + rank + r;
    x[r] = a.projected + (a.row ? int64_t(a.row[at]) : at) * C::gates * hidden;
    if (rank + r < s.ahead) fetch_row<C::gates>(a, s.position_ahead + rank + r, first, M);
  }
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    const int64_t j = first + m * lanes<T>, n = Whole ? lanes<T> : hidden - j;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int g = 0; g < P; ++g) {
        const bool late = C::late_candidate && g == P - 1;
        sum[m][r][g] = load(late ? a.bias_candidate + j : x[r] + g * hidden + j, n);
        if (C::carry_in_output && g == P - 1) sum[m][r][g] += load(s.carried + r * s.carried_width + j);
      }
  }
  const int64_t inner = terms<O>(hidden), block = inner * P * lanes<T>;
  const auto* weight_hh = reinterpret_cast<const O*>(a.weight_hh);
  multiply<O, M, R, P>(sum, {s.h_left + rank * s.width, s.width, 1},
                       {weight_hh + first / lanes<T> * block, block, P * lanes<T>}, inner);
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    const int64_t j = first + m * lanes<T>, n = Whole ? lanes<T> : hidden - j;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const int64_t own = (rank + r) * hidden + j, at = s.position + rank + r;
      StepIn<Vec<T>, P> in{};
      for (int g = 0; g < P; ++g) in.sum[g] = sum[m][r][g];
      if constexpr (C::late_candidate) {
        in.candidate = load(x[r] + (P - 1) * hidden + j, n);
        in.h = load(s.h + own, n);
      }
      if constexpr (C::carry) in.c = load(s.c + own, n);
      const auto out = C::step(in);
      store(s.h_next + own, out.h, n);
      if constexpr (C::carry) store(s.c_next + own, out.c, n);
      if constexpr (depth<O> > 1) {
        store_pairs(s.h_left_next + (rank + r) * s.width + j / 2, out.h);
        if constexpr (C::carry_in_output) store_pairs(s.c_left_next + (rank + r) * s.width + j / 2, out.c);
      }
      if (a.states) store(a.states + at * a.stride + j, out.h, n);
      if (a.saved) {
        T* saved = a.saved + (at * blocks + j / lanes<T>) * C::saved * lanes<T>;
        for (int v = 0; v < C::saved; ++v) store_far(saved + v * lanes<T>, out.saved[v]);
      }
    }
  }
}

// R ranks from `rank` on, units `first` to `last`, M blocks at a time: few rows leave accumulators
// free, which further blocks take, so that enough sums go on at once to hide the latency of the
// multiply-add. Every other pass goes `back` from the last units: it finds their weights still in
// the first cache, which holds half of a 64-unit lstm's.
template <template <class> class Cell, class T, class O, int R, int M>
inline void forward_rows(const Step<T, O>& s, int64_t rank, int64_t first, int64_t last, bool back) {
  constexpr int64_t width = M * lanes<T>;
  const int64_t whole = (last - first) / width, rest = first + whole * width;
  const auto others = [&] {
    if constexpr (M > 1) forward_rows<Cell, T, O, R, M / 2>(s, rank, rest, last, back);
    else if (rest < last) forward_tile<Cell, T, O, R, 1, false>(s, rank, rest);
  };
  if (back) others();
  for (int64_t i = 0; i < whole; ++i)
    forward_tile<Cell, T, O, R, M, true>(s, rank, first + (back ? whole - 1 - i : i) * width);
  if (!back) others();
}

// carry: V_o c of R ranks, units `first` to `last`. The carry is known before the step, so its product
// is made in tiles as wide as any, not beside the gates in one of a vector.
template <class T, class O, int R>
inline void carry_products(const Step<T, O>& s, int64_t rank, int64_t first, int64_t last) {
  constexpr int N = panel_vectors;
  const int64_t inner = terms<O>(s.args.hidden);
  for (; first < last; first += N * lanes<T>) {
    Vec<T> sum[1][R][N]{};
    multiply<O, 1, R, N>(sum, {s.c_left + rank * s.width, s.width, 1},
                         {reinterpret_cast<const O*>(s.args.weight_ch) + first * inner, 0, N * lanes<T>}, inner);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) store(s.carried + r * s.carried_width + first + n * lanes<T>, sum[0][r][n]);
  }
}

// One step. A tile of rows passes over all units before the next: what it reads and writes of a row
// lies side by side, and U comes from the second cache fast enough (a tile of 3 x 4 vectors reaches
// 101 of 102 GFLOP/s). Rows inside units missed the first cache on the rows: 12.6 instead of 10 ms.
template <template <class> class Cell, class T, class O>
void forward_step(const Step<T, O>& s, int64_t ranks, bool& back) {
  constexpr int P = Cell<T>::products, most = rows_of_tile(P);
  const int64_t hidden = s.args.hidden, block = terms<O>(hidden) * P * lanes<T> * int64_t(sizeof(O));
  constexpr int64_t bytes = 128 << 10;  // of U at a time: half of a small second cache
  const int64_t group = (bytes > 4 * block ? bytes / block / 4 * 4 : 4) * lanes<T>;
  for (int64_t first = 0; first < hidden; first += group)
    tiles_of_rows<most>(ranks, [&](auto rows, int64_t rank) {
      constexpr int R = decltype(rows)::value, free = accumulators / (R * P);
      const int64_t last = first + group < hidden ? first + group : hidden;
      if constexpr (Cell<T>::carry_in_output) carry_products<T, O, R>(s, rank, first, last);
      forward_rows<Cell, T, O, R, free >= 4 ? 4 : free >= 2 ? 2 : 1>(s, rank, first, last, back);
      back = !back;
    });
}

// The states of texts with an odd number of steps end in the second buffer: bring them home.
template <class T> void bring_home(const ForwardArgs<T>& a, T* const (&state)[2]) {
  const auto& q = a.sequences;
  if (!state[0]) return;
  for (int64_t step = 0; step < q.steps; ++step) {
    const int64_t taken = q.reverse ? q.steps : step + 1;
    const int64_t begin = q.active(step + 1), ended = q.active(step) - begin;
    if (taken % 2 && ended > 0)
      memcpy(state[0] + begin * a.hidden, state[1] + begin * a.hidden,
             size_t(ended * a.hidden) * sizeof(T));
  }
}

// States as products take them: the states themselves, or pairs beside them. As of the states there
// are two, and both begin as the first state: texts that begin later find it in either.
template <class T, class O> struct Operands {
  T* const* state;
  const int64_t width;
  Buffer<O> pairs[2];

  Operands(T* const* state, int64_t ranks, int64_t hidden)
      : state(state), width(depth<O> == 1 ? hidden : blocks_of<T>(hidden) * lanes<T> / 2),
        pairs{Buffer<O>(size(ranks)), Buffer<O>(size(ranks))} {
    if constexpr (depth<O> > 1)
      for (int64_t rank = 0; state[0] && rank < ranks; ++rank)
        each_block<T>(hidden, [&](int64_t block, auto n) {
          for (auto& half : pairs)
            store_pairs(half.at + rank * width + block * lanes<T> / 2, load(state[0] + rank * hidden + block * lanes<T>, n));
        });
  }
  O* at(int64_t which) const {
    if constexpr (depth<O> == 1) return state[which];
    else return pairs[which].at;
  }

 private:
  int64_t size(int64_t ranks) const { return depth<O> == 1 || !state[0] ? 0 : ranks * width; }
};

template <template <class> class Cell, class T, class O> void forward(const ForwardArgs<T>& a) {
  const auto& q = a.sequences;
  const Operands<T, O> h(a.h, q.ranks(), a.hidden), c(a.c, q.ranks(), a.hidden);
  const int64_t carried_width = (a.hidden / (panel_vectors * lanes<T>) + 1) * panel_vectors * lanes<T>;
  const Buffer<T> carried(Cell<T>::carry_in_output * rows_of_tile(Cell<T>::products) * carried_width);
  bool back = false;
  for (int64_t taken = 0; taken < q.steps; ++taken) {
    const int64_t step = q.reverse ? q.steps - 1 - taken : taken;
    const int64_t from = taken % 2, to = 1 - from, ranks = q.active(step);
    if (ranks == 0) continue;
    const int64_t after = q.reverse ? step - 1 : step + 1, ahead = a.row ? q.active(after) : 0;
    forward_step<Cell, T, O>({a, a.h[from], a.c[from], a.h[to], a.c[to], h.at(from), c.at(from), h.at(to),
                              c.at(to), h.width, carried.at, carried_width, q.position(step), ahead ? q.position(after) : 0, ahead},
                             ranks, back);
  }
  bring_home(a, a.h);
  bring_home(a, a.c);
  fence();
}

}  // namespace carryline::CARRYLINE_ISA
