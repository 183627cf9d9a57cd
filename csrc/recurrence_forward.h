// The time loop of one direction, forward: h, c = step(U h + W x + b, c) for the texts still going.
#pragma once

#include "cells.h"
#include "kernels.h"
#include "memory.h"
#include "pooling.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

// States in rows of whole vectors, and the same as products take them. There are two of each, before
// and after a step, and both begin as the first state: texts that begin later find it in either.
// Every one begins on a cache line of its own: directions on two cores must not share any.
template <class T, class O> struct States {
  const int64_t ranks, hidden, stride, width;  // stride, width: of a row, in values and in operands
  Buffer<T> value[2];
  Buffer<O> pairs[2];

  States(const T* first, int64_t ranks, int64_t hidden)
      : ranks(first ? ranks : 0), hidden(hidden), stride(blocks_of<T>(hidden) * lanes<T>),
        width(depth<O> == 1 ? stride : stride / 2), value{Buffer<T>(this->ranks * stride), Buffer<T>(this->ranks * stride)},
        pairs{Buffer<O>(brief() * this->ranks * width), Buffer<O>(brief() * this->ranks * width)} {
    for (int which = 0; which < 2; ++which)
      for (int64_t rank = 0; rank < this->ranks; ++rank)
        each_block<T>(hidden, [&](int64_t block, auto n) {
          put(which, rank, block * lanes<T>, load(first + rank * hidden + block * lanes<T>, n));
        });
  }
  static constexpr bool brief() { return depth<O> > 1; }
  T* at(int64_t which, int64_t rank) const { return value[which].at + rank * stride; }
  void put_value(int64_t which, int64_t rank, int64_t j, Vec<T> x) const { store(at(which, rank) + j, x); }
  // As an operand, too.
  void put(int64_t which, int64_t rank, int64_t j, Vec<T> x) const {
    put_value(which, rank, j, x);
    if constexpr (brief()) store_pairs(pairs[which].at + rank * width + j / 2, x);
  }
  // Rows from `rank` on as the left side of a product.
  Left<O> left(int64_t which, int64_t rank) const {
    if constexpr (brief()) return {pairs[which].at + rank * width, width, 1};
    else return {at(which, rank), stride, 1};
  }
  void give(int64_t which, int64_t begin, int64_t end, T* to) const {
    for (int64_t rank = begin; rank < end && ranks; ++rank)
      memcpy(to + rank * hidden, at(which, rank), size_t(hidden) * sizeof(T));
  }
};

// One step of the active ranks, from the states `from` to the states `to`.
template <class T, class O> struct Step {
  const ForwardArgs<T>& args;
  const States<T, O>&h, &c;
  int64_t from, to;
  T* carried;              // [rows of a tile, carried_width] V_o c; carry only
  int64_t carried_width;
  int64_t position;        // of rank 0
  int64_t position_ahead;  // the same of the step after this one
  int64_t ahead;           // ranks of that step whose rows are to be fetched
  int64_t moving;          // ranks whose state before may be other than zeros
  bool far;                // whether states go past the caches, too
};

// Whether they can: while training, nobody reads them before the whole batch has passed, and waiting
// for their lines to come from memory held up what is saved beside them (1020 instead of 830 ns).
template <class T> bool states_far(const ForwardArgs<T>& a) {
  const auto whole = [](uint64_t bytes) { return bytes % 64 == 0; };
  return a.saved && vector_bytes == 64 && whole(uint64_t(a.states)) && whole(uint64_t(a.stride) * sizeof(T));
}

// Rows of the projection lie anywhere in some megabytes: those that the next step's R ranks read are
// fetched during this one, a line with each term of a product. All at once they took the places of the
// lines of U that the product waits for (845 instead of 750 ns where rows came from memory).
template <class T, int Gates, int R, int M> struct RowsAhead {
  const T* row[R];
  int64_t hidden, rows;  // of which so many there are

  void operator()(int64_t k) const {
    constexpr int64_t each = Gates * M;
    if (k < rows * each)
      __builtin_prefetch(row[k / each] + k / M % Gates * hidden + k % M * lanes<T>, 0, 2);
  }
};

// The step of R ranks, a vector of units from `j` on, whose sums are complete. x: rows of the projection.
template <template <class> class Cell, class T, class O, int R, bool Whole, bool Saved>
inline __attribute__((always_inline)) void step_rows(const Step<T, O>& s, int64_t rank, int64_t j,
                                                     const T* const (&x)[R],
                                                     const Vec<T> (&sum)[R][Cell<T>::products]) {
  using C = Cell<T>;
  constexpr int P = C::products;
  const auto& a = s.args;
  const int64_t hidden = a.hidden, n = Whole ? lanes<T> : hidden - j;
  Vec<T> h[R], c[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    StepIn<Vec<T>, P> in{};
    for (int g = 0; g < P; ++g) in.sum[g] = sum[r][g];
    if constexpr (C::late_candidate) {
      in.candidate = load(x[r] + (P - 1) * hidden + j, n);
      in.h = load(s.h.at(s.from, rank + r) + j);
    }
    if constexpr (C::carry) in.c = load(s.c.at(s.from, rank + r) + j);
    const auto out = C::step(in);
    h[r] = out.h, c[r] = out.c;
    if constexpr (C::carry_in_output) s.c.put(s.to, rank + r, j, out.c);
    else if constexpr (C::carry) s.c.put_value(s.to, rank + r, j, out.c);
    const int64_t place = (s.position + rank + r) * blocks_of<T>(hidden) + j / lanes<T>;
    if constexpr (Saved) keep<C, O>(out.saved, a.saved + place * kept<C, O> * lanes<T>);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const Vec<T> state = C::state(h[r], c[r]);
    s.h.put(s.to, rank + r, j, state);
    const int64_t place = (s.position + rank + r) * a.stride + j;
    if (Whole && Saved && s.far) store_far(a.states + place, state);
    else if (a.states) store(a.states + place, state, n);
  }
}

// R ranks from `rank` on, M blocks of units from unit `first` on; Whole: none ends within a vector.
template <template <class> class Cell, class T, class O, int R, int M, bool Whole>
inline __attribute__((always_inline)) void forward_tile(const Step<T, O>& s, int64_t rank,
                                                        int64_t first) {
  using C = Cell<T>;
  constexpr int P = C::products;
  const auto& a = s.args;
  const int64_t hidden = a.hidden;
  const T* x[R];
  Vec<T> sum[M][R][P];
  RowsAhead<T, C::gates, R, M> following{{}, hidden, s.ahead - rank < R ? s.ahead - rank : R};
  for (int r = 0; r < R; ++r) {
    const int64_t at = s.position + rank + r;
    x[r] = a.projected + (a.row ? int64_t(a.row[at]) : at) * C::gates * hidden;
    if (r < following.rows) following.row[r] = a.projected + a.row[s.position_ahead + rank + r] * C::gates * hidden + first;
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
  multiply<O, M, R, P>(sum, s.h.left(s.from, rank),
                       {weight_hh + first / lanes<T> * block, block, P * lanes<T>}, rank < s.moving ? inner : 0, following);
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    const int64_t j = first + m * lanes<T>;
    if (a.saved) step_rows<Cell, T, O, R, Whole, true>(s, rank, j, x, sum[m]);
    else step_rows<Cell, T, O, R, Whole, false>(s, rank, j, x, sum[m]);
  }
}

// Blocks of units at a time, so that enough sums go on at once to hide the four cycles of a
// multiply-add, of which a core begins two a cycle (or, of the widest vectors, one).
constexpr int blocks_together(int sums) {
  const int enough = vector_bytes == 64 ? 4 : 8;
  return sums >= enough ? 1 : 2 * sums >= enough ? 2 : 4;
}

// R ranks from `rank` on, units `first` to `last`, M blocks at a time. Every other pass goes `back` from
// the last units: it finds their weights still in the first cache, which holds half of a 64-unit lstm's.
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
    multiply<O, 1, R, N>(sum, s.c.left(s.from, rank),
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
      constexpr int R = decltype(rows)::value;
      const int64_t last = first + group < hidden ? first + group : hidden;
      if constexpr (Cell<T>::carry_in_output) carry_products<T, O, R>(s, rank, first, last);
      forward_rows<Cell, T, O, R, blocks_together(R * P)>(s, rank, first, last, back);
      back = !back;
    });
}

// The final states: of a text with an odd number of steps they are the second ones.
template <class T, class O> void give(const ForwardArgs<T>& a, const States<T, O>& states, T* to) {
  const auto& q = a.sequences;
  for (int64_t step = 0; step < q.steps; ++step)
    states.give((q.reverse ? q.steps : step + 1) % 2, q.active(step + 1), q.active(step), to);
}

// Most texts begin with a state of zeros, whose product need not be made: one step in 25 of a sentence.
template <class T> bool begins_with_zeros(const ForwardArgs<T>& a) {
  for (int64_t i = 0; i < a.sequences.ranks() * a.hidden; ++i)
    if (a.h[i] != 0) return false;
  return true;
}

template <template <class> class Cell, class T, class O> void forward(const ForwardArgs<T>& a) {
  const auto& q = a.sequences;
  const States<T, O> h(a.h, q.ranks(), a.hidden), c(a.c, q.ranks(), a.hidden);
  const int64_t carried_width = (a.hidden / (panel_vectors * lanes<T>) + 1) * panel_vectors * lanes<T>;
  const Buffer<T> carried(Cell<T>::carry_in_output * rows_of_tile(Cell<T>::products) * carried_width);
  const Pooling<T> pooling(a);
  const bool far = states_far(a), zeros = begins_with_zeros(a);
  bool back = false;
  for (int64_t taken = 0; taken < q.steps; ++taken) {
    const int64_t step = q.reverse ? q.steps - 1 - taken : taken, ranks = q.active(step);
    if (ranks == 0) continue;
    const int64_t after = q.reverse ? step - 1 : step + 1, ahead = a.row ? q.active(after) : 0;
    const int64_t moving = zeros ? q.active(q.reverse ? step + 1 : step - 1) : ranks;
    forward_step<Cell, T, O>({a, h, c, taken % 2, 1 - taken % 2, carried.at, carried_width, q.position(step),
                              ahead ? q.position(after) : 0, ahead, moving, far},
                             ranks, back);
    pooling.add(h.at(1 - taken % 2, 0), ranks, step);
  }
  give(a, h, a.h);
  give(a, c, a.c);
  pooling.give();
  fence();
}

}  // namespace carryline::CARRYLINE_ISA
