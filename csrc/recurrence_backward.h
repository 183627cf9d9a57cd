// The time loop of one direction, backward: only what must be done in it. Gradients of the gates
// are written out; those of the weights and inputs are large products over all tokens afterwards.
#pragma once

#include "cells.h"
#include "kernels.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

// Gradients of one rank's gates at one step, and of its carry before that step.
template <template <class> class Cell, class T>
inline void backward_cell(const BackwardArgs<T>& a, int64_t rank, int64_t at, int64_t before) {
  using C = Cell<T>;
  const int64_t hidden = a.hidden;
  const T* saved = a.saved + at * C::saved * hidden;
  const T* h_before = before < 0 ? a.h_first + rank * hidden : a.states + before * a.stride;
  const T* c_before = before < 0 ? a.c_first + rank * hidden
                                 : a.saved + ((before + 1) * C::saved - 1) * hidden;
  T *d_h = a.d_h + rank * hidden, *d_c = a.d_c + rank * hidden;
  T* d_gates = a.d_gates + at * C::gradients * hidden;
  for (int64_t j = 0; j < hidden; j += lanes<T>) {
    const int64_t n = hidden - j;
    GradIn<Vec<T>, C::saved> in{};
    for (int v = 0; v < C::saved; ++v) in.saved[v] = load(saved + v * hidden + j, n);
    in.h = load(a.states + at * a.stride + j, n);
    if constexpr (C::late_candidate) in.h_before = load(h_before + j, n);
    if constexpr (C::carry) in.c_before = load(c_before + j, n);
    Vec<T> dh = load(d_h + j, n), dc{}, d[C::gradients];
    if constexpr (C::carry) dc = load(d_c + j, n);
    if (a.d_states) dh += load(a.d_states + at * a.stride + j, n);
    C::gradient(in, dh, dc, d);
    store(d_h + j, dh, n);
    if constexpr (C::carry) store(d_c + j, dc, n);
    for (int g = 0; g < C::gradients; ++g) store(d_gates + g * hidden + j, d[g], n);
  }
}

// out [R, hidden] += d [R, inner] times packed panels.
template <class T, int R>
inline void add_product(const T* d, int64_t d_stride, const T* panels, int64_t inner, T* out,
                        int64_t hidden) {
  constexpr int N = panel_vectors;
  for (int64_t first = 0; first < hidden; first += N * lanes<T>) {
    Vec<T> sum[1][R][N];
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) {
        const int64_t j = first + n * lanes<T>;
        sum[0][r][n] = j < hidden ? load(out + r * hidden + j, hidden - j) : Vec<T>{};
      }
    multiply<T, 1, R, N>(sum, d, d_stride, panels + first * inner, 0, inner);
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) {
        const int64_t j = first + n * lanes<T>;
        if (j < hidden) store(out + r * hidden + j, sum[0][r][n], hidden - j);
      }
  }
}

template <template <class> class Cell, class T> void backward(const BackwardArgs<T>& a) {
  using C = Cell<T>;
  const auto& q = a.sequences;
  const int64_t hidden = a.hidden, width = C::gradients * hidden;
  for (int64_t taken = 0; taken < q.steps; ++taken) {
    const int64_t step = q.reverse ? taken : q.steps - 1 - taken;
    const int64_t source = q.reverse ? step + 1 : step - 1;
    const int64_t position = q.position(step), going_before = q.active(source);
    tiles_of_rows<rows_of_tile(panel_vectors)>(q.active(step), [&](auto rows, int64_t rank) {
      constexpr int R = decltype(rows)::value;
      for (int64_t r = rank; r < rank + R; ++r)
        backward_cell<Cell, T>(a, r, position + r, r < going_before ? q.position(source) + r : -1);
      const T* d = a.d_gates + (position + rank) * width;
      add_product<T, R>(d, width, a.weight_hh, C::products * hidden, a.d_h + rank * hidden, hidden);
      if constexpr (C::carry_in_output)
        add_product<T, R>(d + 3 * hidden, width, a.weight_ch, hidden, a.d_c + rank * hidden, hidden);
    });
  }
}

}  // namespace carryline::CARRYLINE_ISA
