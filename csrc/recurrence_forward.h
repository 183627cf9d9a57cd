// The time loop of one direction, forward: h, c = step(U h + W x + b, c) for the texts still going.
#pragma once

#include "cells.h"
#include "kernels.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

// One step, of the active ranks, from the states `h`, `c` to the states `h_next`, `c_next`.
template <class T> struct Step {
  const ForwardArgs<T>& args;
  const T *h, *c;
  T *h_next, *c_next;
  int64_t position;  // of rank 0
};

// R ranks from `rank` on, M blocks of units from unit `first` on.
template <template <class> class Cell, class T, int R, int M>
inline __attribute__((always_inline)) void forward_tile(const Step<T>& s, int64_t rank,
                                                        int64_t first) {
  using C = Cell<T>;
  constexpr int P = C::products;
  const auto& a = s.args;
  const int64_t hidden = a.hidden, block = hidden * P * lanes<T>;
  const T* x[R];
  Vec<T> sum[M][R][P];
  for (int r = 0; r < R; ++r) {
    const int64_t at = s.position + rank + r;
    x[r] = a.projected + (a.row ? int64_t(a.row[at]) : at) * C::gates * hidden;
  }
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    const int64_t j = first + m * lanes<T>, n = hidden - j;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int g = 0; g < P; ++g) {
        const bool late = C::late_candidate && g == P - 1;
        sum[m][r][g] = load(late ? a.bias_candidate + j : x[r] + g * hidden + j, n);
      }
  }
  multiply<T, M, R, P>(sum, s.h + rank * hidden, hidden, a.weight_hh + first / lanes<T> * block,
                       block, hidden);
  if constexpr (C::carry_in_output) {
    const int64_t narrow = hidden * lanes<T>;
    Vec<T> output[M][R][1];
    for (int m = 0; m < M; ++m)
      for (int r = 0; r < R; ++r) output[m][r][0] = sum[m][r][P - 1];
    multiply<T, M, R, 1>(output, s.c + rank * hidden, hidden,
                         a.weight_ch + first / lanes<T> * narrow, narrow, hidden);
    for (int m = 0; m < M; ++m)
      for (int r = 0; r < R; ++r) sum[m][r][P - 1] = output[m][r][0];
  }
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    const int64_t j = first + m * lanes<T>, n = hidden - j;
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
      if (a.states) store(a.states + at * a.stride + j, out.h, n);
      if (a.saved)
        for (int v = 0; v < C::saved; ++v)
          store_far(a.saved + (at * C::saved + v) * hidden + j, out.saved[v], n);
    }
  }
}

// All units of one step. Few rows leave accumulators free: these take further blocks of units, so
// that there are enough independent sums to hide the latency of the multiply-add.
template <template <class> class Cell, class T> void forward_step(const Step<T>& s, int64_t ranks) {
  constexpr int P = Cell<T>::products, most = rows_of_tile(P);
  const int64_t hidden = s.args.hidden;
  int64_t first = 0;
  constexpr int wide = most * P * 4 <= accumulators ? 4 : most * P * 2 <= accumulators ? 2 : 1;
  if (ranks * P * 4 <= accumulators) {
    constexpr int few = accumulators / (P * 4);
    for (; first + 4 * lanes<T> <= hidden; first += 4 * lanes<T>)
      rest_of_rows<few>(ranks, 0, [&](auto rows, int64_t rank) {
        forward_tile<Cell, T, decltype(rows)::value, 4>(s, rank, first);
      });
  }
  for (; first + wide * lanes<T> <= hidden; first += wide * lanes<T>)
    tiles_of_rows<most>(ranks, [&](auto rows, int64_t rank) {
      forward_tile<Cell, T, decltype(rows)::value, wide>(s, rank, first);
    });
  for (; first < hidden; first += lanes<T>)
    tiles_of_rows<most>(ranks, [&](auto rows, int64_t rank) {
      forward_tile<Cell, T, decltype(rows)::value, 1>(s, rank, first);
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

template <template <class> class Cell, class T> void forward(const ForwardArgs<T>& a) {
  const auto& q = a.sequences;
  for (int64_t taken = 0; taken < q.steps; ++taken) {
    const int64_t step = q.reverse ? q.steps - 1 - taken : taken;
    const int64_t from = taken % 2, to = 1 - from, ranks = q.active(step);
    if (ranks == 0) continue;
    forward_step<Cell, T>({a, a.h[from], a.c[from], a.h[to], a.c[to], q.position(step)}, ranks);
  }
  bring_home(a, a.h);
  bring_home(a, a.c);
  fence();
}

}  // namespace carryline::CARRYLINE_ISA
